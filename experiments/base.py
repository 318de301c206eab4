"""The KD-MRI protocols: what every experiment starts from.

`get_config("paper")` follows the publication, `get_config("reference")` the code
published with it; the differences are listed in docs/studies.md. An experiment changes
single settings:

    from kdmri_jax.experiments import base

    def get_config():
      config = base.get_config("paper")
      config.data.root = "..."
      return config
"""

import math

from ml_collections import ConfigDict

from kdmri_jax.config import complete, defaults

CASCADES = 5


def get_config(protocol: str = "paper") -> ConfigDict:
  """The four stages teacher, student, feature, kd of `protocol`.

  All other settings have the defaults of the schema (`kdmri_jax.config.defaults`).
  """
  config = defaults()
  config.name = "KD-MRI"
  config.pipeline = ("teacher", "student", "feature", "kd")
  config.models = ConfigDict(
    dict(teacher=_model(5, protocol), student=_model(3, protocol))
  )
  config.stages = ConfigDict(
    dict(
      teacher=_stage(config, protocol, "teacher", _reconstruction(1.0)),
      student=_stage(config, protocol, "student", _reconstruction(1.0)),
      feature=_feature_stage(config, protocol),
      kd=_kd_stage(config, protocol),
    )
  )
  config.evaluation.update(
    models=("teacher", "student", "kd"),
    teacher="teacher",
    student="student",
    distilled=("kd",),
  )
  complete(config)
  return config


def short_schedule(config: ConfigDict, epochs: int) -> None:
  """Trains every stage for a few epochs at 1e-3, the last quarter of them at 1e-4."""
  config.epochs = epochs
  for stage in config.stages.values():
    stage.learning_rate = 1e-3
    stage.decay_factor = 0.1
    stage.decay_epochs = stage.get_oneway_ref("epochs") * 3 // 4


def for_all_stages(config: ConfigDict, **settings) -> None:
  """Sets the same settings in every stage, such as those of the optimiser.

    base.for_all_stages(config, optimiser="muon", schedule="cosine", warmup=0.02)

  Teacher, students and control then differ in what they learn from, not in how. Call it
  after the last stage was added.
  """
  for stage in config.stages.values():
    stage.update(settings)


def shifted_conditions(config: ConfigDict) -> None:
  """Compares the networks under other masks, noise and perturbations, too.

  The report then says whether distillation costs stability (docs/robustness.md).
  """
  config.evaluation.robustness.update(
    accelerations=(5.0, 8.0),
    mask_seeds=(config.mask.seed + 1,),
    axes=(1 - config.mask.axis,),
    snr=(20.0, 10.0),
    perturbations=(0.01, 0.05),
  )


def student_friendly_teacher(
  config: ConfigDict, protocol: str, stage: str = "teacher"
) -> None:
  """Makes a teacher student-friendly (SFT-KD-Recon, Gayathri et al. 2023).

  It is trained together with branches of its student's blocks: their images approach
  the target and, without a stop of the gradient, the teacher's own image. In the
  published code ("reference") that imitation is divided by the number of values, and
  every CNN pads its image with 5 pixels of zeros.
  """
  branches = tuple(f"branch_{c}" for c in range(1, CASCADES))
  config.stages[stage].branches = "student"
  if protocol == "reference":
    for model in config.models.values():
      model.padding = 5
  terms = config.stages[stage].terms
  terms.branches_reconstruction = dict(loss="l1", weight=1.0, guided=branches)
  terms.branches_imitation = dict(
    loss="imitation", weight=1.0, variant=protocol, guided=branches, hint=("own:image",)
  )


def super_resolution(config: ConfigDict, factor: float = 4.0) -> None:
  """Changes reconstruction to super-resolution by VDSR (KD-MRI, last experiment).

  The input is the central part of k-space, 1 / factor of each axis. Unlike the
  reconstruction code, the published super-resolution code weights imitation as much as
  the target.
  """
  config.mask.update(kind="central", acceleration=factor)
  config.models = ConfigDict(dict(teacher=_vdsr(11), student=_vdsr(7)))
  for term in config.stages.feature.terms.values():
    term.guided, term.hint = ("cnn/activation_4",), ("cnn/activation_6",)
  config.stages.kd.terms.imitation.variant = "paper"
  drop_published(config)


def drop_published(config: ConfigDict) -> None:
  """Drops the published numbers, which belong to other settings."""
  config.evaluation.published = {}
  config.evaluation.published_source = ""
  config.evaluation.published_on = {}


def _vdsr(convolutions):
  return dict(
    network="vdsr",
    convolutions=convolutions,
    features=64,
    channels=1,
    precision="float32",
  )


def _model(convolutions, protocol):
  return dict(
    network="dccnn",
    cascades=CASCADES,
    convolutions=convolutions,
    features=32,
    channels=1,
    variant=protocol,
    lam=math.inf,
    consistency="auto",
    padding=0,
    precision="float32",
  )


def _reconstruction(weight):
  return dict(reconstruction=dict(loss="l1", weight=weight))


def layers(convolution: int) -> tuple[str, ...]:
  """The names of one convolution's activations in every cascade."""
  return tuple(f"cascade_{c}/activation_{convolution}" for c in range(1, CASCADES + 1))


def _attention(weight, variant):
  return dict(
    loss="attention_transfer",
    weight=weight,
    variant=variant,
    guided=layers(2),
    hint=layers(3),
  )


def _stage(config, protocol, model, terms):
  paper = protocol == "paper"
  return dict(
    model=model,
    terms=terms,
    learning_rate=1e-4 if paper else 1e-3,
    decay_factor=1.0 if paper else 0.1,
    decay_epochs=0 if paper else 40,
    epochs=config.get_oneway_ref("epochs"),
    select="mse",
  )


def _feature_stage(config, protocol):
  if protocol == "paper":
    terms = dict(attention=_attention(1.0, "paper"))
    select = "attention"
  else:  # trained on the absolute, selected by the squared difference
    terms = dict(
      attention=_attention(1.0, "reference"),
      attention_square=_attention(0.0, "reference_square"),
    )
    select = "attention_square"
  stage = _stage(config, protocol, "student", terms)
  return dict(stage, teacher="teacher", select=select)


def _kd_stage(config, protocol):
  alpha = 0.5 if protocol == "paper" else 1.0
  imitation = 1 - alpha if protocol == "paper" else 1.0
  terms = dict(
    _reconstruction(alpha),
    imitation=dict(
      loss="imitation",
      weight=imitation,
      variant=protocol,
      guided=("image",),
      hint=("image",),
    ),
  )
  stage = _stage(config, protocol, "student", terms)
  return dict(stage, teacher="teacher", start_from="feature")

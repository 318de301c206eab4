"""The KD-MRI protocols: what every experiment starts from.

`get_config("paper")` follows the publication, `get_config("reference")` the code
published with it; the differences are listed in the README. An experiment changes
what is its own:

    from kdmri_jax.experiments import base

    def get_config():
      config = base.get_config("paper")
      config.data.root = "..."
      return config
"""

import math

from ml_collections import ConfigDict

CASCADES = 5


def get_config(protocol: str = "paper") -> ConfigDict:
  """The four stages teacher, student, feature, kd of `protocol`."""
  config = ConfigDict()
  config.name = "KD-MRI"
  config.seed = 42
  config.seeds = 1
  config.batch_size = 4
  config.devices = 0
  config.steps_per_dispatch = 0
  config.teacher_cache_mb = 4096
  config.teacher_cache_type = "float32"
  config.checkpoint_seconds = 20.0
  config.audit_every = 100
  config.vgg_weights = ""
  config.epochs = 150  # of every stage, unless the stage says otherwise
  config.pipeline = ("teacher", "student", "feature", "kd")
  config.data = _data()
  config.mask = ConfigDict(
    dict(kind="cartesian", acceleration=4.0, centre_lines=10, axis=0, seed=0, path="")
  )
  config.noise = ConfigDict(dict(snr=(math.inf, math.inf), averages=1, fresh=True))
  config.tasks = ConfigDict()
  config.augment = ConfigDict(dict(flips=False, rotations=False, patch=(0, 0)))
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
  config.evaluation = ConfigDict(
    dict(
      protocol="kdmri",
      metrics=("psnr", "ssim", "mse", "nmse", "hfn", "hfen"),
      models=("teacher", "student", "kd"),
      teacher="teacher",
      teachers={},
      student="student",
      distilled=("kd",),
      control="",
      pairs=(),
      published={},
      published_source="",
      published_on={},
      bootstrap=2000,
      rois="",
      timing=0,
    )
  )
  return config


def shorten(config: ConfigDict, epochs: int) -> None:
  """Trains every stage for a few epochs at 1e-3, the last quarter of them at 1e-4."""
  config.epochs = epochs
  for stage in config.stages.values():
    stage.learning_rate = 1e-3
    stage.decay_factor = 0.1
    stage.decay_epochs = stage.get_oneway_ref("epochs") * 3 // 4


def befriend(config: ConfigDict, protocol: str, stage: str = "teacher") -> None:
  """Makes a teacher student-friendly (SFT-KD-Recon, Gayathri et al. 2023).

  It is trained together with branches made of its student's blocks: their images
  approach the target and, without a stop of the gradient, the teacher's own image. In
  the published code ("reference") that imitation is divided by the number of values,
  and every CNN sees 5 pixels of zeros about its image.
  """
  branches = tuple(f"branch_{c}" for c in range(1, CASCADES))
  config.stages[stage].branches = "student"
  if protocol == "reference":
    for model in config.models.values():
      model.padding = 5
  terms = config.stages[stage].terms
  terms.branches_reconstruction = dict(
    loss="l1", weight=1.0, variant="", guided=branches, hint=()
  )
  terms.branches_imitation = dict(
    loss="imitation", weight=1.0, variant=protocol, guided=branches, hint=("own:image",)
  )


def upscale(config: ConfigDict, factor: float = 4.0) -> None:
  """Makes of reconstruction super-resolution by VDSR (KD-MRI, its last experiment).

  The input is the central part of k-space, 1 / factor of each axis. Unlike the
  reconstruction code, the published one lets imitation count as much as the target.
  """
  config.mask.update(kind="central", acceleration=factor)
  config.models = ConfigDict(dict(teacher=_vdsr(11), student=_vdsr(7)))
  for term in config.stages.feature.terms.values():
    term.guided, term.hint = ("cnn/activation_4",), ("cnn/activation_6",)
  config.stages.kd.terms.imitation.variant = "paper"
  unpublish(config)


def unpublish(config: ConfigDict) -> None:
  """Drops the published numbers, which are of something else."""
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


def _data():
  return ConfigDict(
    dict(
      source="phantom",
      root="",
      include=(),
      subject_pattern="",
      contrast="",
      combine="",
      acceleration_tag="4x",
      kdmri_type="",
      crop=(0, 0),
      scaling="volume_max",
      memory_mb=8192,
      slices_per_volume=0,
      train=(),
      validation=(),
      test=(),
      validation_fraction=0.2,
      split_seed=0,
      phantom=dict(
        family="mixed", subjects=30, slices=8, size=(96, 96), seed=0, phase=False
      ),
    )
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
  return dict(
    reconstruction=dict(loss="l1", weight=weight, variant="", guided=(), hint=())
  )


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
    given="",
    start_from="",
    teacher="",
    teachers={},
    tasks=(),
    branches="",
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

"""Enhancement by distillation (Shou et al., ISMRM): shared by its two studies.

The inputs are noisy or blurred images of the final size; no network reads k-space.
Training takes patches of 64x64, mirrored and turned at random. The data terms are L1
and SSIM; `perceptual` adds the third of the publication.

A study's argument is "setting" or "setting:size": the experiment file whose images it
uses, and the networks, "small" enough for a CPU or "full" as published. The setting
"pairs" has given inputs, to which no noise is added.
"""

import importlib

from ml_collections import ConfigDict

from kdmri_jax.experiments import base

NETWORKS = {
  "small": {
    "swinir": dict(network="swinir", depths=(2, 2), features=32, heads=2),
    "edsr": dict(network="edsr", blocks=4, features=24),
  },
  "full": {
    "swinir": dict(network="swinir", depths=(6,) * 6, features=180, heads=6),
    "edsr": dict(network="edsr", blocks=16, features=64),
  },
}
FULL = dict(kind="full", acceleration=2.0, centre_lines=1)
NOISE = dict(snr=(4.0, 12.0))


def noise(argument: str) -> dict:
  """The noise that is simulated for the images of a study; none for given pairs."""
  return {} if argument.partition(":")[0] == "pairs" else NOISE


def start(argument: str, name: str) -> tuple[ConfigDict, dict]:
  """A config with the setting's images and no stage yet, and its networks."""
  setting, _, size = argument.partition(":")
  config = importlib.import_module(f"kdmri_jax.experiments.{setting}").get_config()
  config.name = f"{name} ({config.name})"
  without_stages(config)
  return config, NETWORKS[size or "small"]


def without_stages(config: ConfigDict) -> None:
  """Leaves the images alone, cut into patches, and no stage."""
  config.epochs = 30
  config.augment.update(flips=True, rotations=True, patch=(64, 64))
  config.models, config.stages = ConfigDict(), ConfigDict()
  config.pipeline = ()
  evaluation = config.evaluation
  evaluation.models, evaluation.distilled, evaluation.pairs = (), (), ()
  evaluation.control, evaluation.rois, evaluation.timing = "", "auto", 20
  base.drop_published(config)


def add_stage(
  config: ConfigDict,
  name: str,
  model: str,
  *,
  alpha: float = 0.0,
  teacher: str = "",
  teachers: dict | None = None,
  tasks: tuple = (),
  times: int = 1,
) -> None:
  """Adds a stage and its row: alpha * KD + (1 - alpha) * data.

  Args:
    config: from `start`.
    name: name of the stage.
    model: key in `config.models`.
    alpha: weight of the distance to the teacher's image.
    teacher: the stage that teaches all samples; "" for none.
    teachers: task -> the stage that teaches its samples; None for none.
    tasks: the tasks that it learns; () for all.
    times: number of epochs as a multiple of `config.epochs`.
  """
  terms = {}
  if alpha < 1:
    terms["reconstruction"] = dict(loss="l1", weight=1 - alpha)
    terms["similarity"] = dict(loss="ssim", weight=1 - alpha)
  if alpha > 0:
    terms["imitation"] = dict(
      loss="imitation",
      weight=alpha,
      variant="paper",
      guided=("image",),
      hint=("image",),
    )
  config.stages[name] = dict(
    model=model,
    teacher=teacher,
    teachers=teachers or {},
    tasks=tasks,
    terms=terms,
    learning_rate=5e-4,
    decay_factor=0.1,
    decay_epochs=config.get_oneway_ref("epochs") * times * 3 // 4,
    epochs=config.get_oneway_ref("epochs") * times,
  )
  config.pipeline = (*config.pipeline, name)
  config.evaluation.models = (*config.evaluation.models, name)
  if alpha:
    config.evaluation.distilled = (*config.evaluation.distilled, name)


def perceptual(config: ConfigDict, weight: float) -> None:
  """Adds the perceptual term to all data terms; set --config.vgg_weights, too."""
  for stage in config.stages.values():
    if "reconstruction" in stage.terms:
      stage.terms.perceptual = dict(
        loss="perceptual",
        weight=weight * stage.terms.reconstruction.weight,
      )

"""The schema of an experiment: every key, its type, default, limits and meaning.

A key is a line in a dataclass, made by `setting`, and a line under Attributes. The
reference of all keys, `docs/settings.md`, is made from both.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from kdmri_jax.config import starting
from kdmri_jax.config.data import AugmentConfig, DataConfig
from kdmri_jax.config.measurement import (
  CoilsConfig,
  MaskConfig,
  NoiseConfig,
  TaskConfig,
)
from kdmri_jax.config.robustness import RobustnessConfig
from kdmri_jax.config.setting import Settings, setting
from kdmri_jax.config.stage import StageConfig
from kdmri_jax.config.watch import WatchConfig
from kdmri_jax.protocols import PROTOCOLS

# The row of the network's input in the table of results.
ZERO_FILLED = "zero_filled"

# The row of the classical reconstruction of several coils.
CG_SENSE = "cg_sense"

# Names beside the stages' in results and pictures, which no stage may take.
RESERVED_ROWS = (ZERO_FILLED, CG_SENSE, "target", "input")


@dataclasses.dataclass(frozen=True)
class ModelConfig(Settings):
  """One network. In a config file its settings are beside `network`.

  Attributes:
    network: a name in `kdmri_jax.models.NETWORKS`, or the linen module to import,
      "package.module:Class".
    settings: the module's attributes by name, such as `cascades` of
      `kdmri_jax.models.dccnn.DCCNN`; missing ones have the module's defaults.
  """

  network: str
  settings: dict[str, Any] = setting(dict)


@dataclasses.dataclass(frozen=True)
class EvaluationConfig(Settings):
  """The comparison at the end.

  Attributes:
    protocol: definition of the metrics that the report's tables show; those of all
      protocols are stored.
    metrics: names in `kdmri_jax.metrics.METRICS` and `OPTIONAL` ("vif"), or import
      paths of a `Metric`, "package.module:name". The first one ranks the networks, the
      report's first table shows the first two.
    models: stages to reconstruct with, in the order of the table.
    teacher: the stage that bounds the gap from above.
    teachers: task -> this stage, where it differs between tasks.
    student: the stage that bounds it from below (the unassisted student).
    distilled: the stages whose gain is estimated.
    control: the budget-matched student: a stage that trains the student alone for as
      many steps as a distilled one and the stages it starts from take together; ""
      for none.
    pairs: further comparisons (a, b) of two of `models`, the gain of a over b.
    published: row of the table -> (PSNR in dB, SSIM) as published, or PSNR alone.
    published_seconds: row of the table -> seconds for a slice as published; shown
      beside measured ones, as speed-up over the teacher.
    published_source: source of these numbers; "" without any.
    published_on: setting, such as "mask.acceleration" -> the value for which these
      numbers hold; they are shown only if all values match. In an experiment file it is
      nested, dict(mask=dict(acceleration=4.0)), because a ConfigDict takes no dots.
    margin: largest difference in PSNR (dB) from the teacher that does not matter; the
      report says whether networks are equivalent to the teacher within it. Choose it
      before the results are known. 0 for no test of equivalence.
    rois: where the signal-to-noise ratio is measured: "auto" finds regions of
      homogeneous tissue, a CSV file names them (see `report.roi_file`); "" for nowhere.
    timing: number of timed inferences of a slice; 0 for none.
    robustness: shifted conditions to compare the networks under, too.
  """

  protocol: str = setting("kdmri", choices=tuple(PROTOCOLS))
  metrics: tuple[str, ...] = setting(("psnr", "ssim", "mse", "nmse", "hfn", "hfen"))
  models: tuple[str, ...] = setting(())
  teacher: str = setting("")
  teachers: dict[str, str] = setting(dict)
  student: str = setting("")
  distilled: tuple[str, ...] = setting(())
  control: str = setting("")
  pairs: tuple[tuple[str, str], ...] = setting(())
  published: dict[str, tuple[float, ...]] = setting(dict)
  published_seconds: dict[str, float] = setting(dict)
  published_source: str = setting("")
  published_on: dict[str, Any] = setting(dict)
  margin: float = setting(0.1, least=0)
  rois: str = setting("", place=True)
  timing: int = setting(0, least=0)
  robustness: RobustnessConfig = setting(RobustnessConfig)


@dataclasses.dataclass(frozen=True)
class ExperimentConfig(Settings):
  """A whole experiment.

  Attributes:
    name: title of the report.
    seed: seed of initialisation and data order.
    seeds: number of seeds to train, from `seed` on; the statistics cover all of them.
    batch_size: slices per step, over all devices together.
    devices: number of devices of all processes, on a CPU host devices, by default one
      per core; 0 takes as many as divide the batch.
    steps_per_dispatch: training steps per dispatch on one device; with more than one,
      validation is one dispatch, too. 0 divides an epoch evenly into dispatches of at
      most 32 steps for an accelerator that holds the slices in its memory, else takes
      1. Several devices use 1, and with slices of several shapes most steps are
      dispatched alone.
    teacher_cache_mb: memory for a frozen teacher's outputs on the training set (per
      seed, where several train side by side); for a larger set the teacher runs in
      every step, with the same result.
    teacher_cache_type: "float32", or "float16": half of that memory, and rounded
      outputs, also where the teacher runs in every step.
    checkpoint_seconds: shortest time between two checkpoints of a stage.
    audit_every: steps between two audits of each term's contribution to the gradient,
      in stages of several terms or with a hint; 0 for none. The first of several steps
      in one dispatch is audited.
    watch: what shows the run while it trains.
    vgg_weights: torchvision's file of a VGG network, for terms whose loss is
      "perceptual"; "" without such terms.
    epochs: epochs of every stage that does not set its own.
    pipeline: the stages to run, in this order.
    data: the images, and the split of the subjects.
    mask: the sampling mask.
    noise: noise added to the measured k-space.
    coils: simulated receiver coils, the same for all slices and tasks.
    tasks: several ways of measuring by name, which one network learns to invert; `mask`
      and `noise` are then not used. {} for one task.
    augment: random changes of the training slices.
    models: the networks by name.
    stages: the stages by name.
    evaluation: the comparison at the end.
  """

  name: str = setting("", free=True)
  seed: int = setting(42, least=0)
  seeds: int = setting(1, least=1, free=True)
  batch_size: int = setting(4, least=1)
  devices: int = setting(0, least=0, free=True)
  steps_per_dispatch: int = setting(0, least=0, free=True)
  teacher_cache_mb: int = setting(4096, least=0, free=True)
  teacher_cache_type: str = setting("float32", choices=("float32", "float16"))
  checkpoint_seconds: float = setting(20.0, least=0, free=True)
  audit_every: int = setting(100, least=0, free=True)
  watch: WatchConfig = setting(WatchConfig, free=True)
  vgg_weights: str = setting("", place=True)
  epochs: int = setting(150, least=1)
  pipeline: tuple[str, ...] = setting(())
  data: DataConfig = setting(DataConfig)
  mask: MaskConfig = setting(MaskConfig)
  noise: NoiseConfig = setting(NoiseConfig)
  coils: CoilsConfig = setting(CoilsConfig)
  tasks: dict[str, TaskConfig] = setting(dict)
  augment: AugmentConfig = setting(AugmentConfig)
  models: dict[str, ModelConfig] = setting(dict)
  stages: dict[str, StageConfig] = setting(dict)
  evaluation: EvaluationConfig = setting(EvaluationConfig, free=True)

  @property
  def all_tasks(self) -> dict[str, TaskConfig]:
    """`tasks`, or the single one, whose name is ""."""
    return self.tasks or {"": TaskConfig(self.mask, self.noise)}

  def augment_of(self, name: str) -> AugmentConfig:
    """The changes of a stage's training slices."""
    own = self.stages[name].augment
    return own if own.varies else self.augment

  def with_sources(
    self, names: Iterable[str], is_known: Callable[[str], bool]
  ) -> list[str]:
    """Stages, then those whose weights they need, directly or not.

    Args:
      names: the stages.
      is_known: whether a stage's weights are known, so that it needs no others.
    """
    wanted = list(names)
    for name in wanted:
      if not is_known(name):
        needed = (starting.parts(source)[0] for source in self.stages[name].sources)
        wanted += [each for each in dict.fromkeys(needed) if each not in wanted]
    return wanted

  def of_task(self, task: str) -> "ExperimentConfig":
    """The experiment of one task: its mask, noise, and the models compared on it."""
    if not self.tasks:
      return self

    def is_trained(name: str) -> bool:
      return not self.stages[name].tasks or task in self.stages[name].tasks

    whole = self.evaluation
    evaluation = dataclasses.replace(
      whole,
      models=tuple(filter(is_trained, whole.models)),
      teacher=whole.teachers.get(task, whole.teacher),
      teachers={},
      distilled=tuple(filter(is_trained, whole.distilled)),
      control=whole.control if whole.control and is_trained(whole.control) else "",
      pairs=tuple(pair for pair in whole.pairs if all(map(is_trained, pair))),
    )
    own, name = self.tasks[task], f"{self.name}: {task}"
    return dataclasses.replace(
      self, name=name, mask=own.mask, noise=own.noise, evaluation=evaluation
    )

"""The settings of a training stage and of the terms of its loss."""

import dataclasses
from typing import Any

from kdmri_jax.config import starting
from kdmri_jax.config.data import AugmentConfig
from kdmri_jax.config.setting import Settings, setting

# Names in a stage's log that no loss term may take.
RESERVED = ("mse", "l1", "psnr", "loss", "gradient_norm", "teacher_error", "branches")


@dataclasses.dataclass(frozen=True)
class TermConfig(Settings):
  """One weighted term of a stage's loss.

  Attributes:
    loss: a loss against the target or a distillation method, by its name in the
      registry or by its import path "package.module:name".
    weight: factor in the sum; a term of weight 0 is logged but not trained on.
    variant: variant of a distillation method; "" for a loss against the target, and
      for an imported `Method` that has none.
    guided: names of the student's layers that the term reads; () for a pixel loss on
      the reconstruction.
    hint: names of the teacher's layers, one for each guided layer or one for all;
      "own:NAME" is a layer of the trained network itself, with its gradient. () for a
      pixel loss.
  """

  loss: str
  weight: float = setting(1.0, least=0)
  variant: str = setting("")
  guided: tuple[str, ...] = setting(())
  hint: tuple[str, ...] = setting(())


@dataclasses.dataclass(frozen=True)
class StageConfig(Settings):
  """One training stage.

  Attributes:
    model: key in `models`.
    given: source of the weights of a stage that is not trained: a stage of another run
      (WORKDIR/STAGE, or WORKDIR/seed_N/STAGE), "pretrained:NAME", a file of weights
      (of a published code, or of Flax), an .onnx file, or a folder with its
      outputs, see docs/runs.md; "" trains the stage.
    start_from: earlier stage of the same model whose best weights start this one;
      "STAGE/branches" for the student's blocks that STAGE has trained; "STAGE/layers"
      for the first layers and the last one of STAGE, whose model is of the same kind
      with more layers; "pretrained:NAME" for a pretrained network; "" for none.
    teacher: earlier stage whose best weights teach; of several, "STAGE,STAGE", the mean
      of their images teaches; "" for none.
    teachers: task -> earlier stage that teaches the samples of that task, or several,
      in place of one `teacher` for all; {} for none.
    swap: share of the steps in which cascades of the teacher stand in for the network's
      own at random, with a probability that falls from 1 to 0, but never for all of
      them; 0 for none. For DC-CNNs of equally many cascades.
    shrink: share of the steps in which the teacher becomes this stage's network: the
      training begins with the teacher's weights, and its surplus layers fade out; 0 for
      none. For networks that differ in `convolutions` alone.
    tasks: tasks to train and validate on; () for all.
    branches: model whose blocks branch off after each cascade and are trained with it
      (SFT-KD-Recon); its images are the layers `branch_1`, `branch_2` ...; "" for none.
    terms: name -> loss term.
    kernels: what a 3x3 kernel is in training: "plain", as published; "parallel", the
      sum of a 3x3 and a 1x1 convolution and, where input and output have equally many
      channels, a scaled identity; "expanded", a 1x1, a 3x3 and a 1x1 convolution with
      twice as many channels between them. They are merged into the plain network for
      validation, and it is the one that is kept.
    optimiser: "adam", as published; "adamw"; "muon" (hidden kernels by Muon, all other
      weights by Adam); or the import path "package.module:name" of a function
      (learning rate, **settings) -> optax.GradientTransformation.
    optimiser_settings: its settings by name; missing ones have its defaults. "adam":
      b1, b2, eps; "adamw": also weight_decay, of kernels; "muon": also momentum, and
      rms, the size of a kernel's update as a share of the learning rate. As a flag
      "{'b2': 0.95}".
    learning_rate: the learning rate after the warm-up, before it decays.
    schedule: "step", as published, multiplies the learning rate by `decay_factor` every
      `decay_epochs` epochs; "cosine" lowers it steadily to 0 and does not use these.
    decay_factor: factor of the learning rate every `decay_epochs` epochs.
    decay_epochs: number of epochs between two of these; 0 keeps the rate constant.
    warmup: share of all steps over which the learning rate first rises to its value.
    clip: largest norm of a step's gradient, of all weights that are trained together; a
      larger gradient is scaled down to it. 0 for no limit.
    ema: decay of averaged weights, which are then validated and kept in place of the
      last ones. After step t it is at most (1 + t) / (10 + t). 0 for none.
    epochs: number of epochs; 0 takes the experiment's `epochs`.
    augment: random changes of this stage's training slices; where none is set, those
      of the experiment's `augment`.
    select: validation quantity whose lowest value marks the best weights: "mse",
      "l1", "loss" or the name of a term.
  """

  model: str
  given: str = setting("", free=True, place=True)
  start_from: str = setting("")
  teacher: str = setting("")
  teachers: dict[str, str] = setting(dict)
  swap: float = setting(0.0, least=0, most=1)
  shrink: float = setting(0.0, least=0, most=1)
  tasks: tuple[str, ...] = setting(())
  branches: str = setting("")
  terms: dict[str, TermConfig] = setting(dict)
  kernels: str = setting("plain", choices=("plain", "parallel", "expanded"))
  optimiser: str = setting("adam")
  optimiser_settings: dict[str, Any] = setting(dict)
  learning_rate: float = setting(1e-4, least=1e-12)
  schedule: str = setting("step", choices=("step", "cosine"))
  decay_factor: float = setting(1.0, least=1e-12)
  decay_epochs: int = setting(0, least=0)
  warmup: float = setting(0.0, least=0, most=1)
  clip: float = setting(0.0, least=0)
  ema: float = setting(0.0, least=0, most=1)
  epochs: int = setting(0, least=0)
  augment: AugmentConfig = setting(AugmentConfig)
  select: str = setting("mse")

  def taught_by(self, task: str) -> tuple[str, ...]:
    """The stages that teach the samples of a task; the mean of several teaches."""
    names = self.teachers.get(task, self.teacher)
    return tuple(names.split(",")) if names else ()

  @property
  def all_teachers(self) -> tuple[str, ...]:
    """The stages that teach, each once."""
    tasks = self.teachers or [""]
    return tuple(dict.fromkeys(name for task in tasks for name in self.taught_by(task)))

  @property
  def audited(self) -> bool:
    """Whether terms can differ in their parts of the gradient: several, or a hint's."""
    terms = [term for term in self.terms.values() if term.weight]
    return len(terms) > 1 or any(term.hint for term in terms)

  @property
  def start(self) -> str:
    """The stage that this one begins with the weights, or a part, of; "" for none."""
    return self.teacher if self.shrink else starting.parts(self.start_from)[0]

  @property
  def sources(self) -> tuple[str, ...]:
    """The weights that the training needs, each once: "STAGE" or "STAGE/branches"."""
    start = self.start_from.removesuffix("/layers")
    return tuple(dict.fromkeys(filter(None, (*self.all_teachers, start))))

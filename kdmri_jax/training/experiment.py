"""Runs an experiment: checks everything, trains what is missing, reports."""

import copy
import dataclasses
import pathlib
import zlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from absl import logging

from kdmri_jax.config import ExperimentConfig
from kdmri_jax.data import dataset as dataset_lib
from kdmri_jax.data import tasks
from kdmri_jax.errors import UserError, arguments_of
from kdmri_jax.interop import load_vgg
from kdmri_jax.losses import PERCEPTUAL, PIXEL_LOSSES
from kdmri_jax.losses.perceptual import Perceptual
from kdmri_jax.models import branches
from kdmri_jax.physics import acquisition
from kdmri_jax.training import batches, compatibility, parallel
from kdmri_jax.training import stage_loop as stage_lib
from kdmri_jax.training.checkpoint import Checkpoints, Progress
from kdmri_jax.training.interrupt import Interrupt
from kdmri_jax.training.stage import Setting, Stage
from kdmri_jax.training.stage_networks import Networks, complete, fit_terms
from kdmri_jax.training.terms import Term, resolve
from kdmri_jax.training.workdir import WorkDir
from kdmri_jax.types import Acquisition, Slices, shape_of


class Experiment:
  """An experiment bound to its data and its folder.

  Building one reads and checks everything; nothing is written until `train`. One
  pipeline trains the networks of one seed, `config.seed` at first; `for_seed` gives
  those of others.

  Args:
    config: from `config.parse`.
    workdir: the run's folder; made when missing.

  Raises:
    UserError: bad settings or bad data.

  Attributes:
    config: the experiment.
    seed: seed of initialisation and data order.
    task: the task that is evaluated, see `for_task`; "" for all.
    workdir: the run's folder.
    dataset: slices, split and how they are measured.
    devices: the devices in use.
    models: the networks of the stages, by stage.
  """

  def __init__(self, config: ExperimentConfig, workdir: pathlib.Path):
    self.config = config
    self.seed = config.seed
    self.workdir = WorkDir(workdir, config.seed)
    self.devices = parallel.choose_devices(config.devices, config.batch_size)
    self.task = ""
    with arguments_of("config.data."):
      self.dataset = dataset_lib.load(
        config.data, lambda shape: acquisition.build(config.all_tasks, shape)
      )
    for slices in self.dataset.train.parts:
      compatibility.check_augment(config.augment, slices)
      if len(slices.target) < config.batch_size:
        logging.warning(
          "only %d training slices of %dx%d: batches of %d repeat them",
          *(len(slices.target), *shape_of(slices), config.batch_size),
        )
    stages = config.stages.items()
    used = {key for _, stage in stages for key in (stage.model, stage.branches) if key}
    networks = {
      key: compatibility.network(config, key, self.dataset) for key in sorted(used)
    }
    self.models = {name: networks[stage.model] for name, stage in stages}
    self._branches = {
      name: branches.build(
        networks[stage.branches],
        networks[stage.model],
        f"config.stages.{name}.branches",
      )
      for name, stage in stages
      if stage.branches
    }
    losses = PIXEL_LOSSES
    if config.vgg_weights:
      losses = {**losses, PERCEPTUAL: Perceptual(load_vgg(config.vgg_weights))}
    self._terms = {
      name: resolve(config.stages[name], f"config.stages.{name}", losses)
      for name in config.pipeline
    }
    for name in config.pipeline:
      self._terms[name] = self._fit_terms(name)
      related = [t.name for t in self._terms[name] if t.weight and t.relates_images]
      if related and config.batch_size == 1:
        logging.warning(
          "stage %s: the term %s compares the images of a batch and says little at "
          "config.batch_size=1",
          *(name, related[0]),
        )

  def for_seed(
    self, seed: int, devices: Sequence[jax.Device] | None = None
  ) -> "Experiment":
    """The same experiment with another seed, sharing data and networks.

    Args:
      seed: the seed.
      devices: other devices to train on; None keeps them.
    """
    other = copy.copy(self)
    other.seed = seed
    other.workdir = WorkDir(self.workdir.path, seed, self.task)
    other.devices = devices or self.devices
    return other

  def for_task(self, task: str) -> "Experiment":
    """The same experiment, evaluated on one task.

    Its dataset has that task's acquisition and held-back slices; of the config's
    `evaluation` what concerns the task is left.
    """
    other = copy.copy(self)
    other.task = task
    other.workdir = WorkDir(self.workdir.path, self.seed, task)
    number = list(self.config.all_tasks).index(task)
    own = {
      shape: Acquisition(*(None if x is None else x[[number]] for x in whole))
      for shape, whole in self.dataset.acquisitions.items()
    }
    parts = self._assign("test", self.dataset.test.parts, [number])
    test = dataclasses.replace(
      self.dataset.test, parts=tuple(slices._replace(task=None) for slices in parts)
    )
    other.dataset = dataclasses.replace(self.dataset, acquisitions=own, test=test)
    other.config = self.config.of_task(task)
    return other

  def claim(self, names: Sequence[str]) -> None:
    """Checks that the named stages can be trained; records the config and the data.

    Raises:
      UserError: an unknown stage, a stage whose teacher or start is missing, or a work
        directory of another config or of other data.
    """
    for name in names:
      if name not in self.config.pipeline:
        known = ", ".join(self.config.pipeline)
        raise UserError(
          "--stages", f"{name!r}", f"stages out of {known}", "Correct the name."
        )
    self._check_needs(names)
    self.workdir.claim(
      self.config, {**self.dataset.record, **self.dataset.fingerprint()}
    )

  def train(
    self, names: Sequence[str], signal: Interrupt, label: str = "", row: int = 0
  ) -> None:
    """Trains those of the named stages that are not finished, in pipeline order.

    Args:
      names: stages, as `claim` has checked them.
      signal: asks it to stop, see `interrupt.caught`.
      label: precedes the stages' names in what is shown.
      row: line of the progress bar, where several are shown.

    Raises:
      UserError: see `stage.train`.
      Interrupted: a signal stopped it; the state was saved.
    """
    setting = Setting(
      acquisitions=self.dataset.acquisitions,
      devices=self.devices,
      batch_size=self.config.batch_size,
      seed=self.seed,
      steps_per_dispatch=self.config.steps_per_dispatch,
      teacher_cache_mb=self.config.teacher_cache_mb,
      teacher_cache_type=self.config.teacher_cache_type,
      checkpoint_seconds=self.config.checkpoint_seconds,
      audit_every=self.config.audit_every,
      signal=signal,
      label=label,
      row=row,
    )
    for name in self.config.pipeline:
      if name in names and not self.is_finished(name):
        stage_lib.train(self._make_stage(name), setting)

  def progress(self, name: str) -> Progress | None:
    """How far a stage is; None when it has not begun."""
    directory = self.workdir.stage(name) / "checkpoints"
    if not directory.is_dir():
      return None
    checkpoints = Checkpoints(directory, read_only=True)
    progress = checkpoints.progress()
    checkpoints.close()
    return progress

  def is_finished(self, name: str) -> bool:
    """Whether a stage has been trained to its last epoch."""
    progress = self.progress(name)
    return progress is not None and progress.finished

  def best(self, name: str) -> Any:
    """Best weights of a finished stage."""
    return self._read_best(name, jax.eval_shape(lambda: self.initial_params(name)))

  def _read_best(self, name: str, shapes, item: str = "best") -> Any:
    directory = self.workdir.stage(name) / "checkpoints"
    checkpoints = Checkpoints(directory, read_only=True)
    like = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    params = checkpoints.best(like, item)
    checkpoints.close()
    return params

  def start_params(self, name: str) -> Any:
    """The weights a stage starts from; what it starts from must be finished."""
    start, _, part = self.config.stages[name].start_from.partition("/")
    if not start:
      return self.initial_params(name)
    if not part:
      return self.best(start)
    fresh = self.initial_params(name)
    taught = {key: value for key, value in fresh.items() if key != "cascade_1"}
    return fresh | self._read_best(start, {"student": taught}, part)["student"]

  def initial_params(self, name: str) -> Any:
    """Random weights; stages of the same model start from the same ones."""
    key = jax.random.fold_in(
      jax.random.key(self.seed),
      zlib.crc32(self.config.stages[name].model.encode()) % 2**31,
    )
    batch = self._example()
    # Not jitted: compiling all the draws takes longer than making them.
    return self.models[name].init(key, batch.zero_filled, batch.measurement)["params"]

  def _example(self):
    slices = batches.take(self.dataset.train.parts[0], np.array([0]))
    masks = self.dataset.acquisitions[shape_of(slices)].masks
    return complete(slices, Acquisition(masks))

  @property
  def _noisy(self) -> bool:
    return any(each.snr is not None for each in self.dataset.acquisitions.values())

  def _slices(self, name: str, split: str) -> tuple[Slices, ...]:
    """The slices of a split, for each task of a stage."""
    return self._assign(split, getattr(self.dataset, split).parts, self._tasks(name))

  def _tasks(self, name: str) -> list[int]:
    """The numbers of a stage's tasks."""
    known, wanted = list(self.config.all_tasks), self.config.stages[name].tasks
    return [known.index(task) for task in wanted or known]

  def _assign(
    self, split: str, parts: Sequence[Slices], numbers: Sequence[int]
  ) -> tuple[Slices, ...]:
    return tasks.assign(
      parts,
      numbers,
      count=len(self.config.all_tasks),
      noisy=self._noisy,
      name=split,
    )

  def _make_stage(self, name: str) -> Stage:
    return Stage(
      name=name,
      config=self.config.stages[name],
      networks=self._networks(name, self._terms[name]),
      params=self.start_params(name),
      train=self._slices(name, "train"),
      validation=self._slices(name, "validation"),
      teacher_params=tuple(map(self.best, self.config.stages[name].all_teachers)),
      directory=self.workdir.stage(name),
    )

  def _networks(self, name: str, terms: Sequence[Term]) -> Networks:
    config, augment = self.config.stages[name], self.config.augment
    teachers = config.all_teachers
    return Networks(
      model=self.models[name],
      terms=terms,
      teachers=tuple(self.models[teacher] for teacher in teachers),
      taught_by=tuple(
        teachers.index(config.teachers[task]) if task in config.teachers else 0
        for task in self.config.all_tasks
      ),
      branches=self._branches.get(name),
      seed=self.seed,
      fresh=tuple(
        self._noisy and task.noise.fresh for task in self.config.all_tasks.values()
      ),
      augment=augment if augment.varies else None,
    )

  def _check_needs(self, names: Sequence[str]) -> None:
    """Refuses stages without those that teach or start them, directly or not."""
    wanted = list(names)
    for name in wanted:
      stage = self.config.stages[name]
      for needed in (*stage.all_teachers, stage.start_from.partition("/")[0]):
        if needed and needed not in wanted and not self.is_finished(needed):
          wanted.append(needed)
    missing = [n for n in self.config.pipeline if n in wanted and n not in names]
    if missing:
      together = [name for name in self.config.pipeline if name in wanted]
      raise UserError(
        f"--stages={','.join(names)}",
        f"no finished stage {', '.join(map(repr, missing))} in {self.workdir.path}",
        "the stages that teach these ones or that these start from",
        f"Train them, too: --stages={','.join(together)}.",
      )

  def _fit_terms(self, name: str) -> tuple[Term, ...]:
    """Fits the terms to the layers and traces them, before anything is trained.

    They are traced for each size that the networks see, of patches and of slices.
    """
    networks = self._networks(name, self._terms[name])
    plain = networks._replace(augment=None, fresh=())
    patch = any(self.config.augment.patch)
    found, seen = [], set()
    for split, used in (("train", networks), ("validation", plain)):
      for slices in getattr(self.dataset, split).parts:
        size = "patch" if patch and split == "train" else shape_of(slices)
        if size in seen:
          continue
        seen.add(size)
        one = batches.take(slices, np.array([0]))
        (one,) = self._assign(split, [one], self._tasks(name)[:1])
        acquisition = self.dataset.acquisitions[shape_of(one)]
        found.append(fit_terms(used, one, acquisition, name))
    if any(terms != found[0] for terms in found):
      raise UserError(
        f"config.stages.{name}.terms",
        "layers that are pooled to another size for each size of slices or patches",
        "slices of one shape and no patches, or layers of equal sizes",
        "Set --config.data.crop=(H,W) and --config.augment.patch=(0,0).",
      )
    return found[0]

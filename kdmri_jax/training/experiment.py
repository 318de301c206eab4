"""An experiment with its data and folder: what its stages are trained with."""

import copy
import dataclasses
import pathlib
import zlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from absl import logging

from kdmri_jax import config as config_lib
from kdmri_jax.config import ExperimentConfig, starting
from kdmri_jax.data import dataset as dataset_lib
from kdmri_jax.errors import UserError, arguments_of
from kdmri_jax.lookup import unknown
from kdmri_jax.models import contract, layers
from kdmri_jax.physics import acquisition
from kdmri_jax.training import (
  batches,
  leaks,
  parallel,
  processes,
  records,
  training_inputs,
)
from kdmri_jax.training import workdir as workdir_lib
from kdmri_jax.training.checkpoint import Progress
from kdmri_jax.training.given_stage import Origin
from kdmri_jax.training.stage_folder import StageFolder
from kdmri_jax.training.stage_networks import complete
from kdmri_jax.training.stage_plans import StagePlans
from kdmri_jax.training.trackers.tracker import RunTracker
from kdmri_jax.training.workdir import WorkDir
from kdmri_jax.types import Acquisition, Shape, shape_of


class Experiment:
  """An experiment bound to its data and its folder.

  Building one reads and checks everything; nothing is written until `claim`. One object
  has the networks of one seed, `config.seed` at first; `for_seed` gives an object for
  another seed.

  Args:
    config: from `config.parse`.
    workdir: the run's folder; created when missing.

  Raises:
    UserError: bad settings or bad data.

  Attributes:
    config: the experiment.
    seed: seed of initialisation and data order.
    task: the task that is evaluated, see `for_task`; "" for all.
    workdir: the run's folder.
    dataset: slices, split and how they are measured.
    devices: the devices in use.
    plans: networks, terms and slices of the stages.
    models: the networks of the stages, by stage.
    given: the stages that are not trained here, by name.
    trackers: show the training; none until it begins, see `seeds.train`.
  """

  trackers: Sequence[RunTracker] = ()

  def __init__(self, config: ExperimentConfig, workdir: pathlib.Path):
    self.config = config
    self.seed = config.seed
    self.workdir = WorkDir(workdir, config.seed)
    self.devices = parallel.choose_devices(config.devices, config.batch_size)
    self.task = ""

    def measured(shape: Shape) -> Acquisition:
      with arguments_of("config."):
        return acquisition.build(config.all_tasks, shape, config.coils)

    with arguments_of("config.data."):
      self.dataset = dataset_lib.load(
        config.data, measured, config.coils.phase_of_images
      )
    self._data: dict[str, Any] | None = None  # see `for_task`
    self.plans = StagePlans(config, self.dataset, workdir)
    self.models, self.given = self.plans.models, self.plans.given
    for seed in range(config.seed, config.seed + config.seeds):
      for given in self.given.values():
        leaks.refuse(config, given.where, given.origin(seed), self.dataset.test)

  def for_seed(
    self, seed: int, devices: Sequence[jax.Device] | None = None
  ) -> "Experiment":
    """The same experiment with another seed, sharing data and networks.

    Args:
      seed: the seed.
      devices: other devices to train on; None keeps them.
    """
    other = copy.copy(self)
    other.seed, other.devices = seed, devices or self.devices
    other.workdir = dataclasses.replace(self.workdir, seed=seed)
    return other

  def for_task(self, task: str) -> "Experiment":
    """The same experiment, evaluated on one task.

    Its dataset has that task's acquisition and held-out slices; the config's
    `evaluation` keeps the entries of the task.
    """
    other = copy.copy(self)
    other._data, other.task = self.data, task  # the record is of all tasks
    other.workdir = dataclasses.replace(self.workdir, task=task)
    number = list(self.config.all_tasks).index(task)
    own = {
      shape: Acquisition(*(None if x is None else x[[number]] for x in whole))
      for shape, whole in self.dataset.acquisitions.items()
    }
    parts = self.plans.assign("test", self.dataset.test.parts, [number])
    test = dataclasses.replace(
      self.dataset.test, parts=tuple(slices._replace(task=None) for slices in parts)
    )
    other.dataset = dataclasses.replace(self.dataset, acquisitions=own, test=test)
    other.config = self.config.of_task(task)
    return other

  def claim(self, names: Sequence[str]) -> None:
    """Checks that the named stages can be trained; records the config, the data
    and the masks.

    Raises:
      UserError: an unknown stage, a stage whose teacher or start is missing, or a work
        directory of another config or of other data; or several processes have
        different ones.
    """
    data = {**self.data, "inputs": training_inputs.describe(self.config, self.dataset)}
    own = {"config": config_lib.to_dict(self.config), "data": data}
    first = processes.of_first(lambda: own)
    processes.in_all(lambda: workdir_lib.refuse_other(first, own))
    processes.of_first(lambda: self._claim(names, data))

  def _claim(self, names: Sequence[str], data: dict[str, Any]) -> None:
    for name in names:
      if name not in self.config.pipeline:
        with arguments_of("--"):
          raise unknown("stages", name, self.config.pipeline)
    self._check_needs(names)
    for write in (False, True):  # nothing is written before all is checked
      self.workdir.claim(self.config, data, write=write)
      for name in self.config.pipeline:
        if name in self.given:
          self._folder(name).give(vars(self.origin(name)), write=write)
        else:
          self._folder(name).check(self._record(name))
    self.workdir.save_masks(self.dataset.acquisitions, list(self.config.all_tasks))
    for name in self.given:
      logging.info("%s: given: %s", name, self.origin(name).text)
    for note in self.given_notes():
      logging.warning("%s", note)

  def begin(self, name: str) -> None:
    """Records what a stage is trained with; checks it when a training continues.

    Raises:
      UserError: see `StageFolder.begin`.
    """
    processes.of_first(lambda: self._folder(name).begin(self._record(name)))

  @property
  def data(self) -> dict[str, Any]:
    """The record of the data, with digests of masks and images."""
    return self._data or {**self.dataset.record, **self.dataset.fingerprint()}

  def _folder(self, name: str) -> StageFolder:
    return StageFolder(self.workdir.stage(name))

  def _record(self, name: str) -> dict[str, Any]:
    return records.describe(self.config, self.data, self.seed, name, self._digest)

  def _digest(self, name: str) -> str:
    """Digest of the weights of "STAGE" or "STAGE/branches"; "" before the end."""
    stage, item = starting.parts(name)
    if stage in self.given:
      return self.origin(stage).digests.get(item or "best", "")
    return self.workdir.digest(name)

  def origin(self, name: str) -> Origin:
    """The origin of a given stage."""
    return self.given[name].origin(self.seed)

  def given_notes(self) -> list[str]:
    """Sentences for the report on given stages and pretrained networks."""
    found, dataset = [], self.dataset
    for name in self.config.pipeline:
      start = self.config.stages[name].start_from
      if name in self.given:
        origin = self.origin(name)
        found += leaks.notes(name, origin, self._record(name))
        if dataset.record["held_out_test"]:  # else all epochs are chosen on them
          found += leaks.notes_on_choice(self.config, name, origin, dataset.test)
      elif start.startswith(starting.PRETRAINED):
        found += leaks.notes_on_start(name, self.origin(start))
    return found

  def progress(self, name: str) -> Progress | None:
    """The progress of a stage; None when it has not begun."""
    return self._folder(name).progress()

  def is_finished(self, name: str) -> bool:
    """Whether a stage is given, or has been trained to its last epoch."""
    is_finished = self._folder(name).is_finished
    return name in self.given or processes.of_first(is_finished)

  def best(self, name: str) -> Any:
    """Best weights of a finished stage; {} where only its outputs are given.

    Raises:
      UserError: they were trained with other settings, or changed since.
    """
    return self._weights(name, self._shapes(name))

  def _shapes(self, name: str) -> Any:
    size = shape_of(self.dataset.train.parts[0])
    return contract.parameter_shapes(self.models[name], size)

  def _weights(self, name: str, shapes: Any, item: str = "best") -> Any:
    return processes.of_first(lambda: self._read_weights(name, shapes, item))

  def _read_weights(self, name: str, shapes: Any, item: str) -> Any:
    if name in self.given:
      return self.given[name].weights(self.seed, shapes, item)
    folder = self._folder(name)
    folder.check(self._record(name))
    return folder.weights(shapes, item)

  def start_params(self, name: str) -> Any:
    """The weights a stage starts from; what it starts from must be finished."""
    source, part = starting.parts(self.config.stages[name].start_from)
    if not source:
      return self.initial_params(name)
    if not part:  # of the same model
      return self._weights(source, self._shapes(name))
    fresh = self.initial_params(name)
    if part == "layers":
      return layers.take(fresh, self.best(source))
    taught = {key: value for key, value in fresh.items() if key != "cascade_1"}
    return fresh | self._weights(source, {"student": taught}, part)["student"]

  def initial_params(self, name: str) -> Any:
    """Random weights; stages of the same model start from the same ones."""
    model = self.config.stages[name].model
    key = jax.random.key(self.seed)
    key = jax.random.fold_in(key, zlib.crc32(model.encode()) % 2**31)
    slices = batches.take(self.dataset.train.parts[0], np.array([0]))
    masks = self.dataset.acquisitions[shape_of(slices)].masks
    model = self.models[name]
    batch = jax.eval_shape(complete, slices, Acquisition(masks))
    found = contract.draw_parameters(model, key, batch.zero_filled, batch.measurement)
    if found is None:  # a network of the user's, that starts from its input
      batch = complete(slices, Acquisition(masks))
      found = model.init(key, batch.zero_filled, batch.measurement)["params"]
    return found

  def _check_needs(self, names: Sequence[str]) -> None:
    """Refuses stages without those that teach or start them, directly or not."""
    wanted = self.config.with_sources(names, self.is_finished)
    together = [
      name
      for name in self.config.pipeline
      if name in names or (name in wanted and not self.is_finished(name))
    ]
    if missing := [repr(name) for name in together if name not in names]:
      found = f"no finished stage {', '.join(missing)} in {self.workdir.path}"
      expected = "the stages that teach these ones or that these start from"
      remedy = f"Train them, too: --stages={','.join(together)}."
      raise UserError(f"--stages={','.join(names)}", found, expected, remedy)

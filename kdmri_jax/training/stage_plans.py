"""The networks, terms and slices of all stages, checked before any training."""

import functools
import pathlib
from collections.abc import Sequence

import numpy as np
from absl import logging
from flax import linen as nn

from kdmri_jax import models
from kdmri_jax.config import ExperimentConfig, StageConfig, starting
from kdmri_jax.data import tasks
from kdmri_jax.data.dataset import Dataset
from kdmri_jax.errors import ArgumentError, UserError, arguments_of
from kdmri_jax.interop import load_vgg
from kdmri_jax.losses import PERCEPTUAL, PIXEL_LOSSES
from kdmri_jax.losses.perceptual import Perceptual
from kdmri_jax.models import branches, contract, layers, shrinking, swapping
from kdmri_jax.training import augment as augmentation
from kdmri_jax.training import batches, given, given_stage, optimiser
from kdmri_jax.training.given_stage import GivenImages
from kdmri_jax.training.stage_networks import Networks
from kdmri_jax.training.stage_shapes import fit_terms, trained_shapes
from kdmri_jax.training.terms import resolve
from kdmri_jax.types import Acquisition, Slices, shape_of


class StagePlans:
  """The networks, terms and slices of every stage.

  Args:
    config: the experiment.
    dataset: its data.
    workdir: this run's folder.

  Raises:
    UserError: settings that do not fit each other or the data; names the setting.

  Attributes:
    models: the networks of the stages, by stage.
    given: the stages that are not trained here, by name.
    networks: the networks and terms of the others, by stage, without seed.
  """

  def __init__(self, config: ExperimentConfig, dataset: Dataset, workdir: pathlib.Path):
    self._config, self._dataset = config, dataset
    acquisitions = dataset.acquisitions.values()
    self._noisy = any(each.snr is not None for each in acquisitions)
    for slices in dataset.train.parts:
      _check_augments(config, slices)
      if len(slices.target) < config.batch_size:
        logging.warning(
          "only %d training slices of %dx%d: batches of %d repeat them",
          *(len(slices.target), *shape_of(slices), config.batch_size),
        )
    stages = config.stages
    used = {key for stage in stages.values() for key in (stage.model, stage.branches)}
    networks = {}
    for key in sorted(used - {""}):
      with arguments_of(f"config.models.{key}."):
        networks[key] = _network(config, key, dataset)
    self.models = {name: networks[stage.model] for name, stage in stages.items()}
    self.given = given.find_all(config, self.models, workdir)
    size = next(iter(dataset.acquisitions))
    for name, each in self.given.items():
      if isinstance(each, given.GivenFile):  # refuses weights of another network
        each.weights(config.seed, contract.parameter_shapes(self.models[name], size))
    self._outputs: dict[str, GivenImages] = {
      name: each for name, each in self.given.items() if isinstance(each, GivenImages)
    }
    losses = PIXEL_LOSSES
    if config.vgg_weights:
      losses = {**losses, PERCEPTUAL: Perceptual(load_vgg(config.vgg_weights))}
    self.networks: dict[str, Networks] = {}
    for name in config.pipeline:
      if name in self.given:
        continue
      with arguments_of(f"config.stages.{name}."):
        self.networks[name] = self._resolve(name, losses, networks)
        self._check_outputs(name)
        self._check_start(name)
        self.networks[name] = self._fit(name)
        self._check_weights(name)
      terms = self.networks[name].terms
      related = [t.name for t in terms if t.weight and t.relates_images]
      if related and config.batch_size == 1:
        logging.warning(
          "stage %s: the term %s compares the images of a batch and has no effect at "
          "config.batch_size=1",
          *(name, related[0]),
        )

  def _resolve(self, name: str, losses, networks) -> Networks:
    """A stage's networks; its terms are not yet fitted to the layers."""
    config, stage = self._config, self._config.stages[name]
    model, teachers = self.models[name], stage.all_teachers
    by_task = [stage.taught_by(task) for task in config.all_tasks]
    other = next(filter(None, by_task), ())  # of tasks that the stage does not have
    taught_by = tuple(tuple(map(teachers.index, each or other)) for each in by_task)
    teaching = self.models | dict.fromkeys(self._outputs)
    blocks = branches.build(networks[stage.branches], model) if stage.branches else None
    augment = config.augment_of(name)
    if stage.swap or stage.shrink:
      _check_joined(stage, model, [teaching[name] for name in teachers])
    return Networks(
      model=model,
      terms=resolve(stage, losses),
      teachers=tuple(teaching[teacher] for teacher in teachers),
      taught_by=taught_by if teachers else (),
      branches=blocks,
      fresh=tuple(
        self._noisy and task.noise.fresh for task in config.all_tasks.values()
      ),
      augment=augment if augment.varies else None,
      kernels=stage.kernels,
    )

  def slices(self, name: str, split: str) -> tuple[Slices, ...]:
    """The slices of a split ("train", "validation"), once per task of a stage."""
    whole, numbers = getattr(self._dataset, split), self._tasks(name)
    parts = self.assign(split, whole.parts, numbers)
    stage, known = self._config.stages[name], list(self._config.all_tasks)
    outputs = [
      [self._outputs[t] for t in stage.taught_by(known[n]) if t in self._outputs]
      for n in numbers
    ]
    if not any(outputs):
      return parts

    own = [self.assign(split, whole.parts, [n]) for n in numbers]
    return tuple(
      slices._replace(
        given=given_stage.layers_of_tasks(
          outputs,
          self._hidden(name),
          (whole, part),
          [each[part] for each in own],
          self._dataset.acquisitions[shape_of(slices)],
        )
      )
      for part, slices in enumerate(parts)
    )

  def _hidden(self, name: str) -> tuple[str, ...]:
    """The layers beside the image that a stage's terms read of its teachers."""
    terms = [term for term in self.networks[name].terms if term.needs_teacher]
    return tuple(sorted({layer for t in terms for layer in t.hint} - {"image"}))

  def assign(
    self, split: str, parts: Sequence[Slices], numbers: Sequence[int]
  ) -> tuple[Slices, ...]:
    """Slices of a split, once per task of these indices, see `tasks.assign`."""
    count = len(self._config.all_tasks)
    return tasks.assign(parts, numbers, count=count, noisy=self._noisy, name=split)

  def _check_outputs(self, name: str) -> None:
    """Refuses stages that need more than the images of given outputs."""
    stage = self._config.stages[name]
    source = starting.parts(stage.start_from)[0]
    if source in self._outputs:
      found = f"{source!r}, of which outputs are given"
      raise ArgumentError("start_from", found, "a stage with weights")
    teachers = [t for t in stage.all_teachers if t in self._outputs]
    if not teachers:
      return
    given = f"{teachers[0]!r}, whose outputs are given"
    augment = self.networks[name].augment
    if any(self.networks[name].fresh) or (augment and augment.varies_inputs):
      found = f"{given}, and training slices that differ from step to step"
      expected = "outputs for the student's own inputs"
      remedy = "Set config.noise.fresh=False and no config.augment but patches and "
      remedy += "their turns, or give a network."
      where = "teacher" if stage.teacher else "teachers"
      raise ArgumentError(where, found, expected, remedy)
    fixed = not all(self._outputs[t].is_measured_anew for t in teachers)
    if stage.teacher and fixed and len(self._tasks(name)) > 1:
      expected = "a teacher for each task: `teachers`"
      raise ArgumentError("teacher", f"{given}, for several tasks", expected)
    several = len(stage.all_teachers) > 1
    known = ("image", *(() if several else self._outputs[teachers[0]].hidden))
    for term in self.networks[name].terms:
      if term.needs_teacher and not set(term.hint) <= set(known):
        found = f"{', '.join(term.hint)} of {given}"
        expected = f"one of its layers: {', '.join(known)}"
        if several:
          expected = "'image', the layer of several teachers"
        remedy = "Remove the term, or give the teacher's weights, or an ONNX file with "
        remedy += "an output for the layer."
        raise ArgumentError(f"terms.{term.name}.hint", found, expected, remedy)
    if augment and any(augment.patch):
      one = self._one(name, "train", self._dataset.train.parts[0])[0]
      for layer, shape in ((k, x.shape) for k, x in one.given.items()):
        if len(shape) != 4 or shape[1:3] != shape_of(one):
          found = f"{augment.patch}, and the layer {layer} {list(shape[1:])} of {given}"
          expected = f"(0, 0), or a layer of {list(shape_of(one))} pixels"
          raise ArgumentError("augment.patch", found, expected)
    for split in ("train", "validation"):
      whole = getattr(self._dataset, split)
      for part, slices in enumerate(whole.parts):
        for t in teachers:
          self._outputs[t].check(whole, part, *self._one(name, split, slices))

  def _check_start(self, name: str) -> None:
    """Refuses to start from the layers of a network that has other ones."""
    source, part = starting.parts(self._config.stages[name].start_from)
    if part != "layers":
      return
    models = self.models[name], self.models[source]
    if type(models[0]) is not type(models[1]):
      kinds = [type(model).__name__ for model in models]
      found = f"{source!r}, a {kinds[1]}"
      raise ArgumentError("start_from", found, f"a stage with a {kinds[0]}")
    size = next(iter(self._dataset.acquisitions))
    layers.take(*(contract.parameter_shapes(model, size) for model in models))

  def _tasks(self, name: str) -> list[int]:
    """The indices of a stage's tasks."""
    known, wanted = list(self._config.all_tasks), self._config.stages[name].tasks
    return [known.index(task) for task in wanted or known]

  def _fit(self, name: str) -> Networks:
    """Fits the terms to the layers and traces them, before anything is trained.

    They are traced for each size of patches and slices.
    """
    networks = self.networks[name]
    plain = networks._replace(augment=None, fresh=())
    patch = any(self._config.augment_of(name).patch)
    examples = {}
    for split, used in (("train", networks), ("validation", plain)):
      for slices in getattr(self._dataset, split).parts:
        size = "patch" if patch and split == "train" else shape_of(slices)
        examples.setdefault(size, (split, used, slices))
    fitted = []
    for split, used, slices in examples.values():
      one, acquisition = self._one(name, split, slices)
      fitted.append(fit_terms(used, one, acquisition, name))
    if any(terms != fitted[0] for terms in fitted):
      found = "layers that are pooled to other sizes for other slices or patches"
      expected = "slices of one shape and no patches, or layers of equal sizes"
      remedy = "Set --config.data.crop=(H,W) and --config.augment.patch=(0,0)."
      raise ArgumentError("terms", found, expected, remedy)
    return networks._replace(terms=fitted[0])

  def _one(self, name: str, split: str, slices: Slices) -> tuple[Slices, Acquisition]:
    """One slice of a part of a split, for its shapes, and how it is measured."""
    one = batches.take(slices, np.array([0]))
    (one,) = self.assign(split, [one], self._tasks(name)[:1])
    acquisition = self._dataset.acquisitions[shape_of(one)]
    if None in self.networks[name].teachers:
      names = self._config.stages[name].all_teachers
      given = next(self._outputs[t] for t in names if t in self._outputs)
      one = one._replace(given=given.shapes(self._hidden(name), one, acquisition))
    return one, acquisition

  def _check_weights(self, name: str) -> None:
    """Refuses kernels without use, and an optimiser that does not fit the weights."""
    stage, networks = self._config.stages[name], self.networks[name]
    one = self._one(name, "train", self._dataset.train.parts[0])
    shapes = functools.cache(lambda: trained_shapes(networks, *one))
    if stage.kernels != "plain":
      shapes()
    optimiser.check(stage, shapes)


def _network(config: ExperimentConfig, name: str, dataset: Dataset) -> nn.Module:
  """The network of `config.models[name]`, checked against the data.

  Raises:
    ArgumentError: settings that do not fit each other or the data, or a network that
      fails; names the setting.
    UserError: complex images for a network of real ones; names the file.
  """
  channels = dataset.train.parts[0].target.shape[-1]
  built = [
    models.build(config.models[name], acquisition.masks)
    for acquisition in dataset.acquisitions.values()
  ]
  model = built[0]
  if any(other != model for other in built):
    found = "'auto', with masks of different kinds for the slice shapes"
    expected = "'rfft' for one channel, 'fft' for two"
    raise ArgumentError("consistency", found, expected)
  if models.channels(model) == 1 and config.coils.count:
    found = f"1, with {config.coils.count} coils, whose images are complex"
    raise ArgumentError("channels", found, "2", "Set it for every model.")
  if models.channels(model) == 1 and channels == 2:
    raise UserError(
      dataset.record["complex_file"],
      "complex images",
      f"real ones, for config.models.{name}.channels=1",
      "Store their magnitude, exclude the file with --config.data.include, or set "
      "channels=2 for every model.",
    )
  if models.channels(model) != channels:
    found = f"{models.channels(model)}, with real images"
    remedy = "Set it for every model, or choose complex data."
    raise ArgumentError("channels", found, "1", remedy)
  for shape in dataset.acquisitions:
    contract.check(model, shape, channels)
  users = [stage for stage, own in config.stages.items() if own.model == name]
  for patch in {config.augment_of(stage).patch for stage in users}:
    if any(patch):
      contract.check(model, patch, channels, measured=False)
  return model


def _check_augments(config: ExperimentConfig, slices: Slices) -> None:
  """Refuses augmentations that the slices or their batches do not allow.

  Raises:
    UserError: names the setting.
  """
  groups = {"config.": config.augment}
  groups |= {f"config.stages.{k}.": stage.augment for k, stage in config.stages.items()}
  for where, augment in groups.items():
    with arguments_of(where):
      augmentation.check(augment, slices)
      if augment.mixup and config.batch_size == 1:
        found = f"{augment.mixup}, with batches of one slice"
        raise ArgumentError("augment.mixup", found, "0", "Or raise config.batch_size.")


def _check_joined(stage: StageConfig, model: nn.Module, teachers) -> None:
  """Refuses to train a network with a part of a teacher that does not fit it."""
  key, expected = "swap", "one teacher, whose cascades stand in for the student's"
  if stage.shrink:
    key, expected = "shrink", "one teacher, which becomes the student"
  if len(teachers) != 1:
    found = f"{len(teachers)} teachers" if teachers else "no teacher"
    raise ArgumentError(key, found, expected, f"Name one as `teacher`, or {key}=0.")
  others: dict[str, object] = {"branches": stage.branches}
  if stage.shrink:
    others |= {"swap": stage.swap, "start_from": stage.start_from}
  for other, value in others.items():
    if value:
      found = f"{getattr(stage, key):g}, and {other}={value}"
      raise ArgumentError(key, found, "either")
  if stage.shrink:
    shrinking.check(model, teachers[0])
  else:
    swapping.check(model, teachers[0])

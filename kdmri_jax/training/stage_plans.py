"""The networks, terms and slices of all stages, checked before any training."""

import pathlib
from collections.abc import Sequence

import numpy as np
from absl import logging

from kdmri_jax.config import ExperimentConfig
from kdmri_jax.data import tasks
from kdmri_jax.data.dataset import Dataset
from kdmri_jax.errors import UserError, arguments_of
from kdmri_jax.interop import load_vgg
from kdmri_jax.losses import PERCEPTUAL, PIXEL_LOSSES
from kdmri_jax.losses.perceptual import Perceptual
from kdmri_jax.models import branches
from kdmri_jax.training import batches, compatibility, given
from kdmri_jax.training.given import GivenOutputs
from kdmri_jax.training.stage_networks import Networks, fit_terms
from kdmri_jax.training.terms import Term, resolve
from kdmri_jax.types import Slices, shape_of


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
  """

  def __init__(self, config: ExperimentConfig, dataset: Dataset, workdir: pathlib.Path):
    self._config, self._dataset = config, dataset
    for slices in dataset.train.parts:
      with arguments_of("config."):
        compatibility.check_augment(config.augment, slices)
      if len(slices.target) < config.batch_size:
        logging.warning(
          "only %d training slices of %dx%d: batches of %d repeat them",
          *(len(slices.target), *shape_of(slices), config.batch_size),
        )
    stages = config.stages.items()
    used = {key for _, stage in stages for key in (stage.model, stage.branches) if key}
    networks = {}
    for key in sorted(used):
      with arguments_of(f"config.models.{key}."):
        networks[key] = compatibility.network(config, key, dataset)
    self.models = {name: networks[stage.model] for name, stage in stages}
    self.given = given.find_all(config, self.models, workdir)
    losses = PIXEL_LOSSES
    if config.vgg_weights:
      losses = {**losses, PERCEPTUAL: Perceptual(load_vgg(config.vgg_weights))}
    self._branches, self._terms = {}, {}
    for name, stage in stages:
      with arguments_of(f"config.stages.{name}."):
        if stage.branches:
          student, teacher = networks[stage.branches], networks[stage.model]
          self._branches[name] = branches.build(student, teacher)
        if name in config.pipeline and name not in self.given:
          self._terms[name] = resolve(stage, losses)
    for name in self._terms:
      self._check_outputs(name)
      self._terms[name] = self._fit_terms(name)
      related = [t.name for t in self._terms[name] if t.weight and t.relates_images]
      if related and config.batch_size == 1:
        logging.warning(
          "stage %s: the term %s compares the images of a batch and has no effect at "
          "config.batch_size=1",
          *(name, related[0]),
        )

  def networks(self, name: str, seed: int) -> Networks:
    """The networks of a stage, for one seed of the training."""
    config, augment = self._config.stages[name], self._config.augment
    teachers = config.all_teachers
    return Networks(
      model=self.models[name],
      terms=self._terms[name],
      teachers=tuple(
        None if teacher in self._outputs else self.models[teacher]
        for teacher in teachers
      ),
      taught_by=tuple(
        teachers.index(config.teachers[task]) if task in config.teachers else 0
        for task in self._config.all_tasks
      ),
      branches=self._branches.get(name),
      seed=seed,
      fresh=tuple(
        self._noisy and task.noise.fresh for task in self._config.all_tasks.values()
      ),
      augment=augment if augment.varies else None,
    )

  def slices(self, name: str, split: str) -> tuple[Slices, ...]:
    """The slices of a split ("train", "validation"), once per task of a stage."""
    whole, numbers = getattr(self._dataset, split), self._tasks(name)
    parts = self.assign(split, whole.parts, numbers)
    config, known = self._config.stages[name], list(self._config.all_tasks)
    teachers = [config.teachers.get(known[n], config.teacher) for n in numbers]
    if not self._outputs.keys() & teachers:
      return parts

    def images(part: int, teacher: str) -> np.ndarray:
      if teacher in self._outputs:
        return self._outputs[teacher].of_part(whole, part)
      return np.zeros(whole.parts[part].target.shape, np.float32)

    return tuple(
      slices._replace(given=np.concatenate([images(k, each) for each in teachers]))
      for k, slices in enumerate(parts)
    )

  def assign(
    self, split: str, parts: Sequence[Slices], numbers: Sequence[int]
  ) -> tuple[Slices, ...]:
    """Slices of a split, once per task of these indices, see `tasks.assign`."""
    count = len(self._config.all_tasks)
    return tasks.assign(parts, numbers, count=count, noisy=self._noisy, name=split)

  @property
  def _outputs(self) -> dict[str, GivenOutputs]:
    """The stages whose outputs are given."""
    return {k: v for k, v in self.given.items() if isinstance(v, GivenOutputs)}

  def _check_outputs(self, name: str) -> None:
    """Refuses stages that need more than the images of given outputs."""
    stage, where = self._config.stages[name], f"config.stages.{name}"
    start = stage.start_from.partition("/")[0]
    if start in self._outputs:
      found = f"{start!r}, of which outputs are given"
      raise UserError(f"{where}.start_from", found, "a stage with weights")
    teachers = [t for t in stage.all_teachers if t in self._outputs]
    if not teachers:
      return
    if self._config.augment.varies or any(self.networks(name, 0).fresh):
      raise UserError(
        f"config.stages.{teachers[0]}.given",
        "outputs, and training slices that differ from step to step",
        "outputs for the student's own inputs",
        "Set config.noise.fresh=False and no config.augment, or give a network.",
      )
    if stage.teacher and len(self._tasks(name)) > 1:
      found = f"{stage.teacher!r}, whose outputs are given, for several tasks"
      raise UserError(f"{where}.teacher", found, "a teacher for each task: `teachers`")
    for term in self._terms[name]:
      if term.needs_teacher and set(term.hint) != {"image"}:
        raise UserError(
          f"{where}.terms.{term.name}.hint",
          f"{', '.join(term.hint)} of {teachers[0]!r}, whose outputs are given",
          "'image', the only layer that outputs have",
          "Remove the term, or give the teacher's weights.",
        )
    for split in ("train", "validation"):
      self.slices(name, split)

  @property
  def _noisy(self) -> bool:
    return any(each.snr is not None for each in self._dataset.acquisitions.values())

  def _tasks(self, name: str) -> list[int]:
    """The indices of a stage's tasks."""
    known, wanted = list(self._config.all_tasks), self._config.stages[name].tasks
    return [known.index(task) for task in wanted or known]

  def _fit_terms(self, name: str) -> tuple[Term, ...]:
    """Fits the terms to the layers and traces them, before anything is trained.

    They are traced for each size of patches and slices.
    """
    networks = self.networks(name, self._config.seed)
    plain = networks._replace(augment=None, fresh=())
    patch = any(self._config.augment.patch)
    found, seen = [], set()
    for split, used in (("train", networks), ("validation", plain)):
      for slices in getattr(self._dataset, split).parts:
        size = "patch" if patch and split == "train" else shape_of(slices)
        if size in seen:
          continue
        seen.add(size)
        one = batches.take(slices, np.array([0]))
        (one,) = self.assign(split, [one], self._tasks(name)[:1])
        if None in networks.teachers:
          one = one._replace(given=one.target)
        acquisition = self._dataset.acquisitions[shape_of(one)]
        found.append(fit_terms(used, one, acquisition, name))
    if any(terms != found[0] for terms in found):
      raise UserError(
        f"config.stages.{name}.terms",
        "layers that are pooled to another size for each size of slices or patches",
        "slices of one shape and no patches, or layers of equal sizes",
        "Set --config.data.crop=(H,W) and --config.augment.patch=(0,0).",
      )
    return found[0]

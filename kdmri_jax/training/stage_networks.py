"""The networks and terms of a stage, and the functions that combine them."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from kdmri_jax.config import AugmentConfig
from kdmri_jax.errors import ArgumentError, arguments_of
from kdmri_jax.models import features as feature_lib
from kdmri_jax.models import kernels, swapping
from kdmri_jax.physics.acquisition import measure
from kdmri_jax.training import augment, objective
from kdmri_jax.training.terms import Term
from kdmri_jax.types import (
  Acquisition,
  Array,
  Batch,
  CoilMeasurement,
  Measurement,
  Outputs,
  Slices,
)


class Teacher(NamedTuple):
  """The frozen teacher, as argument of the steps.

  Attributes:
    params: weights of each of `Networks.teachers`.
    error_range: largest minus smallest mean squared error over the training set.
  """

  params: Sequence[Any] = ()
  error_range: Any = 0.0


class Networks(NamedTuple):
  """The networks and terms of a stage.

  Attributes:
    model: the network that is trained.
    terms: from `objective.adapt`.
    teachers: the frozen networks that teach, None for one whose outputs are given; ()
      without any.
    taught_by: for each task the indices of its teachers, of several the mean teaches;
      () for one task, which all teach.
    branches: `models.branches.Branches` for SFT-KD-Recon, or None.
    swap_steps: steps in which cascades of the teacher stand in for the network's own;
      0 for none.
    seed: seed of the random draws of a step.
    fresh: whether a training step draws new noise, per task; () without noise.
    augment: how a training step varies its slices, or None.
    kernels: form of the 3x3 kernels in training, see `models.kernels.split`.
  """

  model: nn.Module
  terms: Sequence[Term]
  teachers: tuple[nn.Module | None, ...] = ()
  taught_by: tuple[tuple[int, ...], ...] = ()
  branches: nn.Module | None = None
  swap_steps: int = 0
  seed: int = 0
  fresh: tuple[bool, ...] = ()
  augment: AugmentConfig | None = None
  kernels: str = "plain"

  @property
  def groups(self) -> tuple[tuple[int, ...], ...]:
    """Indices of the teachers that teach together, each group once."""
    everyone = tuple(range(len(self.teachers)))
    return tuple(dict.fromkeys(self.taught_by or (everyone,)))

  @property
  def varies(self) -> bool:
    """Whether training steps vary a slice."""
    return any(self.fresh) or self.augment is not None


def complete(slices: Slices, acquisition: Acquisition) -> Batch:
  """Adds the measurement: the data's own k-space where there is one, else simulated."""
  if slices.kspace is None:
    zero_filled, measurement = measure(
      slices.target, acquisition, slices.task, slices.draws
    )
  else:
    zero_filled = slices.zero_filled
    measurement = Measurement(slices.kspace, acquisition.masks[0])
    if slices.sensitivities is not None:
      measurement = CoilMeasurement(*measurement, slices.sensitivities)
  return Batch(slices.target, zero_filled, measurement, slices.task, slices.given)


def vary(
  networks: Networks,
  slices: Slices,
  acquisition: Acquisition,
  draws: Array,
  following: Callable[[Array], Array] = augment.next_image,
) -> Batch:
  """As `complete`, for training: with this step's noise and augmentation.

  Slices are changed before they are measured. Patches are then cut from input and
  target and turned; they have no measurement.

  Args:
    networks: the stage's networks.
    slices: the slices of a step.
    acquisition: how they are measured.
    draws: a different number for each slice and step, uint32 [B].
    following: images [B, ...] -> the next image of the batch for each.
  """
  if any(networks.fresh):
    fresh = jnp.asarray(networks.fresh)[0 if slices.task is None else slices.task]
    slices = slices._replace(draws=jnp.where(fresh, draws, slices.draws))
  if networks.augment is None:
    return complete(slices, acquisition)
  config = networks.augment
  target = augment.change(slices.target, draws, config, following)
  batch = complete(slices._replace(target=target), acquisition)
  if not any(config.patch):
    return batch
  images = augment.cut((batch.target, batch.zero_filled), draws, config.patch)
  target, zero_filled = augment.turn(images, draws, config)
  return Batch(target, zero_filled, None, batch.task)


def forward(
  networks: Networks, params: Any, auxiliary: Any, batch: Batch
) -> tuple[Outputs, dict[str, Array]]:
  """Runs the network that is trained; its features include SFT's branches."""
  outputs, features = _run(networks.model, params, batch)
  if networks.branches:
    variables = {"params": auxiliary["branches"]}
    features |= networks.branches.apply(variables, features, batch.measurement)
  return outputs, features


def forward_swapped(
  networks: Networks, params: Any, teacher_params: Any, batch: Batch, of_teacher: Array
) -> tuple[Outputs, dict[str, Array]]:
  """As `forward`, with some cascades of the teacher, see `swapping.chain`.

  Layers that are not the image after a cascade are those of the network alone.
  """
  _, features = _run(networks.model, params, batch)
  images = swapping.chain(
    (networks.model, networks.teachers[0]),
    (params, teacher_params[0]),
    batch.zero_filled,
    batch.measurement,
    of_teacher,
  )
  return Outputs(images["image"]), features | images


def teach(
  networks: Networks, teacher_params: Any, batch: Batch
) -> dict[str, Any] | None:
  """The hints of each image's frozen teacher; None without a teacher."""
  pairs = zip(networks.teachers, teacher_params, strict=True)
  features = [_teacher_features(*pair, batch) for pair in pairs]
  if not features:
    return None
  groups = networks.groups
  hints = [
    objective.represent_teachers(
      networks.terms, [features[k] for k in group], batch.target
    )
    for group in groups
  ]
  if len(hints) == 1:
    return hints[0]
  group_of_task = np.array([groups.index(group) for group in networks.taught_by])
  chosen = jnp.asarray(group_of_task)[batch.task]
  images = jnp.arange(len(batch.task))
  return jax.tree.map(lambda *each: jnp.stack(each)[chosen, images], *hints)


def _teacher_features(teacher: nn.Module | None, params, batch: Batch):
  if teacher is None:
    return {"image": batch.given}
  return _run(teacher, params, batch)[1]


def _run(model: nn.Module, params, batch: Batch):
  return feature_lib.apply(model, params, batch.zero_filled, batch.measurement)


def init_auxiliary(
  networks: Networks,
  params: Any,
  teacher_params: Any,
  slices: Slices,
  acquisition: Acquisition,
  key: Array,
) -> dict[str, Any]:
  """Initial auxiliary weights of a stage.

  Args:
    networks: the stage's networks; terms as from `fit_terms`.
    params: the network's weights.
    teacher_params: the weights of each frozen teacher.
    slices: any slice, for the shapes.
    acquisition: how it is measured.
    key: random key.

  Returns:
    Term name -> weights, and "branches" -> those of SFT's branches.
  """
  if networks.branches is None and not any(t.owns_weights for t in networks.terms):
    return {}
  batch = complete(slices, acquisition)
  return _init_auxiliary(networks, params, teacher_params, batch, key)


@functools.partial(jax.jit, static_argnums=0)
def _init_auxiliary(networks: Networks, params, teacher_params, batch: Batch, key):
  auxiliary = _init_branches(networks, params, batch, key)
  _, features = forward(networks, params, auxiliary, batch)
  inputs = objective.undrawn(batch, teach(networks, teacher_params, batch))
  return auxiliary | objective.make_auxiliary(networks.terms, features, inputs, key)


def _init_branches(networks: Networks, params, batch: Batch, key):
  if networks.branches is None:
    return {}
  _, features = _run(networks.model, params, batch)
  variables = networks.branches.init(key, features, batch.measurement)
  return {"branches": variables["params"]}


def as_trained(networks: Networks, params: Any, auxiliary: Any) -> tuple[Any, Any]:
  """The weights to train in place of a network's and its auxiliary ones.

  Args:
    networks: the stage's networks.
    params: the network's weights, on the host.
    auxiliary: from `init_auxiliary`, likewise.

  Raises:
    ArgumentError: see `models.kernels.split`.
  """
  split = functools.partial(kernels.split, form=networks.kernels, seed=networks.seed)
  if networks.branches:
    auxiliary = {**auxiliary, "branches": split(auxiliary["branches"])}
  return split(params), auxiliary


def trained_shapes(
  networks: Networks, slices: Slices, acquisition: Acquisition
) -> tuple[Any, Any]:
  """Weights of the shapes and types that the stage trains, as from `as_trained`.

  Args:
    networks: the stage's networks; terms as from `fit_terms`.
    slices: any slice, for the shapes.
    acquisition: how it is measured.

  Raises:
    ArgumentError: see `models.kernels.split`.
  """

  def weights(key):
    batch = complete(slices, acquisition)
    params, *taught = (
      model and model.init(key, batch.zero_filled, batch.measurement)["params"]
      for model in (networks.model, *networks.teachers)
    )
    return params, init_auxiliary(networks, params, taught, slices, acquisition, key)

  shapes = jax.eval_shape(weights, jax.random.key(0))
  zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
  return as_trained(networks, *zeros)


def fit_terms(
  networks: Networks, slices: Slices, acquisition: Acquisition, stage: str
) -> tuple[Term, ...]:
  """Fits the terms to the networks' layers and traces every one of them.

  Args:
    networks: their terms as from `terms.resolve`.
    slices: any slice, for the shapes.
    acquisition: how it is measured.
    stage: name of the stage, for the log.

  Raises:
    ArgumentError: layers are missing, or a term cannot be computed from them; names it.
  """
  key = jax.random.key(0)
  draws = jnp.zeros(len(slices.target), jnp.uint32)
  batch = jax.eval_shape(functools.partial(vary, networks), slices, acquisition, draws)

  def init(model, batch):
    return model.init(key, batch.zero_filled, batch.measurement)["params"]

  def layers(batch):
    params = init(networks.model, batch)
    auxiliary = _init_branches(networks, params, batch, key)
    student = forward(networks, params, auxiliary, batch)[1]
    return student, [
      _teacher_features(t, t and init(t, batch), batch) for t in networks.teachers
    ]

  student, teachers = jax.eval_shape(layers, batch)
  teachers = teachers or [{}]
  with arguments_of("terms."):
    first, *others = (
      objective.adapt(networks.terms, student, teacher, stage) for teacher in teachers
    )
    averaged = any(len(group) > 1 for group in networks.groups)
    for term in first:
      if averaged and term.needs_teacher:
        objective.require_mean(term, teachers[0])
      _trace(term, student, teachers[0], batch)
  if any(terms != first for terms in others):
    found = "teachers whose layers differ in shape"
    where = "teachers" if len(networks.groups) > 1 else "teacher"
    raise ArgumentError(where, found, "teachers of one network, or another method")
  return first


def _trace(term: Term, student, teacher, batch: Batch) -> None:
  """Refuses a term that cannot be computed from layers of these shapes."""

  def value(student, teacher, batch):
    hints = None  # without a teacher
    if teacher:
      hints = objective.represent_teachers([term], [teacher], batch.target)
    inputs = objective.undrawn(batch, hints)
    auxiliary = objective.make_auxiliary([term], student, inputs, jax.random.key(0))
    return objective.evaluate([term], auxiliary, student, inputs)

  try:
    jax.eval_shape(value, student, teacher, batch)
  except Exception as error:  # a loss of the user's may raise anything
    if isinstance(error, ArgumentError) and error.where == "loss":
      where = f"{term.name}.loss"
      raise ArgumentError(where, error.found, error.expected) from error
    layers = ", hint ".join(", ".join(x) for x in (term.guided, term.hint) if x)
    reason = f"{type(error).__name__}: {error}"
    found = f"layers that it cannot compare, guided {layers} ({reason})"
    expected = "layers of matching number and shapes"
    raise ArgumentError(term.name, found, expected) from error

"""The networks and terms of a stage, and the functions that combine them."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from kdmri_jax.config import AugmentConfig
from kdmri_jax.models import features as feature_lib
from kdmri_jax.models import kernels, shrinking, swapping
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
    shrink_steps: steps in which the teacher becomes the network; 0 for none.
    seed: seed of the random draws of a step.
    fresh: whether a training step draws new noise, per task; () without noise.
    augment: how a training step varies its slices, or None.
    kernels: form of the 3x3 kernels in training, see `models.kernels.split`.
    rounds_hints: whether hints are rounded to half precision.
  """

  model: nn.Module
  terms: Sequence[Term]
  teachers: tuple[nn.Module | None, ...] = ()
  taught_by: tuple[tuple[int, ...], ...] = ()
  branches: nn.Module | None = None
  swap_steps: int = 0
  shrink_steps: int = 0
  seed: int = 0
  fresh: tuple[bool, ...] = ()
  augment: AugmentConfig | None = None
  kernels: str = "plain"
  rounds_hints: bool = False

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
  """Adds the measurement: the data's own k-space where there is one, else simulated.

  It is simulated from the given input, where there is one, else from the target.
  """
  measurement: Measurement | CoilMeasurement
  if slices.kspace is not None and slices.sensitivities is None:
    zero_filled = slices.zero_filled
    measurement = Measurement(slices.kspace, acquisition.masks[0])
  else:
    coils = None
    if slices.sensitivities is not None:
      coils = slices.kspace, slices.sensitivities
    zero_filled, measurement = measure(
      slices.scanned, acquisition, slices.task, slices.draws, coils
    )
  return Batch(slices.target, zero_filled, measurement, slices.task, slices.given)


def vary(
  networks: Networks,
  slices: Slices,
  acquisition: Acquisition,
  draws: Array,
  following: Callable[[Array], Array] = augment.next_image,
) -> Batch:
  """As `complete`, for training: with this step's noise and augmentation.

  Slices, and with them their given inputs, are changed before they are measured.
  Patches are then cut from input, target and the given layers of a teacher, and turned;
  they have no measurement.

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
  images = (slices.target,) if slices.input is None else (slices.target, slices.input)
  images = augment.change(images, draws, config, following)
  changed = dict(zip(("target", "input"), images, strict=False))
  batch = complete(slices._replace(**changed), acquisition)
  if not any(config.patch):
    return batch
  given = batch.given or {}
  images = (batch.target, batch.zero_filled, *given.values())
  images = augment.cut(images, draws, config.patch)
  target, zero_filled, *layers = augment.turn(images, draws, config)
  return Batch(
    target, zero_filled, None, batch.task, dict(zip(given, layers, strict=True)) or None
  )


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


def forward_shrinking(
  networks: Networks, weights: Any, batch: Batch, share: Array
) -> tuple[Outputs, dict[str, Array]]:
  """As `forward`, with the teacher's surplus layers partly faded out.

  Layers that are not the image after a cascade are those of the network alone.

  Args:
    networks: the stage's networks.
    weights: from `shrinking.start`.
    batch: the images.
    share: see `shrinking.apply`; from 1 on the network runs alone.
  """
  teacher, measured = networks.teachers[0], (batch.zero_filled, batch.measurement)
  _, features = _run(networks.model, kernels.merge(weights), batch)

  def faded():
    return shrinking.apply(teacher, weights, share, *measured)

  def alone():
    return {name: features[name] for name in jax.eval_shape(faded)}

  images = jax.lax.cond(share < 1, faded, alone)
  return Outputs(images["image"]), features | images


def teach(
  networks: Networks, teacher_params: Any, batch: Batch
) -> dict[str, Any] | None:
  """The hints of each image's frozen teacher; None without a teacher."""
  pairs = zip(networks.teachers, teacher_params, strict=True)
  features = [teacher_features(*pair, batch) for pair in pairs]
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


def teacher_features(
  teacher: nn.Module | None, params: Any, batch: Batch
) -> dict[str, Any]:
  """The layers of a teacher; of given outputs those that are given."""
  if teacher is None:
    return batch.given
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
  auxiliary = init_branches(networks, params, batch, key)
  _, features = forward(networks, params, auxiliary, batch)
  inputs = objective.undrawn(batch, teach(networks, teacher_params, batch))
  return auxiliary | objective.make_auxiliary(networks.terms, features, inputs, key)


def init_branches(
  networks: Networks, params: Any, batch: Batch, key: Array
) -> dict[str, Any]:
  """Initial weights of SFT's branches, as "branches"; {} without any."""
  if networks.branches is None:
    return {}
  _, features = _run(networks.model, params, batch)
  variables = networks.branches.init(key, features, batch.measurement)
  return {"branches": variables["params"]}


def as_trained(
  networks: Networks, params: Any, auxiliary: Any, teacher_params: Sequence[Any]
) -> tuple[Any, Any]:
  """The weights to train in place of a network's and its auxiliary ones.

  Args:
    networks: the stage's networks.
    params: the network's weights, on the host.
    auxiliary: from `init_auxiliary`, likewise.
    teacher_params: the weights of each frozen teacher.

  Raises:
    ArgumentError: see `models.kernels.split`.
  """
  split = functools.partial(kernels.split, form=networks.kernels, seed=networks.seed)
  if networks.shrink_steps:
    count = networks.model.convolutions
    weights = shrinking.start(networks.teachers[0], teacher_params[0], count)
    return weights._replace(params=split(weights.params)), auxiliary
  if networks.branches:
    auxiliary = {**auxiliary, "branches": split(auxiliary["branches"])}
  return split(params), auxiliary

"""The pure functions a stage is made of: train, validate, teach, predict."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import optax
from flax import linen as nn

from kdmri_jax.config import StageConfig
from kdmri_jax.distillation import combine
from kdmri_jax.losses import pixel
from kdmri_jax.models import features as feature_lib
from kdmri_jax.physics import undersample
from kdmri_jax.training import parallel
from kdmri_jax.types import Array, Batch, Measurement, Slices


class TrainState(NamedTuple):
  """What training changes.

  Attributes:
    params: the network's weights.
    optimiser: Adam's moments and step count.
  """

  params: Any
  optimiser: Any


class Steps(NamedTuple):
  """The compiled functions of a stage; every batch is a whole one.

  Attributes:
    train: (state, teacher's params, slices, mask) -> (state, values), where values
      holds every weighted term, "loss" and "gradient_norm".
    validate: (params, teacher's params, slices, mask) -> (per-image "mse" and "l1"
      [B], values of every term and "loss").
    validate_rest: `validate` on one device, for a batch of any size.
    teach: (teacher's params, slices, mask) -> hints for `Slices.hints`.
  """

  train: Callable
  validate: Callable
  validate_rest: Callable
  teach: Callable


def complete(slices: Slices, mask: Array) -> Batch:
  """Adds the measurement: the data's own k-space where there is one, else simulated."""
  if slices.kspace is None:
    zero_filled, measurement = undersample.undersample(slices.target, mask)
  else:
    zero_filled, measurement = slices.zero_filled, Measurement(slices.kspace, mask)
  return Batch(slices.target, zero_filled, measurement)


def make_optimiser(
  stage: StageConfig, steps_per_epoch: int
) -> optax.GradientTransformation:
  """Adam, its learning rate multiplied by `decay_factor` every `decay_epochs`."""
  return optax.adam(make_schedule(stage, steps_per_epoch))


def make_schedule(stage: StageConfig, steps_per_epoch: int) -> optax.Schedule:
  """The learning rate of a step, counted from 0."""
  if not stage.decay_epochs:
    return optax.constant_schedule(stage.learning_rate)
  return optax.exponential_decay(
    stage.learning_rate,
    transition_steps=stage.decay_epochs * steps_per_epoch,
    decay_rate=stage.decay_factor,
    staircase=True,
  )


def make_steps(
  model: nn.Module,
  teacher: nn.Module | None,
  terms: Sequence[combine.Term],
  optimiser: optax.GradientTransformation,
  devices: Sequence[jax.Device],
) -> Steps:
  """Compiles a stage for the devices.

  Args:
    model: the network that is trained.
    teacher: the frozen one, or None.
    terms: from `combine.resolve`.
    optimiser: from `make_optimiser`.
    devices: one for `jax.jit`, several for `jax.pmap`; the numbers are the same.
  """
  several = len(devices) > 1
  weighted = [term for term in terms if term.weight]

  def teach(params, slices: Slices, mask):
    batch = complete(slices, mask)
    _, features = feature_lib.apply(
      teacher, params, batch.zero_filled, batch.measurement
    )
    return combine.represent_teacher(terms, features)

  def get_hints(teacher_params, slices, mask):
    if slices.hints is not None or teacher is None:
      return slices.hints
    return teach(teacher_params, slices, mask)

  def compare(params, chosen, batch, hints, gather):
    outputs, features = feature_lib.apply(
      model, params, batch.zero_filled, batch.measurement
    )
    values = combine.evaluate(chosen, features, batch.target, hints, gather)
    loss = combine.total(chosen, values)
    return loss, (outputs, {**values, "loss": loss})

  def train(state: TrainState, teacher_params, slices: Slices, mask):
    batch = complete(slices, mask)
    hints = get_hints(teacher_params, slices, mask)
    gather = parallel.gather if several else None
    gradient, (_, values) = jax.grad(compare, has_aux=True)(
      state.params, weighted, batch, hints, gather
    )
    if several:
      gradient, values = parallel.average((gradient, values))
    updates, optimiser_state = optimiser.update(gradient, state.optimiser, state.params)
    params = optax.apply_updates(state.params, updates)
    values = {**values, "gradient_norm": optax.tree.norm(gradient)}
    return TrainState(params, optimiser_state), values

  def validate_rest(params, teacher_params, slices: Slices, mask, gather=None):
    batch = complete(slices, mask)
    hints = get_hints(teacher_params, slices, mask)
    _, (outputs, values) = compare(params, terms, batch, hints, gather)
    errors = {
      "mse": pixel.mse(outputs.image, batch.target),
      "l1": pixel.l1(outputs.image, batch.target),
    }
    return errors, values

  def validate(*arguments):
    if not several:
      return validate_rest(*arguments)
    errors, values = validate_rest(*arguments, parallel.gather)
    return errors, parallel.average(values)

  def compiled(function, split, out_axes):
    return parallel.compile_step(function, devices, split=split, out_axes=out_axes)

  return Steps(
    train=compiled(train, (False, False, True, False), None),
    validate=compiled(validate, (False, False, True, False), (0, None)),
    validate_rest=jax.jit(validate_rest),
    teach=compiled(teach, (False, True, False), 0),
  )


def make_predict(
  model: nn.Module, devices: Sequence[jax.Device], layers: Sequence[str] = ()
) -> Callable:
  """Compiles (params, slices, mask) -> (zero-filled, reconstruction, picked layers).

  All results have a leading batch axis. Where the slices bring k-space, nothing but
  the shape of their target is used.
  """

  def predict(params, slices: Slices, mask):
    batch = complete(slices, mask)
    outputs, features = feature_lib.apply(
      model, params, batch.zero_filled, batch.measurement
    )
    picked = feature_lib.pick(features, layers, "layers")
    return batch.zero_filled, outputs.image, picked

  return parallel.compile_step(predict, devices, split=(False, True, False), out_axes=0)

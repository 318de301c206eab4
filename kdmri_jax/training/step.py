"""The pure functions of a stage: train, validate, teach, predict."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from kdmri_jax.losses import pixel
from kdmri_jax.models import features as feature_lib
from kdmri_jax.models import kernels, swapping
from kdmri_jax.training import augment, objective, parallel, stacked
from kdmri_jax.training import hints as hint_lib
from kdmri_jax.training.batches import take
from kdmri_jax.training.optimiser import Averaged
from kdmri_jax.training.stage_networks import (
  Networks,
  Teacher,
  complete,
  forward,
  forward_shrinking,
  forward_swapped,
  teach,
  vary,
)
from kdmri_jax.types import Acquisition, Batch, Slices

_SWAP = 106  # separates these draws of a step from its others


class TrainState(NamedTuple):
  """The state that training changes.

  Attributes:
    params: the network's weights in training, from `stage_networks.as_trained`.
    auxiliary: weights dropped at the end: by the name of a term, the weights of
      its adapters and its method; "branches" for those of SFT.
    optimiser: the optimiser's state over both, with their averages if there are any.
    step: completed optimiser steps, int32.
  """

  params: Any
  auxiliary: Any
  optimiser: Any
  step: Any

  @property
  def validated(self) -> tuple[Any, Any]:
    """The weights, and auxiliary weights, that are validated and kept.

    They are the averaged ones of `optimiser.averaging`, or without it the last ones;
    those of plain networks, so merged.
    """
    trained = self.params, self.auxiliary
    if isinstance(self.optimiser, Averaged):
      trained = self.optimiser.average
    return kernels.merge(trained)


class Steps(NamedTuple):
  """The compiled functions of a stage.

  Several devices need whole batches, one device takes any size.

  Attributes:
    train: (state, `Teacher`, slices, `Acquisition`) -> (state, values), where values
      holds every weighted term, "loss" and "gradient_norm". The state passed in cannot
      be used again.
    train_many: (state, `Teacher`, all slices of a part, rows int [K, B],
      `Acquisition`) -> (state, values [K]): K steps of `train` on one device.
    validate: as `train` -> (per-image "mse" and "l1" [B], values of every term and
      "loss").
    validate_many: (state, `Teacher`, all slices of a part, rows int [K, B],
      `Acquisition`) -> as `validate`, of K batches on one device: [K, B] and [K].
    validate_rest: `validate` on one device, for a batch of any size.
    teach: (`Teacher`, slices, `Acquisition`) -> hints for `Slices.hints`.
    audit: as `train` -> for every weighted term its "value", the "norm" of its weighted
      gradient with respect to the merged weights (while the teacher shrinks, to the
      trained ones), and that gradient's "cosine" with the gradient of the L1 distance
      of the image to the target.
  """

  train: Callable
  train_many: Callable
  validate: Callable
  validate_many: Callable
  validate_rest: Callable
  teach: Callable
  audit: Callable


def init_state(
  params: Any, auxiliary: Any, optimiser: optax.GradientTransformation
) -> TrainState:
  """The initial state of a stage; weights from `stage_networks.as_trained`."""
  trained = optimiser.init((params, auxiliary))
  return TrainState(params, auxiliary, trained, np.zeros((), np.int32))


def make_steps(
  networks: Networks,
  optimiser: optax.GradientTransformation,
  devices: Sequence[jax.Device],
) -> Steps:
  """Compiles a stage for the devices.

  Args:
    networks: the stage's networks.
    optimiser: from `optimiser.make_optimiser`.
    devices: one for `jax.jit`, several for `jax.pmap`; the numbers are the same.
  """
  several = len(devices) > 1
  average = parallel.average if several else lambda tree: tree
  weighted = [term for term in networks.terms if term.weight]

  def teach_slices(teacher: Teacher, slices: Slices, acquisition: Acquisition):
    return teach(networks, teacher.params, complete(slices, acquisition))

  def draw(step, count: int, over_devices: bool):
    key = jax.random.fold_in(jax.random.key(networks.seed), step)
    if over_devices:
      everyones = jax.random.bits(key, (len(devices) * count,), jnp.uint32)
      first = jax.lax.axis_index(parallel.AXIS) * count
      return jax.lax.dynamic_slice_in_dim(everyones, first, count)
    return jax.random.bits(key, (count,), jnp.uint32)

  def run_alone(trained, batch):
    return forward(networks, *kernels.merge(trained), batch)

  def chain(state: TrainState, teacher: Teacher):
    """Runs the network for training, perhaps with a part of the teacher."""
    if networks.shrink_steps:
      share = state.step / networks.shrink_steps
      return lambda trained, batch: forward_shrinking(
        networks, trained[0], batch, share
      )
    if not networks.swap_steps:
      return run_alone
    key = jax.random.fold_in(jax.random.key(networks.seed), state.step)
    of_teacher = swapping.draw(
      jax.random.fold_in(key, _SWAP),
      state.step,
      networks.swap_steps,
      networks.model.cascades,
    )

    def run_swapped(trained, batch):
      params = kernels.merge(trained[0])
      return forward_swapped(networks, params, teacher.params, batch, of_teacher)

    return run_swapped

  def prepare(teacher: Teacher, batch: Batch, hints, draws):
    if hints is None:
      hints = teach(networks, teacher.params, batch)
      if networks.rounds_hints:
        hints = hint_lib.rounded(hints)
    hints = jax.tree.map(_in_float32, hints)
    return objective.Inputs(batch, hints, jnp.asarray(teacher.error_range), draws)

  def prepare_training(state: TrainState, teacher, slices, acquisition):
    draws = draw(state.step, len(slices.target), several)
    following = parallel.next_image if several else augment.next_image
    batch = vary(networks, slices, acquisition, draws, following)
    return prepare(teacher, batch, slices.hints, draws)

  def evaluate(trained, terms, inputs, over_devices, run=run_alone):
    gather = parallel.gather if over_devices else None
    outputs, features = run(trained, inputs.batch)
    return outputs, objective.evaluate(terms, trained[1], features, inputs, gather)

  def train(state: TrainState, teacher: Teacher, slices: Slices, acquisition):
    inputs = prepare_training(state, teacher, slices, acquisition)
    run = chain(state, teacher)

    def loss(trained):
      _, values = evaluate(trained, weighted, inputs, several, run)
      total = objective.total(weighted, values)
      return total, {**values, "loss": total}

    trained = (state.params, state.auxiliary)
    gradient, values = average(jax.grad(loss, has_aux=True)(trained))
    updates, optimiser_state = optimiser.update(gradient, state.optimiser, trained)
    params, auxiliary = optax.apply_updates(trained, updates)
    values = {**values, "gradient_norm": _norm(gradient[0])}
    return TrainState(params, auxiliary, optimiser_state, state.step + 1), values

  def train_many(state: TrainState, teacher, slices: Slices, rows, acquisition):
    names: list[str] = []

    def one(state, rows):
      state, values = train(state, teacher, take(slices, rows), acquisition)
      names[:] = values
      return state, jnp.stack(list(values.values()))  # stored by one kernel on a GPU

    state = state._replace(optimiser=stacked.stack(state.optimiser))
    state, found = jax.lax.scan(one, state, rows)
    values = dict(zip(names, found.T, strict=True))
    trained = state.params, state.auxiliary
    optimiser_state = stacked.unstack(state.optimiser, trained)
    return state._replace(optimiser=optimiser_state), values

  def validate_on(over_devices, state: TrainState, teacher, slices, acquisition):
    batch = complete(slices, acquisition)
    draws = draw(0, len(slices.target), over_devices)
    inputs = prepare(teacher, batch, slices.hints, draws)
    outputs, values = evaluate(state.validated, networks.terms, inputs, over_devices)
    image, target = outputs.image, batch.target
    errors = {"mse": pixel.mse(image, target), "l1": pixel.l1(image, target)}
    return errors, {**values, "loss": objective.total(networks.terms, values)}

  def validate(*arguments):
    errors, values = validate_on(several, *arguments)
    return errors, average(values)

  def validate_rest(*arguments):
    return validate_on(False, *arguments)

  def validate_many(state: TrainState, teacher, slices: Slices, rows, acquisition):
    def one(rows):
      return validate_rest(state, teacher, take(slices, rows), acquisition)

    return jax.lax.map(one, rows)

  def audit(state: TrainState, teacher: Teacher, slices: Slices, acquisition):
    inputs = prepare_training(state, teacher, slices, acquisition)
    run = chain(state, teacher)
    params, auxiliary = state.params, kernels.merge(state.auxiliary)
    if not networks.shrink_steps:
      params = kernels.merge(params)

    def values_of(params):
      trained = (params, auxiliary)
      outputs, values = evaluate(trained, weighted, inputs, several, run)
      terms = {term.name: term.weight * values[term.name] for term in weighted}
      return terms, pixel.l1(outputs.image, inputs.batch.target).mean()

    (values, _), pull = jax.vjp(values_of, params)
    nothing = jax.tree.map(jnp.zeros_like, (values, jnp.zeros(())))
    reference = average(pull((nothing[0], jnp.ones(())))[0])

    def measure(name):
      gradient = average(pull(({**nothing[0], name: jnp.ones(())}, nothing[1]))[0])
      norm = optax.tree.norm(gradient)
      scale = norm * optax.tree.norm(reference)
      product = optax.tree.vdot(gradient, reference)
      cosine = jnp.where(scale > 0, product / jnp.where(scale > 0, scale, 1), 0)
      return {"value": average(values[name]), "norm": norm, "cosine": cosine}

    return {name: measure(name) for name in values}

  compiled = functools.partial(parallel.compile_step, devices=devices)
  of_state = (False, False, True, False)
  return Steps(
    train=compiled(train, split=of_state, out_axes=None, donate=(0,)),
    train_many=jax.jit(train_many, donate_argnums=0),
    validate=compiled(validate, split=of_state, out_axes=(0, None)),
    validate_many=jax.jit(validate_many),
    validate_rest=jax.jit(validate_rest),
    teach=compiled(teach_slices, split=(False, True, False), out_axes=0),
    audit=compiled(audit, split=of_state, out_axes=None),
  )


def _norm(gradient):
  """The norm of all leaves as one vector: a GPU then updates many leaves at once."""
  leaves = [jnp.ravel(leaf) for leaf in jax.tree.leaves(gradient)]
  return jnp.linalg.norm(jnp.concatenate(leaves))


def _in_float32(hint):
  """Converts hints that were kept in half precision."""
  return hint.astype(jnp.float32) if hint.dtype == jnp.float16 else hint


def make_predict(
  model: nn.Module,
  devices: Sequence[jax.Device],
  layers: Sequence[str] = (),
) -> Callable:
  """Compiles (params, slices, acquisition) -> (zero-filled, reconstruction, layers).

  All results have a leading batch axis. Where the slices have k-space, only the shape
  of their target is used.

  Args:
    model: the network.
    devices: the devices that share a batch.
    layers: names of features to return.
  """

  def predict(params, slices: Slices, acquisition: Acquisition):
    batch = complete(slices, acquisition)
    outputs, features = feature_lib.apply(
      model, params, batch.zero_filled, batch.measurement
    )
    picked = feature_lib.pick(features, layers, "layers")
    return batch.zero_filled, outputs.image, picked

  return parallel.compile_step(predict, devices, split=(False, True, False), out_axes=0)

"""A stage's weights and terms, traced on shapes before any training."""

import functools
from typing import Any

import jax
import numpy as np

from kdmri_jax.errors import ArgumentError, arguments_of
from kdmri_jax.models import contract
from kdmri_jax.training import objective
from kdmri_jax.training.stage_networks import (
  Networks,
  as_trained,
  complete,
  forward,
  init_auxiliary,
  init_branches,
  vary,
)
from kdmri_jax.training.terms import Term
from kdmri_jax.types import Acquisition, Batch, Slices


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
  batch = jax.eval_shape(complete, slices, acquisition)
  measured = batch.zero_filled, batch.measurement
  params, *taught = (
    model and contract.variable_shapes(model, *measured)["params"]
    for model in (networks.model, *networks.teachers)
  )
  initial = functools.partial(init_auxiliary, networks)
  key = jax.random.key(0)
  auxiliary = jax.eval_shape(initial, params, taught, slices, acquisition, key)
  shapes = params, auxiliary, taught
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
  draws = np.zeros(len(slices.target), np.uint32)
  batch = jax.eval_shape(functools.partial(vary, networks), slices, acquisition, draws)

  def layers(model):
    if model is None:  # given outputs
      return batch.given
    return contract.feature_shapes(model, batch.zero_filled, batch.measurement)

  def with_branches(batch):
    measured = batch.zero_filled, batch.measurement
    params = networks.model.init(key, *measured)["params"]
    auxiliary = init_branches(networks, params, batch, key)
    return forward(networks, params, auxiliary, batch)[1]

  student = layers(networks.model)
  if networks.branches:
    student = jax.eval_shape(with_branches, batch)
  teachers = [layers(teacher) for teacher in networks.teachers] or [{}]
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

"""What a stage computes with: networks, terms, and how they are put together."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from kdmri_jax.distillation import combine
from kdmri_jax.errors import UserError
from kdmri_jax.models import features as feature_lib
from kdmri_jax.physics import undersample
from kdmri_jax.types import Array, Batch, Measurement, Outputs, Slices


class Teacher(NamedTuple):
  """The frozen teacher, as the steps are given it.

  Attributes:
    params: its weights; None in a stage without a teacher.
    error_range: largest minus smallest mean squared error over the training set.
  """

  params: Any = None
  error_range: Any = 0.0


class Networks(NamedTuple):
  """What a stage computes with.

  Attributes:
    model: the network that is trained.
    terms: from `combine.adapt`.
    teacher: the frozen network, or None.
    branches: `models.branches.Branches` for SFT-KD-Recon, or None.
    seed: seed of the random draws of methods that make some.
  """

  model: nn.Module
  terms: Sequence[combine.Term]
  teacher: nn.Module | None = None
  branches: nn.Module | None = None
  seed: int = 0


def complete(slices: Slices, mask: Array) -> Batch:
  """Adds the measurement: the data's own k-space where there is one, else simulated."""
  if slices.kspace is None:
    zero_filled, measurement = undersample.undersample(slices.target, mask)
  else:
    zero_filled, measurement = slices.zero_filled, Measurement(slices.kspace, mask)
  return Batch(slices.target, zero_filled, measurement)


def forward(
  networks: Networks, params, guides, batch: Batch
) -> tuple[Outputs, dict[str, Array]]:
  """Runs the network that is trained; its features include SFT's branches."""
  outputs, features = _run(networks.model, params, batch)
  if networks.branches:
    variables = {"params": guides["branches"]}
    features |= networks.branches.apply(variables, features, batch.measurement)
  return outputs, features


def teach(networks: Networks, teacher_params, batch: Batch) -> dict[str, Any] | None:
  """The frozen teacher's hints; None without a teacher."""
  if networks.teacher is None:
    return None
  _, features = _run(networks.teacher, teacher_params, batch)
  return combine.represent_teacher(networks.terms, features, batch.target)


def _run(model: nn.Module, params, batch: Batch):
  return feature_lib.apply(model, params, batch.zero_filled, batch.measurement)


def init_guides(
  networks: Networks,
  params: Any,
  teacher_params: Any,
  slices: Slices,
  mask: Array,
  key: Array,
) -> dict[str, Any]:
  """Initial weights of what is trained along with the network.

  Args:
    networks: what the stage computes with; terms as from `fit_terms`.
    params: the network's weights.
    teacher_params: the frozen teacher's, or None.
    slices: any slice, for the shapes.
    mask: [H, W].
    key: random key.

  Returns:
    Term name -> weights, and "branches" -> those of SFT's branches.
  """
  if networks.branches is None and not any(t.owns_weights for t in networks.terms):
    return {}
  return _init_guides(networks, params, teacher_params, complete(slices, mask), key)


@functools.partial(jax.jit, static_argnums=0)
def _init_guides(networks: Networks, params, teacher_params, batch: Batch, key):
  guides = _init_branches(networks, params, batch, key)
  _, features = forward(networks, params, guides, batch)
  hints = teach(networks, teacher_params, batch)
  return guides | combine.make_guides(
    networks.terms, features, batch, hints, _no_extras(batch), key
  )


def _init_branches(networks: Networks, params, batch: Batch, key):
  if networks.branches is None:
    return {}
  _, features = _run(networks.model, params, batch)
  variables = networks.branches.init(key, features, batch.measurement)
  return {"branches": variables["params"]}


def _no_extras(batch: Batch) -> combine.Extras:
  return combine.Extras(jnp.zeros(()), jnp.zeros(len(batch.target), jnp.uint32))


def fit_terms(
  networks: Networks, slices: Slices, mask: Array, stage: str
) -> tuple[combine.Term, ...]:
  """Fits the terms to the networks' layers and traces every one of them.

  Args:
    networks: their terms as from `combine.resolve`.
    slices: any slice, for the shapes.
    mask: [H, W].
    stage: name of the stage, for the log and for errors.

  Raises:
    UserError: layers are missing, or a term cannot be computed from them; names it.
  """
  key = jax.random.key(0)
  batch = complete(slices, mask)

  def init(model, batch):
    return model.init(key, batch.zero_filled, batch.measurement)["params"]

  def layers(batch):
    params = init(networks.model, batch)
    guides = _init_branches(networks, params, batch, key)
    student = forward(networks, params, guides, batch)[1]
    if networks.teacher is None:
      return student, {}
    return student, _run(networks.teacher, init(networks.teacher, batch), batch)[1]

  student, teacher = jax.eval_shape(layers, batch)
  terms = combine.adapt(networks.terms, student, teacher, stage)
  for term in terms:
    try:
      jax.eval_shape(functools.partial(_compute, (term,)), student, teacher, batch)
    except (AssertionError, TypeError, ValueError) as error:
      raise UserError(
        f"config.stages.{stage}.terms.{term.name}",
        f"layers that it cannot compare, guided {', '.join(term.guided)}"
        + (f", hint {', '.join(term.hint)}" if term.hint else "")
        + f" ({error})",
        "layers of matching number and shapes",
        "Correct the names of the layers.",
      ) from error
  return terms


def _compute(terms: Sequence[combine.Term], student, teacher, batch: Batch):
  """The terms' values from features of both networks, {} without a teacher."""
  hints = combine.represent_teacher(terms, teacher, batch.target) if teacher else None
  extras = _no_extras(batch)
  guides = combine.make_guides(terms, student, batch, hints, extras, jax.random.key(0))
  return combine.evaluate(terms, guides, student, batch, hints, extras)

"""The weighted terms of a stage: summed for the gradient, reported one by one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from kdmri_jax.config import StageConfig, TermConfig
from kdmri_jax.distillation import METHODS
from kdmri_jax.distillation.method import Method
from kdmri_jax.errors import UserError
from kdmri_jax.losses import PIXEL_LOSSES
from kdmri_jax.models import features as feature_lib
from kdmri_jax.types import Array

Features = Mapping[str, Array]


class Term(NamedTuple):
  """One term, resolved from its config.

  Attributes:
    name: its key in the config.
    weight: factor in the sum.
    compare: a pixel loss, or a distillation `Method`.
    guided: the student's layers it reads; () for a pixel loss.
    hint: the teacher's layers it reads; () for a pixel loss.
  """

  name: str
  weight: float
  compare: Callable[..., Array] | Method
  guided: tuple[str, ...] = ()
  hint: tuple[str, ...] = ()

  @property
  def needs_teacher(self) -> bool:
    return isinstance(self.compare, Method)

  @property
  def couples_batch(self) -> bool:
    return self.needs_teacher and self.compare.couples_batch


def resolve(stage: StageConfig, where: str) -> tuple[Term, ...]:
  """Looks a stage's terms up in the registries.

  Args:
    stage: the stage.
    where: its key, for errors, such as "config.stages.kd".

  Raises:
    UserError: an unknown loss or variant, layers missing or superfluous, or a
      distillation method in a stage without a teacher.
  """
  return tuple(
    _resolve(name, term, bool(stage.teacher), f"{where}.terms.{name}")
    for name, term in stage.terms.items()
  )


def _resolve(name: str, term: TermConfig, has_teacher: bool, where: str) -> Term:
  if term.loss in PIXEL_LOSSES:
    if term.variant or term.guided:
      raise UserError(
        where, "a variant or layers", f"none: {term.loss} has none", "Remove them."
      )
    return Term(name, term.weight, PIXEL_LOSSES[term.loss])
  if term.loss not in METHODS:
    known = ", ".join([*PIXEL_LOSSES, *METHODS])
    raise UserError(
      f"{where}.loss", f"{term.loss!r}", f"one of {known}", "Correct the name."
    )
  variants = METHODS[term.loss]
  if term.variant not in variants:
    raise UserError(
      f"{where}.variant",
      f"{term.variant!r}",
      f"one of {', '.join(variants)}",
      "Correct it.",
    )
  if not has_teacher:
    raise UserError(
      where,
      f"the distillation method {term.loss} in a stage without a teacher",
      "a teacher",
      "Set the stage's `teacher` to an earlier stage.",
    )
  if not term.guided:
    raise UserError(where, "no layers", "guided and hint layers", "Name them.")
  return Term(name, term.weight, variants[term.variant], term.guided, term.hint)


def represent_teacher(terms: Sequence[Term], features: Features) -> dict[str, Any]:
  """The teacher's half of every distillation term; the gradient stops here.

  Returns:
    Term name -> pytree of arrays [B, ...].

  Raises:
    UserError: the teacher has no such layer.
  """
  hints = {
    term.name: term.compare.represent(
      feature_lib.pick(features, term.hint, f"terms.{term.name}.hint")
    )
    for term in terms
    if term.needs_teacher
  }
  return jax.lax.stop_gradient(hints)


def evaluate(
  terms: Sequence[Term],
  features: Features,
  target: Array,
  hints: Mapping[str, Any],
  gather: Callable[[Any], Any] | None = None,
) -> dict[str, Array]:
  """The value of every term, without its weight.

  Args:
    terms: from `resolve`.
    features: the student's features; "image" is its reconstruction.
    target: fully sampled images [B, H, W, C].
    hints: from `represent_teacher`.
    gather: joins a pytree of per-device arrays [B, ...] along the batch; None on
      one device.

  Returns:
    Term name -> scalar.
  """

  def value(term: Term) -> Array:
    if not term.needs_teacher:
      return term.compare(features["image"], target).mean()
    picked = feature_lib.pick(features, term.guided, f"terms.{term.name}.guided")
    student, teacher = term.compare.represent(picked), hints[term.name]
    if term.couples_batch and gather:
      student, teacher = gather(student), gather(teacher)
    return term.compare.distance(student, teacher)

  return {term.name: value(term) for term in terms}


def total(terms: Sequence[Term], values: Mapping[str, Array]) -> Array:
  """The weighted sum that a stage minimises; terms of weight 0 are left out."""
  return sum(term.weight * values[term.name] for term in terms if term.weight)

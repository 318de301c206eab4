"""The terms of a stage's loss, found by the names in the config."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from kdmri_jax.config import StageConfig, TermConfig
from kdmri_jax.distillation import METHODS
from kdmri_jax.distillation.adapter import AdaptedMethod
from kdmri_jax.distillation.method import Method
from kdmri_jax.errors import ArgumentError, UserError, arguments_of
from kdmri_jax.lookup import find, unknown
from kdmri_jax.losses import PERCEPTUAL, PIXEL_LOSSES
from kdmri_jax.types import Array

OWN = "own:"  # prefix of a hint that is a layer of the trained network itself


class Term(NamedTuple):
  """One term, resolved from its config.

  Attributes:
    name: its key in the config.
    weight: factor in the sum.
    compare: a pixel loss against the target, or a distillation method, adapted.
    guided: the trained network's layers it reads.
    hint: the teacher's layers it reads, or with `own` the trained network's; () for
      a pixel loss.
    own: whether the hints come from the trained network itself, with gradient.
  """

  name: str
  weight: float
  compare: Callable[..., Array] | AdaptedMethod
  guided: tuple[str, ...]
  hint: tuple[str, ...] = ()
  own: bool = False

  @property
  def is_distillation(self) -> bool:
    return isinstance(self.compare, AdaptedMethod)

  @property
  def needs_teacher(self) -> bool:
    return self.is_distillation and not self.own

  @property
  def owns_weights(self) -> bool:
    return self.is_distillation and self.compare.owns_weights

  @property
  def relates_images(self) -> bool:
    """Whether the images of a batch are compared with each other."""
    method = self.compare.method if self.is_distillation else None
    return bool(method) and method.couples_batch and not method.reads_image

  @property
  def uses_context(self) -> bool:
    return self.is_distillation and self.compare.method.uses_context


def resolve(
  stage: StageConfig, losses: Mapping[str, Callable] = PIXEL_LOSSES
) -> tuple[Term, ...]:
  """Finds the losses and methods of a stage's terms.

  Args:
    stage: the stage.
    losses: the registered losses against the target.

  Raises:
    ArgumentError: an unknown loss or variant, layers missing or superfluous, or a
      distillation method in a stage without a teacher.
  """
  found = []
  for name, term in stage.terms.items():
    with arguments_of(f"terms.{name}."):
      found.append(_resolve(name, term, losses, bool(stage.all_teachers)))
  return tuple(found)


def find_loss(
  name: str, variant: str, losses: Mapping[str, Callable] = PIXEL_LOSSES
) -> Callable | Method:
  """A loss against the target, or one variant of a distillation method.

  Args:
    name: a registered name, or `package.module:name` of a function (prediction, target)
      -> [B], a `Method`, or a dict of these by variant.
    variant: the variant of a method; "" where there are none.
    losses: the registered losses against the target.

  Raises:
    ArgumentError: `loss` or `variant` is unknown, or of another type.
  """
  known = {**losses, PERCEPTUAL: losses.get(PERCEPTUAL), **METHODS}
  part = find("loss", name, known)
  if part is None:
    expected = "torchvision's weights of VGG-11, 13, 16 or 19"
    remedy = "Download them, such as vgg16-397923af.pth."
    raise UserError(
      "config.vgg_weights", f"no file, for the loss {name}", expected, remedy
    )
  variants = part if isinstance(part, Mapping) else {"": part}
  if variant not in variants:
    if variants is not part:
      found = f"{variant!r}, a variant of {name}, which has none"
      raise ArgumentError("variant", found, "''")
    raise unknown("variant", variant, variants)
  part = variants[variant]
  if isinstance(part, Method) or (callable(part) and not isinstance(part, type)):
    return part
  found = f"{name!r}, of type {type(part).__name__}"
  expected = "a function (prediction, target) -> [B], a Method, or a dict of Methods"
  raise ArgumentError("loss", found, f"{expected} by variant")


def _resolve(name: str, term: TermConfig, losses, has_teacher: bool) -> Term:
  part = find_loss(term.loss, term.variant, losses)
  if not isinstance(part, Method):
    if term.hint:
      expected = f"(), because {term.loss} compares with the target, not with a teacher"
      raise ArgumentError("hint", f"the layers {term.hint}", expected)
    return Term(name, term.weight, part, term.guided or ("image",))
  own = {hint.startswith(OWN) for hint in term.hint}
  if len(own) == 2:
    found = f"layers of the teacher and of the network itself, {term.hint}"
    raise ArgumentError("hint", found, "either", "Write two terms.")
  if own != {True} and not has_teacher:
    found = f"the distillation method {term.loss} in a stage without a teacher"
    raise ArgumentError("loss", found, "an earlier stage as the stage's `teacher`")
  if not term.guided:
    raise ArgumentError("guided", "no layers", "guided and hint layers")
  hint = tuple(layer.removeprefix(OWN) for layer in term.hint)
  adapted = AdaptedMethod(part)
  return Term(name, term.weight, adapted, term.guided, hint, own == {True})

"""A registered method as a function of arrays."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from kdmri_jax.distillation.adapter import AdaptedMethod, fit
from kdmri_jax.distillation.method import Context, Method
from kdmri_jax.errors import ArgumentError
from kdmri_jax.image_layout import described, to_batch
from kdmri_jax.lookup import unknown
from kdmri_jax.types import Array

Layers = ArrayLike | Sequence[ArrayLike]


class Distance:
  """A method, called with the layers of student and teacher.

  It computes the same value as a term of a stage. Layers of different sizes are pooled
  to the smaller one. Where channels must agree and do not, the student's layer goes
  through a 1x1 convolution. The teacher's layers get no gradient.

  Attributes:
    name: name of the method.
    variants: its variants by name; the first is the default.
  """

  def __init__(self, name: str, variants: Mapping[str, Method]) -> None:
    self.name = name
    self.variants = dict(variants)
    lines = (f"  {key}: {_summary(m.distance)}" for key, m in self.variants.items())
    self.__doc__ = "\n".join([f"The distillation method {name}. Variants:", "", *lines])

  def __call__(
    self,
    student: Layers,
    teacher: Layers,
    *,
    variant: str | None = None,
    params: Any = None,
    **context: Any,
  ) -> Array:
    """The value of a batch.

    Args:
      student: its guided layers, float [B, H, W, C], one or a sequence of them; for
        methods that compare images also an image [H, W] or images [S, H, W].
      teacher: its hint layers, likewise.
      variant: name of the variant; None for the first.
      params: weights from `init`, for methods with weights and where channels differ.
      **context: further inputs of the variant, fields of `method.Context`, such as
        `target=` or `measurement=`.

    Returns:
      Scalar, mean over the images.

    Raises:
      ArgumentError: an unknown variant, layers that do not match, missing weights, or
        an unknown or missing field of the context.
    """
    adapted, arguments = self._prepare(student, teacher, variant, context)
    if params is None:
      if adapted.owns_weights:
        expected = f"the weights that {self.name}.init(student, teacher) gives"
        raise ArgumentError("params", "none", expected)
      params = {}
    return self._run(lambda: adapted.apply({"params": params}, *arguments), arguments)

  def init(
    self,
    student: Layers,
    teacher: Layers,
    *,
    variant: str | None = None,
    seed: int = 0,
    **context: Any,
  ) -> dict[str, Any]:
    """Random weights of the method for these layers.

    Args:
      student, teacher, variant, context: as for the call.
      seed: the same seed draws the same weights.

    Returns:
      A pytree of arrays; {} where there are no weights.

    Raises:
      ArgumentError: as for the call.
    """
    adapted, arguments = self._prepare(student, teacher, variant, context)
    key = jax.random.key(seed)
    return self._run(lambda: adapted.init(key, *arguments), arguments).get("params", {})

  def _prepare(self, student, teacher, variant, context) -> tuple[AdaptedMethod, tuple]:
    """The adapted method, and its arguments."""
    variant = variant or next(iter(self.variants))
    if variant not in self.variants:
      raise unknown("variant", variant, self.variants)
    method = self.variants[variant]
    student = _layers(student, "student", method)
    teacher = _layers(teacher, "teacher", method)
    shared = method.reads_image and len(teacher) == 1  # by several images
    if len(student) != len(teacher) and not shared:
      found = f"{len(teacher)} layers"
      raise ArgumentError("teacher", found, f"{len(student)}, as of the student")
    images = len(student[0])
    if any(len(layer) != images for layer in (*student, *teacher)):
      sizes = ", ".join(str(len(layer)) for layer in teacher)
      raise ArgumentError("teacher", f"batches of {sizes}", f"{images} images each")
    given = {"draws": jnp.arange(images, dtype=jnp.uint32)}
    if method.reads_image:
      given["image"] = student[0]
    for name, value in context.items():
      if name not in Context._fields:
        raise unknown("argument", name, Context._fields)
      batched = name in ("target", "image")
      given[name] = to_batch(value, name)[0] if batched else value
    adapted = AdaptedMethod(method, *fit(method, student, teacher))
    hints = adapted.represent_teacher(teacher)
    return adapted, (student, hints, SimpleNamespace(**given))

  def _run(self, compute, arguments):
    """Computes the value; names a missing field of the context."""
    try:
      return compute()
    except AttributeError as error:
      if error.obj is not arguments[-1]:
        raise
      expected = f"a value, which this variant of {self.name} needs"
      raise ArgumentError(error.name, "none", expected) from error


def _layers(given: Layers, argument: str, method: Method) -> tuple[Array, ...]:
  layers = tuple(given) if isinstance(given, list | tuple) else (given,)
  if method.reads_image and layers:
    return tuple(to_batch(layer, argument)[0] for layer in layers)
  wrong = [layer for layer in layers if np.ndim(layer) != 4]
  if wrong or not layers:
    found = described(wrong[0]) if wrong else "no layer"
    raise ArgumentError(argument, found, "layers, float [B, H, W, C]")
  return tuple(map(jnp.asarray, layers))


def _summary(distance: Any) -> str:
  return (distance.__doc__ or "").partition("\n")[0]

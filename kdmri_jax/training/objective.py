"""The weighted terms of a stage: summed for the gradient, reported one by one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from absl import logging

from kdmri_jax.distillation.adapter import AdaptedMethod, fit
from kdmri_jax.distillation.method import Context
from kdmri_jax.errors import ArgumentError
from kdmri_jax.losses import pixel
from kdmri_jax.models import features as feature_lib
from kdmri_jax.training.terms import Term
from kdmri_jax.types import Array, Batch

Features = Mapping[str, Array]

TEACHER_ERROR = "teacher_error"


def adapt(
  terms: Sequence[Term], student: Features, teacher: Features, stage: str
) -> tuple[Term, ...]:
  """Adds adapters or pooling to terms where two networks' layers differ; logs it.

  Args:
    terms: from `resolve`.
    student: the student's features, or their shapes as from `jax.eval_shape`.
    teacher: likewise.
    stage: name for the log.

  Raises:
    ArgumentError: a network sows no such layer, a method of images is given another
      layer, or a term of weight 0 would need trained weights; names the term and its
      part, such as `kd.guided`.
  """

  def adapted(term: Term) -> Term:
    guided = _pick(term, "guided", student)
    if not term.is_distillation:
      return term
    source = student if term.own else teacher
    hint = _pick(term, "hint", source)
    if term.compare.method.reads_image:
      _require_images(term, "guided", student)
      _require_images(term, "hint", source)
    channels, sizes = fit(term.compare.method, guided, hint)
    if channels:
      logging.info(
        "%s, %s: a trained 1x1 convolution maps the student's layers to %s channels",
        *(stage, term.name, channels),
      )
    if sizes:
      logging.info("%s, %s: the larger maps are pooled to %s", stage, term.name, sizes)
    term = term._replace(compare=AdaptedMethod(term.compare.method, channels, sizes))
    if term.owns_weights and not term.weight:
      found = "0, for a term with its own weights, which would not be trained"
      raise ArgumentError(f"{term.name}.weight", found, "more than 0, or no such term")
    return term

  return tuple(map(adapted, terms))


def _pick(term: Term, part: str, features: Features) -> tuple[Array, ...]:
  """The "guided" or "hint" layers of a term."""
  return feature_lib.pick(features, getattr(term, part), f"{term.name}.{part}")


def _require_images(term: Term, part: str, features: Features) -> None:
  image = features["image"]
  for name in getattr(term, part):
    if features[name].shape != image.shape:
      raise ArgumentError(
        f"{term.name}.{part}",
        f"{name}, maps of {features[name].shape[1:]} (rows, columns, channels)",
        f"an image of {image.shape[1:]}, which this method compares",
        "Name the layer 'image', or choose a method for feature maps.",
      )


def represent_teachers(
  terms: Sequence[Term], teachers: Sequence[Features], target: Array
) -> dict[str, Any]:
  """The teachers' part of every distillation term; the gradient stops here.

  Several teachers give the mean of their images, and of layers that are no images the
  mean of their representations.

  Args:
    terms: from `adapt`.
    teachers: the features of each; "image" is its reconstruction.
    target: fully sampled images [B, H, W, C].

  Returns:
    Term name -> pytree of arrays [B, ...]; "teacher_error" -> [B].

  Raises:
    ArgumentError: a teacher has no such layer.
  """

  def represented(term: Term):
    layers = [_pick(term, "hint", features) for features in teachers]
    if reads_images(term, teachers[0]):
      return term.compare.represent_teacher(_mean(layers))
    return _mean([term.compare.represent_teacher(each) for each in layers])

  hints = {term.name: represented(term) for term in terms if term.needs_teacher}
  error = pixel.mse(_mean([features["image"] for features in teachers]), target)
  return {**hints, TEACHER_ERROR: jax.lax.stop_gradient(error)}


def _mean(trees: Sequence[Any]) -> Any:
  if len(trees) == 1:
    return trees[0]
  return jax.tree.map(lambda *each: sum(each) / len(each), *trees)


def reads_images(term: Term, teacher: Features) -> bool:
  """Whether all hint layers of a term are images, such as "consistency_1"."""
  return all(teacher[name].shape == teacher["image"].shape for name in term.hint)


def require_mean(term: Term, teacher: Features) -> None:
  """Refuses a term that cannot compare with the mean of several teachers.

  Raises:
    ArgumentError: names the term's hint.
  """
  if not reads_images(term, teacher) and not term.compare.method.unordered:
    found = f"{', '.join(term.hint)} of several teachers, which have no mean here"
    expected = (
      "images, such as 'image', or attention_transfer, of which there is a mean"
    )
    remedy = "Remove the term, or name one teacher."
    raise ArgumentError(f"{term.name}.hint", found, expected, remedy)


class Inputs(NamedTuple):
  """The inputs of the terms, besides the features of the trained network.

  Attributes:
    batch: target and measurement of the images.
    hints: from `represent_teachers`; None in a stage without a teacher.
    error_range: see `Context`.
    draws: see `Context`.
  """

  batch: Batch
  hints: Mapping[str, Any] | None
  error_range: Array
  draws: Array


def undrawn(batch: Batch, hints: Mapping[str, Any] | None = None) -> Inputs:
  """The inputs where draws and range do not matter; both are 0."""
  draws = jnp.zeros(len(batch.target), jnp.uint32)
  return Inputs(batch, hints, jnp.zeros(()), draws)


def make_auxiliary(
  terms: Sequence[Term], features: Features, inputs: Inputs, key: Array
) -> dict[str, Any]:
  """Initial weights of the terms that have weights: term name -> pytree.

  Arguments as `evaluate`, and a random key.
  """
  auxiliary = {}
  for k, term in enumerate(terms):
    if term.is_distillation:
      arguments = _arguments(term, features, inputs)
      variables = term.compare.init(jax.random.fold_in(key, k), *arguments)
      if variables.get("params"):
        auxiliary[term.name] = variables["params"]
  return auxiliary


def evaluate(
  terms: Sequence[Term],
  auxiliary: Mapping[str, Any],
  features: Features,
  inputs: Inputs,
  gather: Callable[[Any], Any] | None = None,
) -> dict[str, Array]:
  """The value of every term, without its weight.

  Args:
    terms: from `adapt`.
    auxiliary: weights of the terms, from `make_auxiliary`.
    features: the trained network's features; "image" is its reconstruction.
    inputs: of the same images.
    gather: joins a pytree of per-device arrays [B, ...] along the batch; None on
      one device.

  Returns:
    Term name -> scalar.

  Raises:
    ArgumentError: a `loss` does not return one number per image, or a method does not
      return a scalar.
  """

  def value(term: Term) -> Array:
    if not term.is_distillation:
      loss: Callable[..., Array] = term.compare
      target = inputs.batch.target
      values = [loss(layer, target) for layer in _pick(term, "guided", features)]
      for each in values:
        _require_shape(each, target.shape[:1], "[B], a number for each image")
      return sum(each.mean() for each in values) / len(values)
    params = {"params": auxiliary[term.name]} if term.name in auxiliary else {}
    arguments = _arguments(term, features, inputs)
    distance = term.compare.apply(params, *arguments, gather)
    _require_shape(distance, (), "a scalar, the mean over the images")
    return distance

  return {term.name: value(term) for term in terms}


def _require_shape(value, shape: tuple[int, ...], expected: str) -> None:
  """Raises ArgumentError where the user's loss returns another shape."""
  found = getattr(value, "shape", type(value).__name__)
  if found != shape or not jnp.issubdtype(value.dtype, jnp.floating):
    kind = getattr(value, "dtype", "")
    raise ArgumentError("loss", f"one that returns {kind}{found}", expected)


def _arguments(
  term: Term, features: Features, inputs: Inputs
) -> tuple[tuple[Array, ...], Any, Context]:
  batch, hints, error_range, draws = inputs
  if term.own:
    hint = term.compare.represent_own(_pick(term, "hint", features))
  else:
    hint = hints[term.name]
  error = hints[TEACHER_ERROR] if hints else jnp.zeros(len(batch.target))
  image, measurement = features["image"], batch.measurement
  context = Context(batch.target, image, measurement, error, error_range, draws)
  return _pick(term, "guided", features), hint, context


def total(terms: Sequence[Term], values: Mapping[str, Array]) -> Array:
  """The weighted sum that a stage minimises; terms of weight 0 are omitted."""
  return sum(term.weight * values[term.name] for term in terms if term.weight)

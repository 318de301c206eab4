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
    guided = feature_lib.pick(student, term.guided, f"{term.name}.guided")
    if not term.is_distillation:
      return term
    source = student if term.own else teacher
    hint = feature_lib.pick(source, term.hint, f"{term.name}.hint")
    if term.compare.method.reads_image:
      _require_images(guided, term.guided, student["image"], f"{term.name}.guided")
      _require_images(hint, term.hint, source["image"], f"{term.name}.hint")
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
      raise ArgumentError(
        f"{term.name}.weight",
        "0, for a term with its own weights, which would not be trained",
        "a weight above 0",
        "Raise it, or remove the term.",
      )
    return term

  return tuple(map(adapted, terms))


def _require_images(layers, names: Sequence[str], image, argument: str) -> None:
  for layer, name in zip(layers, names, strict=True):
    if layer.shape != image.shape:
      raise ArgumentError(
        argument,
        f"{name}, maps of {layer.shape[1:]} (rows, columns, channels)",
        f"an image of {image.shape[1:]}, which this method compares",
        "Name the layer 'image', or choose a method for feature maps.",
      )


def represent_teacher(
  terms: Sequence[Term], features: Features, target: Array
) -> dict[str, Any]:
  """The teacher's part of every distillation term; the gradient stops here.

  Args:
    terms: from `adapt`.
    features: the teacher's features; "image" is its reconstruction.
    target: fully sampled images [B, H, W, C].

  Returns:
    Term name -> pytree of arrays [B, ...]; "teacher_error" -> [B].

  Raises:
    ArgumentError: the teacher has no such layer.
  """
  hints = {
    term.name: term.compare.represent_teacher(
      feature_lib.pick(features, term.hint, f"{term.name}.hint")
    )
    for term in terms
    if term.needs_teacher
  }
  error = pixel.mse(features["image"], target)
  return {**hints, TEACHER_ERROR: jax.lax.stop_gradient(error)}


class Extras(NamedTuple):
  """Further inputs of a term, besides features, images and hints.

  Attributes:
    error_range: see `Context`.
    draws: see `Context`.
  """

  error_range: Array
  draws: Array


def make_auxiliary(
  terms: Sequence[Term],
  features: Features,
  batch: Batch,
  hints: Any,
  extras: Any,
  key: Array,
) -> dict[str, Any]:
  """Initial weights of the terms that have weights: term name -> pytree.

  Arguments as `evaluate`, and a random key.
  """
  auxiliary = {}
  for k, term in enumerate(terms):
    if term.is_distillation:
      arguments = _arguments(term, features, batch, hints, extras)
      variables = term.compare.init(jax.random.fold_in(key, k), *arguments)
      if variables.get("params"):
        auxiliary[term.name] = variables["params"]
  return auxiliary


def evaluate(
  terms: Sequence[Term],
  auxiliary: Mapping[str, Any],
  features: Features,
  batch: Batch,
  hints: Mapping[str, Any] | None,
  extras: Extras,
  gather: Callable[[Any], Any] | None = None,
) -> dict[str, Array]:
  """The value of every term, without its weight.

  Args:
    terms: from `adapt`.
    auxiliary: weights of the terms, from `make_auxiliary`.
    features: the trained network's features; "image" is its reconstruction.
    batch: target and measurement of the same images.
    hints: from `represent_teacher`; None in a stage without a teacher.
    extras: range of the teacher's error, and random seeds.
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
      layers = feature_lib.pick(features, term.guided, f"{term.name}.guided")
      loss: Callable[..., Array] = term.compare
      values = [loss(layer, batch.target) for layer in layers]
      for each in values:
        _require_shape(each, batch.target.shape[:1], "[B], a number for each image")
      return sum(each.mean() for each in values) / len(values)
    params = {"params": auxiliary[term.name]} if term.name in auxiliary else {}
    arguments = _arguments(term, features, batch, hints, extras)
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
  term: Term, features, batch, hints, extras
) -> tuple[tuple[Array, ...], Any, Context]:
  picked = feature_lib.pick(features, term.guided, f"{term.name}.guided")
  if term.own:
    own = feature_lib.pick(features, term.hint, f"{term.name}.hint")
    hint = term.compare.represent_own(own)
  else:
    hint = hints[term.name]
  images = len(batch.target)
  error = hints[TEACHER_ERROR] if hints else jnp.zeros(images)
  context = Context(
    batch.target,
    features["image"],
    batch.measurement,
    error,
    extras.error_range,
    extras.draws,
  )
  return picked, hint, context


def total(terms: Sequence[Term], values: Mapping[str, Array]) -> Array:
  """The weighted sum that a stage minimises; terms of weight 0 are omitted."""
  return sum(term.weight * values[term.name] for term in terms if term.weight)

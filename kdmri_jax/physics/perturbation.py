"""Small perturbations of measured k-space: random ones, and the worst for a network.

Their size is the l2 norm over the samples of an image, relative to that of the measured
k-space. Thermal noise has such a norm, too: with a mask of n samples and a deviation s
of real and imaginary part it is s sqrt(2 n).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from kdmri_jax.physics.sampled import is_sampled
from kdmri_jax.types import Array, CoilMeasurement, Measurement

Measured = Measurement | CoilMeasurement

_FIELD = 103  # separates these random draws from others of the same number
_STEP = 0.5  # of the largest norm


def random(measurement: Measured, size: float, draws: Array) -> Array:
  """A random perturbation with a given norm, uniform over all directions.

  Args:
    measurement: k-space, complex64 [B, H, W], or of several coils [B, C, H, W], and
      its mask.
    size: norm of the perturbation over the norm of the k-space, above 0.
    draws: a number for each image, uint32 [B]; the same number draws the same
      direction.

  Returns:
    The perturbation, in the shape of the k-space; 0 where it was not sampled.
  """
  shape = measurement.kspace.shape[1:]

  def one(draw):
    key = jax.random.fold_in(jax.random.key(draw), _FIELD)
    real, imaginary = jax.random.normal(key, (2, *shape), jnp.float32)
    return jax.lax.complex(real, imaginary)

  direction = _direction(_sampled(measurement, jax.vmap(one)(draws)))
  return _radius(measurement, size) * direction


def worst_case(
  error: Callable[[Array], Array],
  measurement: Measured,
  size: float,
  draws: Array,
  *,
  steps: int,
) -> Array:
  """The perturbation within a norm that raises the error of a reconstruction most.

  Projected gradient ascent from the perturbation of `random`: each step goes half of
  the largest norm along the gradient, then back into the ball. Of all perturbations on
  the way the one with the largest error is returned, so its error is at least that of
  the random one. The search may end in a local maximum: a worse one may exist.

  Args:
    error: perturbed k-space -> the error of each image, [B], which depends on its own
      k-space alone.
    measurement: k-space, complex64 [B, H, W], or of several coils [B, C, H, W], and
      its mask.
    size: largest norm of the perturbation over the norm of the k-space, above 0.
    draws: a number for each image, uint32 [B], see `random`.
    steps: number of gradient steps.

  Returns:
    The perturbation, in the shape of the k-space; 0 where it was not sampled.

  Source: Antun et al., PNAS 117 (2020); as here in k-space, relative to its norm and
    beside noise of that norm: Genzel et al., IEEE TPAMI 45 (2023), arXiv 2011.04268.
  """
  radius = _radius(measurement, size)

  def value(shift):
    found = error(measurement.kspace + shift)
    return found.sum(), found

  def keep(worst, largest, shift, found):
    higher = found > largest
    each = higher.reshape(-1, *[1] * (shift.ndim - 1))
    return jnp.where(each, shift, worst), jnp.where(higher, found, largest)

  def climb(state, _):
    shift, worst, largest = state
    (_, found), gradient = jax.value_and_grad(value, has_aux=True)(shift)
    worst, largest = keep(worst, largest, shift, found)
    # JAX's gradient of a real function of complex numbers is conjugated
    ascent = _direction(_sampled(measurement, gradient.conj()))
    shift = shift + _STEP * radius * ascent
    shift = shift * jnp.minimum(1, radius / jnp.maximum(_norm(shift), 1e-30))
    return (shift, worst, largest), None

  start = random(measurement, size, draws)
  state = start, start, jnp.full(len(start), -jnp.inf)
  (shift, worst, largest), _ = jax.lax.scan(climb, state, length=steps)
  return keep(worst, largest, shift, value(shift)[1])[0]


def _sampled(measurement: Measured, array: Array) -> Array:
  sampled = is_sampled(measurement.mask)
  if sampled.ndim == 3 and array.ndim == 4:
    sampled = sampled[:, None]  # the same for all coils
  return jnp.where(sampled, array, 0)


def _radius(measurement: Measured, size: float) -> Array:
  return size * _norm(_sampled(measurement, measurement.kspace))


def _direction(array: Array) -> Array:
  """Each image divided by its norm; zeros stay."""
  norm = _norm(array)
  return array / jnp.where(norm > 0, norm, 1)


def _norm(array: Array) -> Array:
  """The norm of each image, of the rank of the array."""
  axes = tuple(range(1, array.ndim))
  return jnp.sqrt(jnp.sum(jnp.square(jnp.abs(array)), axis=axes, keepdims=True))

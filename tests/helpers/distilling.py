"""Layers, contexts and values of distillation methods that their tests share."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from helpers.marks import slow

from kdmri_jax.distillation import METHODS
from kdmri_jax.distillation.adapter import AdaptedMethod
from kdmri_jax.distillation.method import Context
from kdmri_jax.types import Measurement

SHAPE = (3, 9, 7, 4)
# Every method by its default variant, the first; the other variants are slow cases.
ALL = [
  slow(name, variant) if k else (name, variant)
  for name, variants in METHODS.items()
  for k, variant in enumerate(variants)
]


def activations(seed, shape=SHAPE):
  """A layer after ReLU, as a network would sow it."""
  rng = np.random.default_rng(seed)
  return jnp.asarray(np.maximum(rng.normal(size=shape), 0), jnp.float32)


def layers(seed, channels=4, count=2, batch=3, size=(7, 6)):
  return tuple(activations(seed, (count, batch, *size, channels)))


def make_context(target, mask=None, error=None, error_range=1.0):
  kspace = jnp.zeros(target.shape[:3], jnp.complex64)
  mask = jnp.zeros(target.shape[1:3]) if mask is None else jnp.asarray(mask)
  draws = jnp.arange(len(target), dtype=jnp.uint32)
  error = jnp.zeros(len(target)) if error is None else jnp.asarray(error)
  measurement = Measurement(kspace, mask)
  return Context(target, target, measurement, error, jnp.float32(error_range), draws)


def start(name, student, teacher, variant="paper"):
  """An adapted method, its weights moved so that no bias is 0, and a context."""
  adapted = AdaptedMethod(METHODS[name][variant])
  context = make_context(jnp.zeros((*student[0].shape[:3], 1)))
  params = jax.jit(adapted.init)(jax.random.key(1), student, teacher, context)["params"]
  rng = np.random.default_rng(4)

  def move(x):
    return x + jnp.asarray(rng.normal(0, 0.2, x.shape).astype(np.float32))

  return adapted, jax.tree.map(move, params), context


@functools.partial(jax.jit, static_argnums=(0, 1))
def value(name, variant, student, teacher, *context):
  """Of a method without weights, on tuples of layers."""
  method = METHODS[name][variant]
  return method.distance(method.represent(student), method.represent(teacher), *context)


def double(tree):
  return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


def close(measured, expected, rel=1e-5):
  np.testing.assert_allclose(measured, expected, rtol=rel, atol=0)


def pooled(image, size):
  """Means over windows from floor(k L/n) to ceil((k+1) L/n), in float64."""
  (height, width), (rows, columns) = image.shape[:2], size
  result = np.zeros((rows, columns, image.shape[2]))
  for i, j in np.ndindex(rows, columns):
    window = image[
      i * height // rows : -(-(i + 1) * height // rows),
      j * width // columns : -(-(j + 1) * width // columns),
    ]
    result[i, j] = double(window).mean((0, 1))
  return result

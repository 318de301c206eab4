"""Convolutions by their definition, for float64, and by interpreted kernels."""

import functools
import types

import jax
import numpy as np

from kdmri_jax.ops import pallas
from kdmri_jax.ops.convolution import convolve


def places(x, size):
  """For each place of the kernel, its index and the image shifted to it."""
  half, (_, height, width, _) = size // 2, x.shape
  padded = np.pad(x, ((0, 0), (half, half), (half, half), (0, 0)))
  for i, j in np.ndindex(size, size):
    yield (i, j), padded[:, i : i + height, j : j + width]


def by_definition(x, kernel):
  """Sum over kernel places of shifted products, zeros outside the image."""
  return sum(shifted @ kernel[place] for place, shifted in places(x, len(kernel)))


def gradients_by_definition(x, kernel, cotangent):
  for_x = sum(
    shifted @ kernel[len(kernel) - 1 - i, len(kernel) - 1 - j].T
    for (i, j), shifted in places(cotangent, len(kernel))
  )
  for_kernel = np.empty_like(kernel)
  for place, shifted in places(x, len(kernel)):
    for_kernel[place] = np.einsum("bhwi,bhwo->io", shifted, cotangent)
  return for_x, for_kernel


def draw(seed, batch, shape, size, inputs, outputs):
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(*batch, 2, *shape, inputs))
  kernel = rng.normal(size=(*batch, size, size, inputs, outputs))
  cotangent = rng.normal(size=(*batch, 2, *shape, outputs))
  return x, kernel, cotangent


def value_and_gradients(x, kernel, cotangent):
  value, pull = jax.vjp(convolve, x, kernel)
  return value, *pull(cotangent)


def assert_close(found, expected, atol=2e-6):
  """Compares with a tolerance relative to the largest value of each."""
  for f, e in zip(found, expected, strict=True):
    largest, shape = np.abs(e).max(), np.shape(e)
    np.testing.assert_allclose(f, e, rtol=0, atol=atol * largest, err_msg=f"{shape}")


def draw_layer(seed, shape, inputs, outputs):
  """float32 arguments of `layer`; no cotangent where rounding decides on the ReLU."""
  x, kernel, cotangent = map(np.float32, draw(seed, (), shape, 3, inputs, outputs))
  bias = np.random.default_rng(seed).normal(size=outputs).astype(np.float32)
  value = by_definition(np.float64(x), np.float64(kernel)) + bias
  return x, kernel, np.where(np.abs(value) > 1e-3, cotangent, 0), bias


def layer_by_definition(x, kernel, cotangent, bias):
  """Value and gradients of ReLU(x * kernel + bias)."""
  value = by_definition(x, kernel) + bias
  cotangent = cotangent * (value > 0)
  gradients = gradients_by_definition(x, kernel, cotangent)
  return np.maximum(value, 0), *gradients, cotangent.sum((0, 1, 2))


def layer(relu, x, kernel, cotangent, bias):
  value, pull = jax.vjp(functools.partial(convolve, relu=relu), x, kernel, bias)
  return value, *pull(cotangent)


def interpreted():
  """`ops.pallas`, computed operation by operation on any device."""
  own = {
    name: functools.partial(getattr(pallas, name), interpret=True)
    for name in ("convolve", "gradient")
  }
  return types.SimpleNamespace(**own, knows=pallas.knows)

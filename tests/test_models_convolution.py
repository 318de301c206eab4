"""The convolution and its gradients, against their definition in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdmri_jax.models import convolution
from kdmri_jax.models.convolution import convolve

CHANNELS = [(1, 3), (3, 1), (1, 1), (2, 4), (3, 2), (3, 4)]  # few to many, many to few


@pytest.fixture(autouse=True)
def no_image_is_small(monkeypatch):
  """Small images, which are quick to test, take the forms of large ones."""
  monkeypatch.setattr(convolution, "_SMALL", 0)


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


def assert_close(found, expected):
  for f, e in zip(found, expected, strict=True):
    np.testing.assert_allclose(f, e, rtol=0, atol=2e-6 * np.abs(e).max())


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize(("inputs", "outputs"), CHANNELS)
def test_value_and_gradients(size, inputs, outputs):
  drawn = draw(size, (), (7, 6), size, inputs, outputs)
  found = jax.jit(value_and_gradients)(*map(np.float32, drawn))
  expected = by_definition(*drawn[:2]), *gradients_by_definition(*drawn)
  assert_close(found, expected)


@pytest.mark.parametrize("size", [3, 7])
@pytest.mark.parametrize(
  "shape", [(1, 1), (2, 1), (1, 2), (29, 130), (30, 130), (3, 4000)]
)
def test_gradients_of_images_of_any_size(shape, size):
  drawn = draw(0, (), shape, size, 3, 4)
  found = jax.jit(value_and_gradients)(*map(np.float32, drawn))
  assert_close(found[1:], gradients_by_definition(*drawn))


@pytest.mark.parametrize(("inputs", "outputs"), CHANNELS)
def test_several_networks_at_once(inputs, outputs):
  drawn = draw(0, (3,), (9, 60), 3, inputs, outputs)
  found = jax.jit(jax.vmap(value_and_gradients))(*map(np.float32, drawn))
  for each in range(3):
    one = [part[each] for part in drawn]
    expected = by_definition(*one[:2]), *gradients_by_definition(*one)
    assert_close([part[each] for part in found], expected)


def test_forward_mode_is_refused():
  x, kernel = jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 1))
  with pytest.raises(TypeError, match="forward-mode"):
    jax.jvp(convolve, (x, kernel), (x, kernel))

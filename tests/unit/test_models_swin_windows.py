"""Attention within SwinIR's windows, and images that are not a multiple of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import published_networks
from helpers.marks import slow

from kdmri_jax import interop
from kdmri_jax.models import swin

pytestmark = pytest.mark.usefixtures("quick_compilation")

TINY = dict(depths=(2,), features=4, heads=2, window=4)


def tiny(**changes):
  """Parameters of a small SwinIR, and the function (parameters, image) -> image."""
  state = published_networks.draw(published_networks.swinir_shapes(**TINY | changes))
  model, variables = interop.from_swinir_state_dict(state)
  run = jax.jit(lambda params, image: model.apply({"params": params}, image).image)
  return variables["params"], run


def random_image(*shape, seed=0):
  return np.random.default_rng(seed).random(shape, np.float32)


def test_attention_in_a_window_by_its_definition():
  """Loops over heads, queries and keys, in float64."""
  window, heads, channels = 3, 2, 4
  pixels, depth = window**2, channels // heads
  rng = np.random.default_rng(0)
  x = rng.standard_normal((2, 3, pixels, channels))
  mask = np.where(rng.random((3, pixels, pixels)) < 0.3, -100.0, 0.0)
  mask[:, np.arange(pixels), np.arange(pixels)] = 0
  module = swin.WindowAttention(heads)
  shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.asarray(x, jnp.float32))
  params = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape), shapes["params"])
  qkv = x @ params["qkv"]["kernel"] + params["qkv"]["bias"]
  joined = np.zeros_like(x)
  for b, w, h in np.ndindex(2, 3, heads):
    part = slice(h * depth, (h + 1) * depth)
    q, k, v = (qkv[b, w, :, i * channels :][:, part] for i in range(3))
    for i in range(pixels):
      weights = np.zeros(pixels)
      for j in range(pixels):
        dy, dx = i // window - j // window, i % window - j % window
        row = (dy + window - 1) * (2 * window - 1) + dx + window - 1
        bias = params["bias_table"][row, h]
        weights[j] = np.exp(q[i] @ k[j] / np.sqrt(depth) + bias + mask[w, i, j])
      joined[b, w, i, part] = weights @ v / weights.sum()
  expected = joined @ params["projection"]["kernel"] + params["projection"]["bias"]
  single = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), (params, x, mask))
  values = jax.jit(module.apply)({"params": single[0]}, *single[1:])
  np.testing.assert_allclose(values, expected, rtol=0, atol=1e-5)


def test_windows_come_apart_and_together():
  image = random_image(2, 8, 12, 3)
  windows = swin.partition(jnp.asarray(image), 4)
  assert windows.shape == (2, 6, 16, 3)
  corner = image[1, 4:8, 8:12].reshape(16, 3)
  np.testing.assert_array_equal(windows[1, 5], corner)
  np.testing.assert_array_equal(swin.merge(windows, 8, 12), image)


def test_windows_and_shifted_windows_reach_as_far_as_they_should():
  """Which rows of the output change when a row of the input does."""
  layer = swin.SwinLayer(heads=2, window=4, mlp_ratio=2)
  params = tiny()[0]["rstb_1"]["layer_1"]
  run = jax.jit(lambda x, mask: layer.apply({"params": params}, x, mask))
  before = random_image(1, 12, 8, 4)

  def changed(row, mask):
    after = before.copy()
    after[:, row] += 1 + random_image(8, 4, seed=1)
    change = np.abs(np.asarray(run(after, mask) - run(before, mask)))
    return set(np.flatnonzero(change.max(axis=(0, 2, 3))))

  mask = swin.shift_mask(12, 8, 4)
  assert changed(3, None) == {0, 1, 2, 3}
  assert changed(3, mask) == {2, 3, 4, 5}
  # The cyclic shift brings both borders into one window; the mask keeps them apart.
  assert changed(11, mask) == {10, 11}
  assert changed(0, mask) == {0, 1}
  assert changed(11, 0 * mask) == {0, 1, 10, 11}


@pytest.mark.parametrize(
  ("size", "upsampler"), [((10, 13), "pixelshuffledirect"), ((3, 5), ""), ((1, 2), "")]
)
def test_the_image_is_reflected_and_the_result_cropped(size, upsampler):
  scale = 3 if upsampler else 1
  params, run = tiny(upsampler=upsampler, scale=scale)
  image = random_image(1, *size, 1)
  margins = [(0, -n % 4) for n in size]
  padded = np.pad(image, [(0, 0), *margins, (0, 0)], mode="reflect")
  whole = run(params, padded)
  assert whole.shape[1:3] == tuple(scale * n for n in padded.shape[1:3])
  rows, columns = (scale * n for n in size)
  result = run(params, image)
  np.testing.assert_allclose(result, whole[:, :rows, :columns], atol=2e-6)


@pytest.mark.parametrize(
  ("rows", "columns"), [(85, 90), slow(150, 150), slow(240, 240), slow(181, 217)]
)
def test_images_of_any_size(rows, columns):
  params, run = tiny(window=8)
  image = random_image(1, rows, columns, 1)
  result = run(params, image)
  assert result.shape == image.shape
  # A pixel sees what is at most two windows and five convolutions away: the corner
  # does not know how large the image is.
  part = run(params, image[:, :64, :64])
  np.testing.assert_allclose(result[:, :40, :40], part[:, :40, :40], atol=5e-6)
  assert np.isfinite(result).all()


def test_without_its_last_convolution_it_is_the_identity():
  params, run = tiny()
  params["conv_last"] = jax.tree.map(jnp.zeros_like, params["conv_last"])
  image = random_image(2, 6, 9, 1)
  np.testing.assert_array_equal(run(params, image), image)


@pytest.mark.slow
def test_gradients_reach_every_weight():
  params, run = tiny()
  image = random_image(1, 6, 9, 1)
  gradients = jax.jit(jax.grad(lambda p: jnp.square(run(p, image)).mean()))(params)
  for path, gradient in jax.tree.leaves_with_path(gradients):
    assert np.isfinite(gradient).all(), path
    assert np.abs(gradient).max() > 0, path

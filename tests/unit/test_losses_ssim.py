"""The SSIM loss against scikit-image, and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.marks import slow
from jax.test_util import check_grads
from skimage.metrics import structural_similarity

from kdmri_jax import losses
from kdmri_jax.errors import ArgumentError

pytestmark = pytest.mark.usefixtures("quick_compilation")

ssim = jax.jit(losses.ssim)


def pair(channels=1, size=(24, 19)):
  rng = np.random.default_rng(0)
  target = rng.random((3, *size, channels)).astype(np.float32)
  noise = np.array([0.01, 0.1, 1.0], np.float32)[:, None, None, None]
  return target + noise * rng.normal(size=target.shape).astype(np.float32), target


def expected(prediction, target):
  value = structural_similarity(
    prediction, target, win_size=7, data_range=1, use_sample_covariance=True
  )
  return 1 - value


@pytest.mark.parametrize("channels", [1, 2])
def test_follows_scikit_image(channels):
  prediction, target = pair(channels)
  p, t = (
    x[..., 0] if channels == 1 else np.linalg.norm(x, axis=-1)
    for x in (prediction.astype(np.float64), target.astype(np.float64))
  )
  wanted = [expected(*images) for images in zip(p, t, strict=True)]
  np.testing.assert_allclose(ssim(prediction, target), wanted, atol=2e-5)


def test_bounds():
  _, target = pair()
  np.testing.assert_allclose(ssim(target, target), 0, atol=1e-6)
  assert (ssim(1 - target, target) > 0.5).all()
  nothing = jnp.zeros_like(target)
  np.testing.assert_allclose(ssim(nothing, nothing), 0, atol=1e-6)
  assert (ssim(target, nothing) > 0.9).all()


def test_a_negative_copy_is_not_similar():
  """The plain formula would call it as similar as the target itself."""
  _, target = pair()
  assert (ssim(-target, target) > 0.9).all()


@pytest.mark.parametrize("channels", [1, slow(2)])
def test_gradients(channels):
  prediction, target = pair(channels, size=(9, 8))
  gradient = jax.jit(jax.grad(lambda p, t: ssim(p, t).sum()))
  found = gradient(prediction, target)
  with jax.enable_x64():
    p, t = (jnp.asarray(x, jnp.float64) for x in (prediction, target))
    check_grads(lambda p: ssim(p, t).sum(), (p,), 1, ["rev"])
    wanted = np.asarray(gradient(p, t))
  np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())
  for p, t in (
    (target, target),
    (jnp.zeros_like(target), target),
    (prediction, jnp.zeros_like(target)),
  ):
    assert np.isfinite(gradient(p, t)).all()


def test_an_image_smaller_than_the_window_is_refused():
  with pytest.raises(ArgumentError, match="at least 7x7"):
    ssim(jnp.ones((1, 6, 9, 1)), jnp.ones((1, 6, 9, 1)))

"""The public functions of arrays: masks, losses, metrics, statistics, models, plots."""

import subprocess
import sys

import jax
import numpy as np
import pytest
import scipy.stats
from helpers.arrays import IMAGES, SHAPE, plain
from matplotlib.figure import Figure
from skimage.metrics import structural_similarity

import kdmri_jax as kd
from kdmri_jax.errors import ArgumentError

pytestmark = pytest.mark.usefixtures("quick_compilation")

rng = np.random.default_rng(0)


def test_masks():
  mask = kd.masks.cartesian((256, 256), acceleration=4)
  lines = mask[:, 0] == 1
  assert mask.shape == (256, 256)
  assert lines.sum() == 64
  assert (mask == lines[:, None]).all()  # axis 0
  assert np.fft.fftshift(lines)[123:133].all()  # ten centre lines
  np.testing.assert_array_equal(mask, kd.masks.cartesian((256, 256), 4, 10, 0, 0))
  assert kd.masks.gaussian2d((40, 50), 4, 5).sum() == 500
  assert kd.masks.central((40, 50), 2).sum() == 20 * 25
  with pytest.raises(ArgumentError, match=r"^centre_lines: found 10; expected 1 to 6"):
    kd.masks.cartesian((24, 24))


@pytest.mark.parametrize("array", [np.asarray, jax.numpy.asarray])
@pytest.mark.parametrize("kind", IMAGES)
def test_undersample(kind, array):
  image = IMAGES[kind]
  mask = kd.masks.cartesian(SHAPE, 3, 4)
  kspace = mask * np.fft.fft2(plain(image), norm="ortho")
  expected = np.fft.ifft2(kspace, norm="ortho")
  expected = expected if np.iscomplexobj(plain(image)) else np.abs(expected)
  zero_filled, measured = kd.undersample(array(image), mask)
  assert zero_filled.shape == image.shape
  np.testing.assert_allclose(plain(np.asarray(zero_filled)), expected, atol=1e-6)
  np.testing.assert_allclose(measured.kspace, kspace, atol=3e-6)
  np.testing.assert_array_equal(measured.mask, mask)


def test_undersample_with_a_mask_for_each_slice():
  masks = np.stack([kd.masks.cartesian(SHAPE, 3, 4, seed=seed) for seed in range(3)])
  together, _ = kd.undersample(IMAGES["volume"], masks)
  alone, _ = kd.undersample(IMAGES["volume"][2], masks[2])
  np.testing.assert_allclose(together[2], alone, atol=1e-6)


@pytest.mark.parametrize(
  ("image", "mask", "where"),
  [
    (np.ones(5), np.ones((5, 5)), "image"),
    (np.ones((2, 5, 4, 3)), np.ones((5, 4)), "image"),
    (np.ones((2, 5, 4, 1), complex), np.ones((5, 4)), "image"),
    (np.ones((5, 4)), np.ones((4, 5)), "mask"),
    (np.ones((5, 4)), np.ones((1, 5, 4)), "mask"),
    (np.ones((3, 5, 4)), np.ones((2, 5, 4)), "mask"),
  ],
)
def test_undersample_says_what_does_not_fit(image, mask, where):
  with pytest.raises(ArgumentError) as caught:
    kd.undersample(image, mask)
  assert caught.value.where == where


@pytest.mark.parametrize("kind", IMAGES)
def test_losses(kind):
  target = IMAGES[kind]
  x = target + rng.normal(0, 0.1, target.shape)
  a, b = plain(x), plain(target)
  parts = np.stack([(a - b).real, (a - b).imag] if np.iscomplexobj(a) else [a - b])
  images = (0, -2, -1)
  np.testing.assert_allclose(kd.losses.l1(x, target), abs(parts).mean(images), 2e-5)
  np.testing.assert_allclose(
    kd.losses.mse(x, target), np.square(parts).mean(images), 2e-5
  )
  found = kd.losses.ssim(x, target)
  assert found.shape == target.shape[: target.ndim - 2][:1]
  if np.iscomplexobj(a):
    a, b = abs(a), abs(b)
  pairs = zip(a.reshape(-1, *SHAPE), b.reshape(-1, *SHAPE), strict=True)
  ssim = [structural_similarity(p, t, win_size=7, data_range=1) for p, t in pairs]
  np.testing.assert_allclose(np.ravel(found), 1 - np.array(ssim), atol=2e-5)


def test_losses_say_what_does_not_fit():
  x = IMAGES["volume"]
  for other in (x[0], x[:2], x.astype(complex), x[..., None]):
    with pytest.raises(ArgumentError, match=r"^target: found .* as the prediction"):
      kd.losses.l1(x, other)
  with pytest.raises(ArgumentError, match=r"at least 7x7"):
    kd.losses.ssim(x[:, :6], x[:, :6])


def test_metrics():
  target = rng.random(SHAPE)
  x = target + rng.normal(0, 0.05, SHAPE)
  psnr = 10 * np.log10(target.max() ** 2 / np.square(x - target).mean())
  assert kd.metrics.psnr(target, x) == pytest.approx(psnr)
  found = kd.metrics.all(target, x, protocol="kdmri")
  assert found["psnr"] == pytest.approx(psnr)
  ssim = structural_similarity(target, x, win_size=7, data_range=target.max())
  assert kd.metrics.ssim(target, x) == pytest.approx(ssim)


def test_statistics():
  a = rng.normal(1, 1, 24)
  b = rng.normal(0, 1, 24)
  subjects = np.repeat(np.arange(8), 3)
  difference = (a - b).reshape(8, 3).mean(1)
  result = kd.statistics.compare(a, b, subjects)
  assert result.mean_difference == pytest.approx(difference.mean())
  assert result.wilcoxon_p == pytest.approx(scipy.stats.wilcoxon(difference).pvalue)
  assert result.n == 8


def test_models():
  target = IMAGES["batch"].astype(np.float32)
  image, measured = kd.undersample(target, kd.masks.cartesian(SHAPE, 3, 4))
  model = kd.models.DCCNN(cascades=2, convolutions=3, features=4)
  params = jax.jit(model.init)(jax.random.key(0), image, measured)["params"]
  outputs, layers = kd.models.features.apply(model, params, image, measured)
  assert layers["cascade_2/activation_2"].shape == (3, *SHAPE, 4)
  np.testing.assert_array_equal(layers["image"], outputs.image)


def test_plot():
  target = IMAGES["volume"]
  student = target + rng.normal(0, 0.05, target.shape)
  figure = kd.plot.comparison({"target": target, "student": student}, index=2)
  assert isinstance(figure, Figure)
  mse = np.square(student[2] - target[2]).mean()
  psnr = 10 * np.log10(target.max() ** 2 / mse)
  texts = [text.get_text() for text in figure.texts]
  assert any(text.startswith(f"{psnr:.2f} dB / ") for text in texts)
  assert {"target", "student", "residue"} <= {*texts}
  shown = [image.get_array() for axes in figure.axes for image in axes.images]
  residue = abs(student[2] - target[2])
  assert any(np.array_equal(each, student[2]) for each in shown)
  assert any(np.array_equal(each, residue) for each in shown)
  assert figure._repr_png_().startswith(b"\x89PNG")
  for images, words in [
    ({"student": student}, "^images: found student; expected 'target'"),
    ({"target": target, "x": target[0]}, r"^images\['x'\]: found shape"),
  ]:
    with pytest.raises(ArgumentError, match=words):
      kd.plot.comparison(images)
  with pytest.raises(ArgumentError, match=r"^index: found 3; expected 0 to 2"):
    kd.plot.comparison({"target": target, "student": student}, index=3)


def test_plot_leaves_the_backend_to_the_user():
  code = (
    "import sys, matplotlib, numpy as np, kdmri_jax as kd\n"
    "x, before = np.random.rand(16, 16), matplotlib.rcParams._get('backend')\n"
    "kd.plot.comparison({'target': x, 'y': x})\n"
    "assert 'matplotlib.pyplot' not in sys.modules\n"
    "assert before == matplotlib.rcParams._get('backend')"
  )
  assert subprocess.run([sys.executable, "-c", code]).returncode == 0

"""Point-spread functions against the DFT by its definition, and their side lobes."""

import itertools

import numpy as np
import pytest

from kdmri_jax.config import MaskConfig
from kdmri_jax.physics.masks import describe, recipes
from kdmri_jax.physics.masks.point_spread import point_spread, side_lobe

RNG = np.random.default_rng(0)
POINTS = (RNG.random((9, 12)) < 0.4).astype(np.uint8)
POINTS[0, 0] = 1


def waves(size):
  """[pixel, frequency] of the inverse DFT, not normalised."""
  return np.exp(2j * np.pi * np.outer(np.arange(size), np.arange(size)) / size)


@pytest.mark.parametrize("mask", [POINTS, recipes.cartesian((12, 15), 2, 3, 1, 0)])
def test_point_spread_is_the_inverse_dft_of_the_mask(mask):
  spread = point_spread(mask)
  expected = np.abs(waves(mask.shape[0]) @ mask @ waves(mask.shape[1])) / mask.sum()
  np.testing.assert_allclose(spread, expected, atol=1e-12)
  assert spread[0, 0] == pytest.approx(1) == spread.max()


def test_point_spread_is_what_a_zero_filled_point_looks_like():
  image = np.zeros(POINTS.shape)
  image[4, 5] = 3
  zero_filled = np.abs(np.fft.ifft2(POINTS * np.fft.fft2(image)))
  expected = np.roll(point_spread(POINTS), (4, 5), (0, 1)) * zero_filled[4, 5]
  np.testing.assert_allclose(zero_filled, expected, atol=1e-12)


def lobes(spread):
  """(height, distance) of all local maxima but the peak, pixel by pixel."""
  rows, columns = spread.shape
  near = [step for step in itertools.product((-1, 0, 1), repeat=2) if any(step)]
  for i, j in itertools.product(range(rows), range(columns)):
    around = [spread[(i + a) % rows, (j + b) % columns] for a, b in near]
    if (i, j) != (0, 0) and spread[i, j] >= max(around):
      yield spread[i, j], np.hypot(min(i, rows - i), min(j, columns - j))


def test_side_lobe_is_the_highest_local_maximum():
  spread = point_spread(POINTS)
  height, distance = max(lobes(spread))
  lobe = side_lobe(spread)
  assert lobe == pytest.approx((height, distance))
  assert lobe.decibels == pytest.approx(20 * np.log10(height))


def test_slopes_of_the_main_lobe_do_not_count():
  """The low frequencies alone: a Dirichlet kernel, whose side lobe is known."""
  mask = np.zeros((64, 3), np.uint8)
  mask[np.arange(-4, 5)] = 1
  x = np.arange(1, 33)
  kernel = np.abs(np.sin(9 * np.pi * x / 64) / np.sin(np.pi * x / 64)) / 9
  spread = point_spread(mask)
  np.testing.assert_allclose(spread[1:33, 0], kernel, atol=1e-12)
  assert kernel[0] > 0.9
  first = 10  # between the zeros at 64 / 9 and 128 / 9
  assert side_lobe(spread) == pytest.approx((kernel[first - 1], first))


def test_regular_undersampling_ghosts_at_the_distance_of_its_period():
  mask = np.zeros((5, 64), np.uint8)
  mask[:, ::4] = 1
  lobe = side_lobe(point_spread(mask))
  assert lobe == pytest.approx((1, 16))
  assert lobe.decibels == pytest.approx(0, abs=1e-9)


def test_full_sampling_has_no_side_lobe():
  assert side_lobe(point_spread(np.ones((12, 15)))) is None


@pytest.mark.parametrize("shape", [(8, 10), (9, 7)])
def test_mirrored(shape):
  mask = RNG.random(shape) < 0.4
  frequencies = [tuple(k) for k in np.argwhere(mask)]
  mirrors = [tuple(-np.array(k) % shape) for k in frequencies]
  expected = np.mean([mirror in frequencies for mirror in mirrors])
  assert 0 < expected < 1
  assert describe.mirrored(mask) == pytest.approx(expected)
  both = mask.copy()
  both[tuple(np.transpose(mirrors))] = True
  assert describe.mirrored(both) == 1


def test_shared_lines():
  mask, other = np.zeros((2, 10, 6), np.uint8)
  mask[[0, 1, 2, 9]], other[[0, 1, 5, 6, 7]] = 1, 1
  assert describe.shared(mask, other) == pytest.approx(2 / 4)
  assert describe.shared(other, mask) == pytest.approx(2 / 5)


@pytest.mark.parametrize("kind", sorted({*recipes.KINDS} - {"full"}))
def test_is_centred(kind):
  mask = recipes.build(MaskConfig(kind, 4.0, 5, 0, 0, ""), (64, 47))
  assert not describe.is_centred(mask)
  assert describe.is_centred(np.fft.fftshift(mask))
  assert not describe.is_centred(np.ones((8, 8), np.uint8))


@pytest.mark.data
@pytest.mark.parametrize(("tag", "lobe"), [("4x", 2), ("5x", 6), ("8x", 75)])
def test_published_masks_are_not_symmetric(real_data, tag, lobe):
  mask = np.load(real_data / "us_masks" / "cardiac" / f"mask_{tag}.npy")
  assert describe.mirrored(mask) < 0.6
  spread = point_spread(mask)
  assert side_lobe(spread) == pytest.approx(max(lobes(spread)), rel=1e-9)
  assert side_lobe(spread).distance == lobe

"""Visual information fidelity against windows written out, and known values."""

import numpy as np
import pytest

from kdmri_jax import metrics
from kdmri_jax.errors import ArgumentError
from kdmri_jax.metrics import OPTIONAL, quality


def picture():
  y, x = np.mgrid[:64, :56]
  inside = (x - 28) ** 2 + (y - 32) ** 2 < 24**2
  target = (np.sin(x / 3) * np.cos(y / 5) + 1) / 2 * inside
  return target, 0.05 * np.sin(1.7 * x + 0.9 * y**2)


def windows(image, size):
  """All windows [H', W', size, size] and the weights of their pixels."""
  side = np.exp(-((np.arange(size) - size // 2) ** 2) / (2 * (size / 5) ** 2))
  weights = np.outer(side, side) / np.outer(side, side).sum()
  return np.lib.stride_tricks.sliding_window_view(image, (size, size)), weights


def fidelity(target, prediction, grey):
  """The definition, window by window."""
  t, p, seen, known = grey * target, grey * prediction, 0.0, 0.0
  for scale in range(4):
    size = 2 ** (4 - scale) + 1
    if scale:
      t, p = (
        np.einsum("hwij,ij->hw", *windows(image, size))[::2, ::2] for image in (t, p)
      )
    (of_t, weights), (of_p, _) = windows(t, size), windows(p, size)
    for a, b in zip(
      of_t.reshape(-1, size, size), of_p.reshape(-1, size, size), strict=True
    ):
      a, b = a - (weights * a).sum(), b - (weights * b).sum()
      variance, both = (weights * a * a).sum(), (weights * a * b).sum()
      if variance < 1e-9:
        continue
      known += np.log(1 + variance / 2)
      if both > 0:
        gain = both / variance
        rest = (weights * (b - gain * a) ** 2).sum()
        seen += np.log(1 + gain**2 * variance / (rest + 2))
  return seen / known


def test_vif_is_its_definition():
  target, change = picture()
  found = metrics.vif(target, target + change)
  expected = fidelity(target, target + change, 255 / target.max())
  assert found == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize(
  ("change", "factor", "expected"),
  [
    # By sewar 0.4.10, vifp with sigma_nsq 2, of the images times 255 / max(target).
    (1, 1.0, 0.5821527198242373),
    (0, 1.0, 0.9999999999932488),
    (0, 1.1, 1.0256864485994321),
    (0, -1.0, 0.0),
  ],
)
def test_known_values(change, factor, expected):
  target, by = picture()
  found = metrics.vif(target, factor * target + change * by)
  assert found == pytest.approx(expected, abs=1e-9)


def test_protocols_differ_in_the_range():
  target, change = picture()
  volume = np.stack([target, 0.2 * target, 0 * target])
  noisy = volume + 0.2 * change
  by_slice = quality.measure(volume, noisy, OPTIONAL, ("slice",))["slice"]
  whole = quality.measure(volume, noisy, OPTIONAL, ("kdmri",))["kdmri"]
  own = metrics.vif(5 * volume[1], 5 * noisy[1])
  assert by_slice.slices["vif"][1] == pytest.approx(own)
  assert whole.slices["vif"][1] > own and np.isnan(whole.slices["vif"][2])
  assert by_slice.volume["vif"] == pytest.approx(by_slice.slices["vif"][:2].mean())


def test_vif_is_measured_where_it_is_asked_for():
  assert "vif" in metrics.resolve(("psnr", "vif")) and "vif" not in metrics.METRICS
  with pytest.raises(ArgumentError, match=r"at least 41x41 pixels, the window of VIF"):
    metrics.vif(np.ones((40, 64)), np.ones((40, 64)))

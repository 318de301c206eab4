"""Metrics against golden numbers, float64 transcriptions and their own definitions."""

import numpy as np
import pytest
from scipy.signal import convolve2d

from kdmri_jax.errors import UserError
from kdmri_jax.metrics import image_quality


@pytest.fixture
def pair(golden):
  """Golden target and prediction as (S, H, W), and the golden numbers."""
  numbers = golden("metrics")
  volumes = (numbers[name].transpose(2, 0, 1) for name in ("target", "prediction"))
  return *volumes, numbers


@pytest.fixture
def phantom():
  """A volume with an empty slice, and a noisy version that leaves 0..1."""
  rng = np.random.default_rng(3)
  target = rng.random((4, 20, 24))
  target[2] = 0
  return target, target + 0.3 * rng.standard_normal(target.shape)


def test_kdmri_agrees_with_golden_numbers(pair):
  target, prediction, numbers = pair
  found = image_quality.volume_metrics(target, prediction, "kdmri")
  expected = {
    "mse": numbers["mse"],
    "nmse": numbers["nmse"],
    "psnr": numbers["psnr_volume_max"],
    "ssim": numbers["ssim_volume_max"],
    "hfn": numbers["hfn"],
  }
  for name, value in expected.items():
    np.testing.assert_allclose(found[name], value, rtol=1e-6, err_msg=name)


def test_slice_protocol_agrees_with_golden_numbers(pair):
  target, prediction, numbers = pair
  slices = image_quality.slice_metrics(target, prediction, "slice")
  for name in ("psnr", "ssim"):
    expected = numbers[f"{name}_slice_max"]
    found = [values[name] for values in slices]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    volume = image_quality.volume_metrics(target, prediction, "slice")[name]
    np.testing.assert_allclose(volume, expected.mean(), rtol=1e-6)


def test_fastmri_ssim_is_the_mean_over_slices(pair):
  target, prediction, numbers = pair
  slices = image_quality.slice_metrics(target, prediction, "fastmri")
  mean = np.mean([values["ssim"] for values in slices])
  np.testing.assert_allclose(mean, numbers["ssim_slices_volume_max"], rtol=1e-6)
  volume = image_quality.volume_metrics(target, prediction, "fastmri")
  np.testing.assert_allclose(volume["ssim"], mean, rtol=1e-12)


def test_slice_psnr_uses_the_range_of_its_protocol(phantom):
  target, prediction = phantom
  error = np.mean((target[0] - prediction[0]) ** 2)
  for protocol, peak in (("slice", target[0].max()), ("kdmri", target.max())):
    found = image_quality.slice_metrics(target, prediction, protocol)[0]["psnr"]
    np.testing.assert_allclose(found, 20 * np.log10(peak) - 10 * np.log10(error))


def test_hfen_agrees_with_a_direct_convolution(phantom):
  target, prediction = phantom
  x = np.arange(-7, 8)
  r2 = x[:, None] ** 2 + x**2
  gauss = np.exp(-r2 / 4.5)
  kernel = (r2 - 4.5) / 1.5**4 * gauss / gauss.sum()
  kernel -= kernel.mean()

  def norm(volume):
    filtered = [convolve2d(image, kernel, "same", "symm") for image in volume]
    return np.sqrt(np.sum(np.square(filtered)))

  expected = norm(prediction - target) / norm(target)
  found = image_quality.volume_metrics(target, prediction, "kdmri")["hfen"]
  np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_hfn_clips_a_copy(phantom):
  target, prediction = phantom
  assert prediction.min() < 0 and prediction.max() > 1
  before = target.copy(), prediction.copy()
  clipped = image_quality.volume_metrics(target, np.clip(prediction, 0, 1), "kdmri")
  found = image_quality.volume_metrics(target, prediction, "kdmri")
  assert found["hfn"] == clipped["hfn"]
  assert found["mse"] > clipped["mse"]
  np.testing.assert_array_equal(target, before[0])
  np.testing.assert_array_equal(prediction, before[1])


def test_hfn_is_the_same_for_scaled_data(phantom):
  target, prediction = (volume / phantom[0].max() for volume in phantom)
  found = image_quality.volume_metrics(target, prediction, "kdmri")["hfn"]
  scaled = image_quality.volume_metrics(250 * target, 250 * prediction, "kdmri")["hfn"]
  assert scaled == pytest.approx(found, rel=1e-9)


@pytest.mark.parametrize("protocol", image_quality.PROTOCOLS)
def test_perfect_prediction(phantom, protocol):
  target = np.delete(phantom[0], 2, axis=0)
  found = image_quality.volume_metrics(target, target, protocol)
  assert found == pytest.approx(
    {"psnr": np.inf, "ssim": 1, "mse": 0, "nmse": 0, "hfn": 0, "hfen": 0}
  )


def test_slices_without_signal_are_left_out_of_means(phantom):
  target, prediction = phantom
  kept = [0, 1, 3]
  found = image_quality.volume_metrics(target, prediction, "slice")
  expected = image_quality.volume_metrics(target[kept], prediction[kept], "slice")
  assert found == pytest.approx(expected, rel=1e-12)
  assert image_quality.empty_slices(target) == 1


def test_under_kdmri_an_empty_slice_counts_in_the_volume(phantom):
  target, prediction = phantom
  found = image_quality.volume_metrics(target, prediction, "kdmri")
  np.testing.assert_allclose(found["mse"], np.mean((target - prediction) ** 2))
  assert all(np.isfinite(value) for value in found.values())


@pytest.mark.parametrize("protocol", image_quality.PROTOCOLS)
def test_a_slice_without_signal_has_no_values_of_its_own(phantom, protocol):
  values = image_quality.slice_metrics(*phantom, protocol)
  assert all(np.isnan(value) for value in values[2].values())
  assert all(np.isfinite(value) for i in (0, 1, 3) for value in values[i].values())


def test_a_volume_without_edges_has_no_high_frequency_error():
  target = np.ones((2, 9, 9))
  found = image_quality.volume_metrics(target, 0.5 * target, "kdmri")
  assert np.isnan(found["hfn"]) and np.isnan(found["hfen"])
  assert found["nmse"] == pytest.approx(0.25)


def test_all_metrics_equals_the_single_functions(phantom):
  found = image_quality.all_metrics(*phantom)
  for protocol in image_quality.PROTOCOLS:
    volume, slices = found[protocol]
    assert volume == image_quality.volume_metrics(*phantom, protocol)
    np.testing.assert_equal(slices, image_quality.slice_metrics(*phantom, protocol))


@pytest.mark.parametrize(
  ("change", "words"),
  [
    (lambda t, p: (t[:, :6], p[:, :6]), "7x7"),
    (lambda t, p: (t, p[:, :-1]), "same shape"),
    (lambda t, p: (t[0], p[0]), "slices, rows, columns"),
    (lambda t, p: (t, np.where(p > 1, np.nan, p)), "NaN or infinite"),
    (lambda t, p: (t, p + 0j), "complex"),
    (lambda t, p: (0 * t, p), "without any signal"),
    (lambda t, p: (t[:0], p[:0]), "at least one slice"),
  ],
)
def test_bad_volumes_are_refused(phantom, change, words):
  with pytest.raises(UserError, match=words) as error:
    image_quality.volume_metrics(*change(*phantom), "kdmri", where="subject07.h5")
  assert str(error.value).startswith("subject07.h5: found ")


def test_unknown_protocol_is_refused(phantom):
  with pytest.raises(UserError, match="kdmri, slice, fastmri"):
    image_quality.slice_metrics(*phantom, "paper")

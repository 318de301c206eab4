"""Metrics against golden numbers, float64 transcriptions and their own definitions."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import convolve2d

from kdmri_jax import metrics
from kdmri_jax.config import parse
from kdmri_jax.errors import ArgumentError
from kdmri_jax.experiments import demo
from kdmri_jax.metrics import METRICS, Metric, quality
from kdmri_jax.metrics.squared_error import decibels
from kdmri_jax.protocols import PROTOCOLS


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
  found = metrics.all(target, prediction, "kdmri")
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
  slices = metrics.per_slice(target, prediction, "slice")
  for name in ("psnr", "ssim"):
    expected = numbers[f"{name}_slice_max"]
    np.testing.assert_allclose(slices[name], expected, rtol=1e-6)
    volume = metrics.all(target, prediction, "slice")[name]
    np.testing.assert_allclose(volume, expected.mean(), rtol=1e-6)


def test_fastmri_ssim_is_the_mean_over_slices(pair):
  target, prediction, numbers = pair
  mean = np.mean(metrics.per_slice(target, prediction, "fastmri")["ssim"])
  np.testing.assert_allclose(mean, numbers["ssim_slices_volume_max"], rtol=1e-6)
  volume = metrics.all(target, prediction, "fastmri")
  np.testing.assert_allclose(volume["ssim"], mean, rtol=1e-12)


def test_slice_psnr_uses_the_range_of_its_protocol(phantom):
  target, prediction = phantom
  error = np.mean((target[0] - prediction[0]) ** 2)
  for protocol, peak in (("slice", target[0].max()), ("kdmri", target.max())):
    found = metrics.per_slice(target, prediction, protocol)["psnr"][0]
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
  found = metrics.all(target, prediction, "kdmri")["hfen"]
  np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_hfn_clips_a_copy(phantom):
  target, prediction = phantom
  assert prediction.min() < 0 and prediction.max() > 1
  before = target.copy(), prediction.copy()
  clipped = metrics.all(target, np.clip(prediction, 0, 1), "kdmri")
  found = metrics.all(target, prediction, "kdmri")
  assert found["hfn"] == clipped["hfn"]
  assert found["mse"] > clipped["mse"]
  np.testing.assert_array_equal(target, before[0])
  np.testing.assert_array_equal(prediction, before[1])


def test_hfn_is_the_same_for_scaled_data(phantom):
  target, prediction = (volume / phantom[0].max() for volume in phantom)
  found = metrics.all(target, prediction, "kdmri")["hfn"]
  scaled = metrics.all(250 * target, 250 * prediction, "kdmri")["hfn"]
  assert scaled == pytest.approx(found, rel=1e-9)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_perfect_prediction(phantom, protocol):
  target = np.delete(phantom[0], 2, axis=0)
  found = metrics.all(target, target, protocol)
  assert found == pytest.approx(
    {"psnr": np.inf, "ssim": 1, "mse": 0, "nmse": 0, "hfn": 0, "hfen": 0}
  )


def test_slices_without_signal_are_left_out_of_means(phantom):
  target, prediction = phantom
  kept = [0, 1, 3]
  found = metrics.all(target, prediction, "slice")
  expected = metrics.all(target[kept], prediction[kept], "slice")
  assert found == pytest.approx(expected, rel=1e-12)
  assert quality.empty_slices(target) == 1


def test_under_kdmri_an_empty_slice_counts_in_the_volume(phantom):
  target, prediction = phantom
  found = metrics.all(target, prediction, "kdmri")
  np.testing.assert_allclose(found["mse"], np.mean((target - prediction) ** 2))
  assert all(np.isfinite(value) for value in found.values())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_slice_without_signal_has_no_values_of_its_own(phantom, protocol):
  for values in metrics.per_slice(*phantom, protocol).values():
    np.testing.assert_array_equal(np.isfinite(values), [True, True, False, True])


def test_a_volume_without_edges_has_no_high_frequency_error():
  target = np.ones((2, 9, 9))
  found = metrics.all(target, 0.5 * target, "kdmri")
  assert np.isnan(found["hfn"]) and np.isnan(found["hfen"])
  assert found["nmse"] == pytest.approx(0.25)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_metrics_share_changes_no_number(phantom, protocol):
  """All together, under all protocols, as each of them alone."""
  volume, slices = quality.measure(*phantom, METRICS)[protocol]
  assert list(volume) == list(slices) == ["psnr", "ssim", "mse", "nmse", "hfn", "hfen"]
  for name, metric in METRICS.items():
    assert getattr(metrics, name)(*phantom, protocol=protocol) == volume[name]
    alone = metrics.per_slice(*phantom, protocol, metrics={name: metric})[name]
    np.testing.assert_array_equal(alone, slices[name])


def test_an_image_is_a_volume_of_one_slice(phantom):
  target, prediction = phantom[0][0], phantom[1][0]
  assert metrics.all(target, prediction) == metrics.all(target[None], prediction[None])
  assert metrics.psnr(target, prediction) == metrics.psnr(
    target, prediction, protocol="slice"
  )


def test_arrays_of_jax_and_lists(phantom):
  target, prediction = (np.float32(volume) for volume in phantom)
  expected = metrics.psnr(target, prediction)
  assert metrics.psnr(jnp.asarray(target), jnp.asarray(prediction)) == expected
  assert metrics.psnr(target.tolist(), prediction.tolist()) == expected
  assert type(expected) is float


def mean_absolute_error(target, prediction):
  """A metric as a user writes it."""
  return abs(prediction - target).mean(axis=(1, 2))


MAE = Metric(mean_absolute_error, "MAE", higher_is_better=False)


def test_a_metric_of_ones_own(phantom):
  target, prediction = phantom
  errors = abs(prediction - target).mean(axis=(1, 2))
  own = {"mae": MAE}
  assert metrics.all(*phantom, metrics=own) == {"mae": pytest.approx(errors.mean())}
  by_slice = metrics.all(*phantom, "slice", metrics=own)
  assert by_slice == {"mae": pytest.approx(errors[[0, 1, 3]].mean())}
  np.testing.assert_allclose(
    metrics.per_slice(*phantom, metrics=own)["mae"],
    np.where(errors == errors[2], np.nan, errors),
  )


def test_a_metric_cannot_change_the_images(phantom):
  def careless(target, prediction):
    prediction -= target
    return prediction.mean(axis=(1, 2))

  with pytest.raises(ValueError, match="read-only"):
    metrics.all(*phantom, metrics={"x": Metric(careless, "X", higher_is_better=True)})


def test_a_metric_gives_one_value_per_slice(phantom):
  whole = Metric(lambda t, p: abs(p - t).mean(), "MAE", higher_is_better=False)
  with pytest.raises(ArgumentError, match=r"shape \(\) from MAE.*each of 4 slices"):
    metrics.all(*phantom, metrics={"mae": whole})


def test_metrics_by_name_and_by_import_path():
  found = metrics.resolve(["nmse", "psnr", f"{__name__}:MAE"])
  assert list(found) == ["nmse", "psnr", "MAE"]
  assert found["MAE"] is MAE and found["psnr"] is METRICS["psnr"]


@pytest.mark.parametrize(
  ("names", "words"),
  [
    (["psnrr"], "Did you mean 'psnr'"),
    ([], "found none"),
    (["psnr", "psnr"], "a second metric of this name"),
    ([f"{__name__}:mean_absolute_error"], "which is a function"),
    ([f"{__name__}:nothing"], "nothing"),
  ],
)
def test_metrics_that_cannot_be_found(names, words):
  with pytest.raises(ArgumentError, match=words) as error:
    metrics.resolve(names)
  assert str(error.value).startswith("metrics: found ")


def test_psnr_of_a_mean_squared_error():
  assert decibels(0.01) == pytest.approx(20)
  assert decibels(0.01, 10) == pytest.approx(40)
  assert decibels(0) == np.inf


@pytest.mark.parametrize(
  ("change", "where", "words"),
  [
    (lambda t, p: (t[:, :6], p[:, :6]), "target", "7x7 pixels, the window of SSIM"),
    (lambda t, p: (t, p[:, :-1]), "prediction", "the same shape"),
    (lambda t, p: (t[0], p), "prediction", "the same shape"),
    (lambda t, p: (t[..., None], p[..., None]), "target", "remove the axis of"),
    (lambda t, p: (t, np.where(p > 1, np.nan, p)), "prediction", "NaN or infinite"),
    (lambda t, p: (t, p + 0j), "prediction", "complex values.*Take the magnitude"),
    (lambda t, p: (t > 0, [["a"]]), "prediction", "the same shape"),
    (lambda t, p: (0 * t, p), "target", "no signal"),
    (lambda t, p: (t[:0], p[:0]), "target", "at least one slice"),
  ],
)
def test_bad_volumes_are_refused(phantom, change, where, words):
  with pytest.raises(ArgumentError, match=words) as error:
    metrics.all(*change(*phantom))
  assert str(error.value).startswith(f"{where}: found ")


def test_only_ssim_needs_its_window(phantom):
  target, prediction = (volume[:, :5, :5] for volume in phantom)
  assert np.isfinite(metrics.psnr(target, prediction))
  with pytest.raises(ArgumentError, match="window of SSIM"):
    metrics.ssim(target, prediction)


def test_unknown_protocol_is_refused(phantom):
  with pytest.raises(ArgumentError, match=r"protocol: .*kdmri, slice, fastmri"):
    metrics.psnr(*phantom, protocol="paper")


def test_experiments_measure_all_registered_metrics():
  config = parse(demo.get_config().to_dict())
  assert metrics.resolve(config.evaluation.metrics) == METRICS

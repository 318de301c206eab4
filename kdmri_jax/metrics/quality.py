"""Metrics of a reconstructed volume under the protocols of `kdmri_jax.protocols`.

Every number is computed in float64 on copies. A slice without any signal counts in the
values of its volume under "kdmri" and "fastmri", and has no values itself.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from kdmri_jax import lookup
from kdmri_jax.errors import ArgumentError
from kdmri_jax.metrics.metric import Metric
from kdmri_jax.protocols import PROTOCOLS


class Quality(NamedTuple):
  """Values by metric.

  Attributes:
    volume: of the whole volume.
    slices: of each slice, [S]; NaN where undefined, such as in slices without signal.
  """

  volume: dict[str, float]
  slices: dict[str, np.ndarray]


def measure(
  target: ArrayLike,
  prediction: ArrayLike,
  metrics: Mapping[str, Metric],
  protocols: Iterable[str] = tuple(PROTOCOLS),
) -> dict[str, Quality]:
  """Measures one volume; intermediate results shared by metrics are computed once.

  Args:
    target: fully sampled magnitude of about 0..1, [S, H, W] or [H, W], not changed.
    prediction: reconstruction of the same shape, not changed.
    metrics: name -> metric.
    protocols: keys of `PROTOCOLS`.

  Returns:
    Protocol -> values.

  Raises:
    ArgumentError: shapes differ, values are not real and finite, images are smaller
      than a metric's window, the target has no signal, or a protocol is unknown.
  """
  target, prediction = checked(target, prediction, metrics)
  has_signal = target.max(axis=(1, 2)) > 0
  shared: dict[Any, Any] = {}
  result = {}
  for protocol in protocols:
    if protocol not in PROTOCOLS:
      raise lookup.unknown("protocol", protocol, PROTOCOLS)
    by_slice = PROTOCOLS[protocol].by_slice
    peak = target.max(axis=(1, 2)) if by_slice else np.full(len(target), target.max())
    found = result[protocol] = Quality({}, {})
    for name, metric in metrics.items():
      key = (metric.measure, metric.uses_range and by_slice)
      if key not in shared:
        shared[key] = _measured(metric, target, prediction, peak)
      values = _per_slice(metric, shared[key], peak)
      found.slices[name] = np.where(has_signal, values, np.nan)
      if by_slice:
        volume = _mean(found.slices[name])
      elif metric.per_volume is None:
        volume = _mean(values)
      else:
        volume = metric.per_volume(shared[key], peak[0])
      found.volume[name] = float(np.asarray(volume))
  return result


def value(
  metric: Metric, target: ArrayLike, prediction: ArrayLike, protocol: str
) -> float:
  """One metric of a volume under one protocol; arguments and errors as `measure`."""
  return measure(target, prediction, {"": metric}, (protocol,))[protocol].volume[""]


def of_image(
  metric: Metric, target: np.ndarray, prediction: np.ndarray, data_range: float
) -> float:
  """One metric of an image, float64 [H, W], for a given data range."""
  peak = np.array([data_range])
  measured = _measured(metric, target[None], prediction[None], peak)
  return float(_per_slice(metric, measured, peak)[0])


def empty_slices(target: ArrayLike) -> int:
  """Number of slices of a target [S, H, W] without any signal."""
  return int(np.count_nonzero(np.asarray(target).max(axis=(1, 2)) <= 0))


def _measured(metric, target, prediction, peak):
  more = (peak,) if metric.uses_range else ()
  return metric.measure(target, prediction, *more)


def _per_slice(metric, measured, peak):
  values = np.asarray(metric.per_slice(measured, peak), np.float64)
  if values.shape != peak.shape:
    found = f"values of shape {values.shape} from {metric.title}"
    raise ArgumentError("metrics", found, f"one value for each of {len(peak)} slices")
  return values


def checked(
  target: ArrayLike, prediction: ArrayLike, metrics: Mapping[str, Metric]
) -> tuple[np.ndarray, np.ndarray]:
  """The two volumes [S, H, W] as read-only float64 copies; errors as `measure`."""
  target, prediction = np.asarray(target), np.asarray(prediction)
  if target.ndim not in (2, 3):
    expected = "an image (rows, columns) or a volume (slices, rows, columns)"
    remedy = "Take the magnitude of complex images, and remove the axis of channels."
    raise ArgumentError("target", f"shape {target.shape}", expected, remedy)
  if prediction.shape != target.shape:
    found = f"shape {prediction.shape} beside a target of shape {target.shape}"
    remedy = "Compare each reconstruction with its own volume, with the same crop."
    if sorted(prediction.shape) == sorted(target.shape):
      remedy = "Its axes are in another order: transpose one of the two."
    raise ArgumentError("prediction", found, "the same shape", remedy)
  shape = target.shape[-2:]
  largest = max(metrics.values(), key=lambda metric: metric.window)
  if target.size == 0 or min(shape) < largest.window:
    pixels = f"{largest.window}x{largest.window} pixels, the window of {largest.title}"
    expected = f"at least one slice of at least {pixels}"
    remedy = "Pad the images with zeros, or choose metrics without this window."
    raise ArgumentError("target", f"shape {target.shape}", expected, remedy)
  target, prediction = _real("target", target), _real("prediction", prediction)
  if target.max() <= 0:
    remedy = "Exclude this volume, or check how it was read."
    found = "no signal (its maximum is not above 0)"
    raise ArgumentError("target", found, "an image", remedy)
  return target.reshape(-1, *shape), prediction.reshape(-1, *shape)


def _real(name, volume):
  if volume.dtype.kind not in "fiub" or not np.isfinite(volume).all():
    kinds = {"f": "NaN or infinite values", "c": "complex values"}
    found = f"{kinds.get(volume.dtype.kind, 'no numbers')} ({volume.dtype})"
    remedy = "Take the magnitude: np.abs." if volume.dtype.kind == "c" else ""
    raise ArgumentError(name, found, "finite real intensities", remedy)
  volume = volume.astype(np.float64)
  volume.setflags(write=False)
  return volume


def _mean(values) -> float:
  """Mean of the defined values; NaN when there are none."""
  values = values[~np.isnan(values)]
  return values.mean() if len(values) else np.nan

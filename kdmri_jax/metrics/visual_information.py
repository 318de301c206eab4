"""Visual information fidelity, in the pixel domain."""

import numpy as np
import scipy
from numpy.typing import ArrayLike

from kdmri_jax.metrics import quality
from kdmri_jax.metrics.metric import Metric, ratio

_RANGE, _NOISE = 255.0, 2.0  # grey levels, and the variance of the observer's noise
_WINDOWS = (17, 9, 5, 3)  # one for each scale
_LEAST = 1e-10  # a variance


def of_slices(
  target: np.ndarray, prediction: np.ndarray, data_range: np.ndarray
) -> np.ndarray:
  """VIF of each slice of two volumes [S, H, W], [S]; NaN for constant targets."""
  scale = (_RANGE / np.where(data_range > 0, data_range, np.inf))[:, None, None]
  t, p = scale * target, scale * prediction
  seen = known = np.zeros(len(t))
  for size in _WINDOWS:
    if size != _WINDOWS[0]:
      t, p = _blur(t, size)[:, ::2, ::2], _blur(p, size)[:, ::2, ::2]
    variance, gain, rest = _channel(t, p, size)
    seen = seen + _bits(gain**2 * variance / (rest + _NOISE))
    known = known + _bits(variance / _NOISE)
  return ratio(seen, known)


def _channel(t, p, size):
  """The target's variance in each window; gain and residual variance of p = g t + v."""
  mean_t, mean_p = _blur(t, size), _blur(p, size)
  var_t, var_p, both = (
    _blur(a * b, size) - mean_a * mean_b
    for a, b, mean_a, mean_b in (
      (t, t, mean_t, mean_t),
      (p, p, mean_p, mean_p),
      (t, p, mean_t, mean_p),
    )
  )
  var_t, var_p = np.maximum(var_t, 0), np.maximum(var_p, 0)
  carries = (var_t >= _LEAST) & (var_p >= _LEAST) & (both > 0)
  gain = np.where(carries, both / (var_t + _LEAST), 0.0)
  rest = np.maximum(var_p - gain * both, _LEAST)
  return np.where(var_t >= _LEAST, var_t, 0.0), gain, rest


def _blur(volume, size):
  """A Gaussian of the standard deviation size / 5, where the window fits."""
  half = size // 2
  window = np.exp(-0.5 * (np.arange(-half, half + 1) / (size / 5)) ** 2)
  window /= window.sum()
  for axis in (1, 2):
    volume = scipy.ndimage.correlate1d(volume, window, axis, mode="constant")
  return volume[:, half:-half, half:-half]


def _bits(signal_to_noise):
  return np.log2(1 + signal_to_noise).sum(axis=(1, 2))


VIF = Metric(
  of_slices,
  "VIF",
  higher_is_better=True,
  definition="the visual information fidelity in the pixel domain, of four scales, "
  "with a noise variance of 2 for a range of 255",
  meaning="visual information fidelity, the share that is left of it",
  uses_range=True,
  window=41,
)


def vif(target: ArrayLike, prediction: ArrayLike, *, protocol: str = "kdmri") -> float:
  """Visual information fidelity, in the pixel domain.

  The information that an observer with noise gets from the prediction about the target,
  over what he gets from the target itself. In each Gaussian window (17x17, 9x9, 5x5 and
  3x3 pixels of four scales, standard deviation a fifth of that) the prediction is
  g t + v with gain g and residual variance s_v^2; then

    VIF = sum log2(1 + g^2 s_t^2/(s_v^2 + 2)) / sum log2(1 + s_t^2/2)

  over windows and scales, for images scaled to the range 255. Implementations that do
  not scale images of 0..1 give far smaller values. Images are not clipped or rounded.

  Args:
    target: fully sampled magnitude of about 0..1, [H, W] or [S, H, W], at least 41x41.
    prediction: reconstruction of the same shape.
    protocol: "kdmri" and "fastmri" take the target volume's maximum as range and the
      mean over all slices; "slice" each slice's own maximum, and the mean over slices
      with signal.

  Returns:
    VIF, higher is better; 1 for a perfect prediction, more for a higher contrast.

  Raises:
    ArgumentError: see `metrics.all`.

  Source: Sheikh and Bovik, IEEE TIP 15 (2006), in the pixel-domain form that its
    authors published; SFT-KD-Recon reports VIF, but its code has no definition.
  """
  return quality.value(VIF, target, prediction, protocol)

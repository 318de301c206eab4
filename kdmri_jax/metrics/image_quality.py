"""Image quality of a reconstructed volume, under three named protocols.

Every number is computed in float64 on copies; targets and predictions are real
volumes [S, H, W] of about 0..1 (take the magnitude of complex images first).

| key  | definition                                                    | better |
|------|---------------------------------------------------------------|--------|
| psnr | 10 log10(range^2 / MSE), dB                                   | higher |
| ssim | 7x7 uniform window, K1 .01, K2 .03, sample covariance         | higher |
| mse  | mean of (p - t)^2                                             | lower  |
| nmse | sum (p - t)^2 / sum t^2                                       | lower  |
| hfn  | sum lap(p' - t)^2 / sum lap(t)^2, p' = p clipped to [0, m],   | lower  |
|      | m the larger of 1 and the target volume's maximum; 5-point    |        |
|      | Laplacian, mirrored borders, mean over slices                 |        |
| hfen | norm of LoG(p - t) / norm of LoG(t), 15x15, sigma 1.5         | lower  |

A perfect prediction has an infinite PSNR. What is undefined is NaN; means leave both
out and say how many. A slice without any signal has nothing to reconstruct: it counts
in the values of its volume, under "kdmri" and "fastmri", and has none of its own.
"""

import numpy as np
import scipy.ndimage
import scipy.signal
from skimage.metrics import structural_similarity

from kdmri_jax.errors import UserError
from kdmri_jax.metrics.volume_pair import checked_pair

METRICS = ("psnr", "ssim", "mse", "nmse", "hfn", "hfen")
HIGHER_IS_BETTER = {"psnr", "ssim"}
WINDOW = 7

PROTOCOLS = {
  "kdmri": (
    "PSNR over the whole volume with the maximum of the target volume as range; "
    "SSIM (7x7 window) slice by slice with that same range, averaged over slices."
  ),
  "slice": (
    "PSNR and SSIM (7x7 window) slice by slice with the maximum of the target "
    "slice as range, averaged over slices; slices without signal are left out."
  ),
  "fastmri": (
    "As the fastMRI challenge counts: PSNR over the volume, SSIM (7x7 window) "
    "averaged over slices, both with the maximum of the target volume as range."
  ),
}


def volume_metrics(target, prediction, protocol: str, *, where="target"):
  """Quality of one reconstructed volume.

  Under "slice" every value is the mean over slices that have signal. Under
  "kdmri" and "fastmri" PSNR, MSE, NMSE and HFEN are of the whole volume, SSIM and
  HFN means over slices (HFN over slices whose Laplacian is not zero).

  Args:
    target: fully sampled magnitude, [S, H, W], not changed.
    prediction: reconstruction, [S, H, W], not changed.
    protocol: a key of `PROTOCOLS`.
    where: what an error message calls the pair, such as a file name.

  Returns:
    A dict with the keys `METRICS`; psnr is inf where the prediction is perfect,
    hfn and hfen are NaN where the target has no edges at all.

  Raises:
    UserError: shapes differ, values are not real and finite, slices are smaller
      than the SSIM window, the target has no signal, or the protocol is unknown.

  Source: KD-MRI (arXiv 2004.05319) and SFT-KD-Recon for the ranges; HFEN:
    Ravishankar & Bresler, IEEE TMI 2011.
  """
  _known(protocol)
  return all_metrics(target, prediction, (protocol,), where=where)[protocol][0]


def slice_metrics(target, prediction, protocol: str, *, where="target"):
  """Quality of each slice of a volume.

  The range of PSNR and SSIM is the slice's maximum under "slice", the volume's
  maximum under "kdmri" and "fastmri".

  Args:
    target: fully sampled magnitude, [S, H, W], not changed.
    prediction: reconstruction, [S, H, W], not changed.
    protocol: a key of `PROTOCOLS`.
    where: what an error message calls the pair, such as a file name.

  Returns:
    A list of S dicts with the keys `METRICS`. Values that are undefined are NaN, among
    them all of a slice without signal.

  Raises:
    UserError: as `volume_metrics`.
  """
  _known(protocol)
  return all_metrics(target, prediction, (protocol,), where=where)[protocol][1]


def all_metrics(target, prediction, protocols=tuple(PROTOCOLS), *, where="target"):
  """Both kinds of values under several protocols; what they share is computed once.

  Args:
    target: fully sampled magnitude, [S, H, W], not changed.
    prediction: reconstruction, [S, H, W], not changed.
    protocols: keys of `PROTOCOLS`.
    where: what an error message calls the pair, such as a file name.

  Returns:
    A dict from protocol to the pair (`volume_metrics`, `slice_metrics`).

  Raises:
    UserError: as `volume_metrics`.
  """
  target, prediction = checked_pair(target, prediction, WINDOW, where)
  sums, ssim, result = _sums(target, prediction), {}, {}
  has_signal = _has_signal(target)
  for protocol in protocols:
    by_slice = protocol == "slice"
    peak = target.max(axis=(1, 2)) if by_slice else np.full(len(target), target.max())
    if by_slice not in ssim:
      ssim[by_slice] = _ssim(target, prediction, peak)
    values = _slice_values(sums, peak, ssim[by_slice])
    slices = {name: np.where(has_signal, values[name], np.nan) for name in METRICS}
    if by_slice:
      volume = {name: _mean(slices[name]) for name in METRICS}
    else:
      volume = _volume_values(sums, peak[0], ssim[by_slice])
    result[protocol] = (
      volume,
      [{k: float(v[i]) for k, v in slices.items()} for i in range(len(target))],
    )
  return result


def empty_slices(target) -> int:
  """Number of slices of a target [S, H, W] without any signal."""
  return int(np.count_nonzero(~_has_signal(target)))


def _has_signal(target):
  return np.max(target, axis=(1, 2)) > 0


def _known(protocol):
  if protocol not in PROTOCOLS:
    raise UserError(
      "protocol",
      repr(protocol),
      "one of " + ", ".join(PROTOCOLS),
      "Name one of these protocols.",
    )


def _sums(target, prediction):
  """Energies of each slice, as arrays [S]; the same under every protocol."""
  error = prediction - target
  clipped = np.clip(prediction, 0, max(1, target.max()))
  log_energy = _energy(_laplacian_of_gaussian(target))
  energy = _energy(target)
  return {
    "pixels": target[0].size,
    "error": _energy(error),
    "energy": energy,
    "lap_error": _energy(_laplacian(clipped - target)),
    "lap_energy": _energy(_laplacian(target)),
    "log_error": _energy(_laplacian_of_gaussian(error)),
    # The FFT leaves rounding where the answer is zero: a constant slice has none.
    "log_energy": np.where(log_energy > 1e-24 * energy, log_energy, 0.0),
  }


def _ssim(target, prediction, peak):
  """SSIM of each slice, [S]; NaN where the range is 0."""
  return np.array(
    [
      structural_similarity(t, p, win_size=WINDOW, data_range=r) if r > 0 else np.nan
      for t, p, r in zip(target, prediction, peak, strict=True)
    ]
  )


def _volume_values(sums, peak, ssim):
  mse = sums["error"].mean() / sums["pixels"]
  return {
    "psnr": float(_psnr(mse, peak)),
    "ssim": _mean(ssim),
    "mse": float(mse),
    "nmse": float(sums["error"].sum() / sums["energy"].sum()),
    "hfn": _mean(_ratio(sums["lap_error"], sums["lap_energy"])),
    "hfen": float(np.sqrt(_ratio(sums["log_error"].sum(), sums["log_energy"].sum()))),
  }


def _slice_values(sums, peak, ssim):
  mse = sums["error"] / sums["pixels"]
  return {
    "psnr": _psnr(mse, np.where(peak > 0, peak, 1)),
    "ssim": ssim,
    "mse": mse,
    "nmse": _ratio(sums["error"], sums["energy"]),
    "hfn": _ratio(sums["lap_error"], sums["lap_energy"]),
    "hfen": np.sqrt(_ratio(sums["log_error"], sums["log_energy"])),
  }


def _energy(volume):
  return np.sum(volume**2, axis=(1, 2))


def _laplacian(volume):
  return np.stack([scipy.ndimage.laplace(image) for image in volume])


def _laplacian_of_gaussian(volume, size=15, sigma=1.5):
  """Kernel with zero sum, as MATLAB's fspecial("log"); mirrored borders."""
  half = size // 2
  y, x = np.mgrid[-half : half + 1, -half : half + 1]
  gauss = np.exp(-(x**2 + y**2) / (2 * sigma**2))
  kernel = gauss / gauss.sum() * (x**2 + y**2 - 2 * sigma**2) / sigma**4
  kernel -= kernel.mean()
  padded = np.pad(volume, ((0, 0), (half, half), (half, half)), mode="symmetric")
  return scipy.signal.fftconvolve(padded, kernel[None], mode="valid", axes=(1, 2))


def _psnr(mse, peak):
  with np.errstate(divide="ignore"):
    return 10 * np.log10(np.square(peak) / np.asarray(mse))


def _ratio(above, below):
  """above / below; NaN where below is 0."""
  above, below = np.asarray(above), np.asarray(below)
  return np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)


def _mean(values):
  """Mean of what is defined; NaN when nothing is."""
  values = values[~np.isnan(values)]
  return float(values.mean()) if len(values) else float("nan")

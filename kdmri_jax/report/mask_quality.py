"""The k-space energy that a mask samples, and the quality of zero-filled images."""

import numpy as np

from kdmri_jax import metrics
from kdmri_jax.errors import UserError, arguments_of

PROTOCOL = "kdmri"


def measured(images: np.ndarray, mask: np.ndarray, *, where: object = "images") -> dict:
  """Energy of images that a mask samples, and the quality of zero-filled images.

  The energy is the sum of |F x|^2 over the samples and slices, divided by that over all
  of k-space. Most of it is near zero frequency, so masks differ little. The missing
  part, 1 - energy, is the squared error of the complex zero-filled image, divided by
  the energy of the image. PSNR and SSIM compare magnitudes, |F^-1 M F x| and |x|, under
  the protocol "kdmri" of `metrics`.

  Args:
    images: fully sampled, real or complex [S, H, W].
    mask: uncentred, [H, W].
    where: the name of the images in error messages.

  Returns:
    {"energy": 0 to 1, "psnr": dB, infinite without error, "ssim"}.

  Raises:
    UserError: the images are not numbers [S, H, W] in the shape of the mask, or as
      `metrics.all`.
  """
  images, mask = np.asarray(images), np.asarray(mask) != 0
  if images.dtype.kind not in "biufc" or images.shape[1:] != mask.shape:
    raise UserError(
      where,
      f"images of type {images.dtype} and shape {images.shape}",
      f"numbers (slices, {mask.shape[0]} rows, {mask.shape[1]} columns)",
      "Give images of the mask's size.",
    )
  sampled, total, zero_filled = 0.0, 0.0, np.empty(images.shape)
  for image, result in zip(images, zero_filled, strict=True):
    kspace = np.fft.fft2(image, norm="ortho")
    total += np.sum(np.abs(kspace) ** 2)
    kspace = kspace * mask
    sampled += np.sum(np.abs(kspace) ** 2)
    result[:] = np.abs(np.fft.ifft2(kspace, norm="ortho"))
  chosen = {name: metrics.METRICS[name] for name in ("psnr", "ssim")}
  with arguments_of(f"{where}: "):
    quality = metrics.all(np.abs(images), zero_filled, PROTOCOL, metrics=chosen)
  return {"energy": float(sampled / total), **quality}

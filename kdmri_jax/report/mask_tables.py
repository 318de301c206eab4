"""Tables of sampling masks as plain text, and the quality of their images."""

import pathlib
from collections.abc import Iterable, Mapping

import numpy as np

from kdmri_jax import metrics
from kdmri_jax.config import PhantomConfig
from kdmri_jax.data import volume
from kdmri_jax.data.sources import arrays, phantom
from kdmri_jax.errors import ArgumentError, UserError, arguments_of
from kdmri_jax.physics.masks import describe
from kdmri_jax.physics.masks.point_spread import point_spread, side_lobe
from kdmri_jax.report.rows import text_table

PROTOCOL = "kdmri"


def properties(masks: Mapping[str, np.ndarray]) -> str:
  """Size, sampled lines or points, centre, symmetry and highest side lobe of masks.

  Args:
    masks: name -> mask, uncentred, [H, W].
  """
  return _text(_properties(name, mask) for name, mask in masks.items())


def comparison(masks: Mapping[str, np.ndarray], image: str = "") -> str:
  """Properties of masks, the quality of their images, and the samples that they share.

  Args:
    masks: name -> mask, uncentred, [H, W], all of one shape.
    image: file of images to measure, NIfTI, .npz or .h5, cropped or zero-padded to the
      shape of the masks; "" for four slices of a synthetic brain.

  Raises:
    ArgumentError: the masks differ in shape.
    UserError: the file cannot be read or its images cannot be measured.
  """
  shapes = {mask.shape for mask in masks.values()}
  if len(shapes) > 1:
    found = " and ".join(f"{h}x{w}" for h, w in sorted(shapes))
    raise ArgumentError("masks", found, "masks of one shape")
  images, name_of_images = _images(image, *shapes)
  rows, shares = [], []
  for name, mask in masks.items():
    quality = measured(images, mask, where=image or "the phantom")
    row = _properties(name, mask) | {"energy": f"{100 * quality['energy']:.3f}%"}
    rows.append(
      row | {"PSNR, dB": f"{quality['psnr']:.2f}", "SSIM": f"{quality['ssim']:.4f}"}
    )
    common = {k: f"{100 * describe.shared(mask, m):.0f}%" for k, m in masks.items()}
    shares.append({"mask": name} | common)
  return (
    f"{_text(rows)}\n\nenergy sampled of {name_of_images}; PSNR and SSIM of the "
    f"zero-filled magnitude, protocol {PROTOCOL}\n\n"
    "Share of the samples of a mask (row) that another mask (column) also has\n\n"
    f"{_text(shares)}"
  )


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
  kspace = np.fft.fft2(images, norm="ortho")
  zero_filled = np.abs(np.fft.ifft2(kspace * mask, norm="ortho"))
  share = np.linalg.norm(kspace * mask) / np.linalg.norm(kspace)
  chosen = {name: metrics.METRICS[name] for name in ("psnr", "ssim")}
  with arguments_of(f"{where}: "):
    quality = metrics.all(np.abs(images), zero_filled, PROTOCOL, metrics=chosen)
  return {"energy": float(share**2), **quality}


def _properties(name, mask) -> dict[str, str]:
  facts, mirrored = describe.describe(mask), describe.mirrored(mask)
  axis, lobe = facts["axis"], side_lobe(point_spread(mask))
  sampled = f"{mask.sum()} points"
  if axis is not None:
    sampled = f"{facts['sampled_lines']} of {mask.shape[axis]}"
  return {
    "mask": name,
    "size": f"{mask.shape[0]}x{mask.shape[1]}",
    "axis": {None: "2-D", 0: "0 (rows)", 1: "1 (columns)"}[axis],
    "sampled": sampled,
    "acceleration": f"{facts['acceleration']:.2f}",
    "centre": f"{facts['centre_lines']}",
    "symmetric": "yes" if mirrored == 1 else f"no ({100 * mirrored:.0f}%)",
    "side lobe": f"{lobe.decibels:z.1f} dB, {lobe.distance:.0f} px" if lobe else "none",
  }


def _text(rows: Iterable[dict[str, str]]) -> str:
  first, *rest = rows
  return text_table(tuple(first), [tuple(row.values()) for row in (first, *rest)])


def _images(path: str, shape) -> tuple[np.ndarray, str]:
  """Images [S, H, W] of this shape, and their name in a table."""
  if not path:
    recipe = PhantomConfig("brain", 1, 4, shape, 0, False)
    return phantom.draw_subject(recipe, 0, "brain"), "a synthetic brain, 4 slices"
  images = arrays.read_images(pathlib.Path(path)).target
  name = f"{path}, {len(images)} slices"
  if images.ndim == 3 and images.shape[1:] != shape:
    before, after = ("x".join(map(str, size)) for size in (images.shape[1:], shape))
    name += f", cropped or zero-padded about the centre from {before} to {after}"
    images = volume.crop(images, shape)
  return images, name

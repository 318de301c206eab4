"""Tables of sampling masks as plain text, for `kdmri masks`."""

import pathlib
from collections.abc import Iterable, Mapping

import numpy as np

from kdmri_jax.config import PhantomConfig
from kdmri_jax.data import volume
from kdmri_jax.data.sources import arrays, phantom
from kdmri_jax.errors import ArgumentError
from kdmri_jax.physics.masks import describe
from kdmri_jax.physics.masks.point_spread import point_spread, side_lobe
from kdmri_jax.report import mask_quality
from kdmri_jax.report.rows import text_table


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
    quality = mask_quality.measured(images, mask, where=image or "the phantom")
    row = _properties(name, mask) | {"energy": f"{100 * quality['energy']:.3f}%"}
    rows.append(
      row | {"PSNR, dB": f"{quality['psnr']:.2f}", "SSIM": f"{quality['ssim']:.4f}"}
    )
    common = {k: f"{100 * describe.shared(mask, m):.0f}%" for k, m in masks.items()}
    shares.append({"mask": name} | common)
  return (
    f"{_text(rows)}\n\nenergy sampled of {name_of_images}; PSNR and SSIM of the "
    f"zero-filled magnitude, protocol {mask_quality.PROTOCOL}\n\n"
    "Share of the samples of a mask (row) that another mask (column) also has\n\n"
    f"{_text(shares)}"
  )


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

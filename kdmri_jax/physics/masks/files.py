"""Masks in files, such as KD-MRI's `mask_4x.npy`; a wrong orientation is refused."""

import io
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.io.numpy_files import read_npy
from kdmri_jax.physics.masks import values
from kdmri_jax.physics.masks.describe import is_cartesian, is_centred, phase_encode_axis
from kdmri_jax.saving import replacing


def load(
  path: str | os.PathLike, shape: tuple[int, int], axis: int | None = None
) -> np.ndarray:
  """Reads a mask, such as KD-MRI's `mask_4x.npy`, and refuses a wrong orientation.

  Args:
    path: .npy file, [H, W], 0 and 1 in any numeric or bool type, uncentred.
    shape: rows and columns of the images.
    axis: phase-encode axis that a Cartesian mask must have; None takes either.

  Returns:
    Mask, uint8 [H, W].

  Raises:
    UserError: the path is empty; the file is missing, truncated or not a .npy file; its
      shape or phase-encode axis differs; it is centred; a value is neither 0 nor 1.
  """
  if not os.fspath(path):
    raise ArgumentError("path", "no file", "a mask file (.npy)")
  mask = binary(path, read_npy(path))
  if mask.shape != tuple(shape):
    remedy = "Choose the mask for these images."
    if mask.shape == tuple(shape)[::-1]:
      remedy = "The transposed mask (mask.T) fits: save that."
    raise UserError(path, f"shape {mask.shape}", f"shape {tuple(shape)}", remedy)
  check_order(
    path, mask, "Save numpy.fft.ifftshift(mask), as `kdmri masks convert` does."
  )
  found = phase_encode_axis(mask)
  if axis is not None and found is not None and not is_cartesian(mask, axis):
    raise UserError(
      path,
      f"phase-encode axis {found}",
      f"axis {axis}",
      f"Save mask.T if it is transposed, or set the axis to {found}.",
    )
  return mask


def check_order(
  path: str | os.PathLike, mask: np.ndarray, remedy: str, *, moved: bool = False
) -> None:
  """Checks that an uncentred mask samples the low frequencies.

  Args:
    path: the file, for messages.
    mask: as it is used, uint8 [H, W].
    remedy: for a mask with the other order.
    moved: whether zero frequency is in the middle in the file.

  Raises:
    UserError: the low frequencies are in the middle of the mask, or zero frequency is
      not sampled.
  """
  places = ("at [0, 0]", "in the middle, at N // 2")
  own, other = places[moved], places[not moved]
  if is_centred(mask):
    found = f"the low frequencies sampled {other}"
    raise UserError(path, found, f"them {own}", remedy)
  if not mask[0, 0]:
    remedy = "Use a mask with a sampled centre."
    raise UserError(path, "zero frequency not sampled", f"a sample {own}", remedy)


def save(path: str | os.PathLike, mask: ArrayLike) -> None:
  """Writes a mask for `load`; never overwrites a file.

  Args:
    path: new .npy file.
    mask: uncentred, [H, W], 0 and 1 of any numeric type or bool; stored as uint8.

  Raises:
    ArgumentError: the mask has other values.
    UserError: the name does not end in .npy, the file exists or cannot be written.
  """
  path = pathlib.Path(path)
  if path.suffix != ".npy":
    raise UserError(path, "another ending", ".npy", "Call the mask NAME.npy.")
  if path.exists():
    raise UserError(path, "a file there", "a new file", "Choose another name.")
  values.check(mask)
  replace(path, np.asarray(mask).astype(np.uint8))


def replace(path: pathlib.Path, mask: np.ndarray) -> None:
  """As `save`, for a mask of uint8, in place of a file that may be there."""
  with replacing(path) as temporary:
    temporary.write_bytes(content(mask))


def content(mask: np.ndarray) -> bytes:
  """The content of a .npy file of a mask, uint8 [H, W]."""
  file = io.BytesIO()
  np.save(file, mask)
  return file.getvalue()


def names(tasks: Sequence[str], shapes: Sequence[tuple[int, int]]) -> list[list[str]]:
  """Names for the masks of an experiment: "mask" where there is one.

  Args:
    tasks: names of its tasks; with several each is part of the names.
    shapes: rows and columns of its slices; likewise.

  Returns:
    A list for each shape, with the name of each task's mask, such as
    "mask_TASK_160x128".
  """

  def name(task, shape):
    parts = [task] * (len(tasks) > 1) + ["{}x{}".format(*shape)] * (len(shapes) > 1)
    return "_".join(["mask", *parts])

  return [[name(task, shape) for task in tasks] for shape in shapes]


def binary(path: str | os.PathLike, mask: np.ndarray) -> np.ndarray:
  """A mask as uint8.

  Args:
    path: the file, for messages.
    mask: 0 and 1 in any numeric or bool type.

  Returns:
    The mask, uint8 [H, W].

  Raises:
    UserError: it has another number of axes, no entries, or a value that is neither 0
      nor 1.
  """
  expected, remedy = "an array [H, W] of 0 and 1", "Save the mask as 0 and 1."
  if mask.ndim != 2 or mask.dtype.kind not in "buif" or not mask.size:
    found = f"an array of shape {mask.shape} and type {mask.dtype}"
    raise UserError(path, found, expected, remedy)
  if found := values.other_values(mask):
    raise UserError(path, found, expected, remedy)
  return mask.astype(np.uint8)

"""Refuses arrays whose axes fit another layout than the one that is read."""

import os

import numpy as np

from kdmri_jax.errors import UserError

_THIN = 8  # an image is not that many times longer than wide where slices fit better


def refuse_pairs(path: str | os.PathLike, what: str, array: np.ndarray) -> None:
  """Refuses real numbers whose axes fit parts of complex numbers.

  Args:
    path: the file, for the message.
    what: the name of the array in it.
    array: the array, or a dataset of h5, which is not read.

  Raises:
    UserError: three or four axes, the last of them of size 2 beside larger ones; or
      four axes, the last of them of an even size, as the parts of several coils.
  """
  shape = array.shape
  if array.dtype.kind == "c" or len(shape) not in (3, 4) or shape[-1] % 2:
    return
  if len(shape) == 3 and min(shape[:2]) < _THIN:
    return  # small images of 2 columns
  found = f"{what} of type {array.dtype} and shape {shape}"
  if shape[-1] == 2:
    found += ", whose last axis fits the real and imaginary part of one coil or image"
    remedy = "Store a[..., 0] + 1j * a[..., 1]."
    if shape[1:3] == (256, 256):
      remedy += " For k-space of Calgary-Campinas name its source, calgary_campinas."
  elif len(shape) == 4 and 4 <= shape[-1] <= min(shape[1:3]):
    found += ", whose last axis fits the real and imaginary parts of coils, or coils"
    remedy = "For Calgary-Campinas name its source, calgary_multi. Else store complex "
    remedy += "numbers in the layout of a source of raw data, such as fastmri."
  else:
    return
  expected = "complex numbers, or real images (slices, rows, columns)"
  raise UserError(path, found, expected, remedy)


def refuse_transposed(
  path: str | os.PathLike, what: str, shape: tuple[int, ...]
) -> None:
  """Refuses (slices, rows, columns) whose images are strips and slices are many.

  Such a shape fits slices or coils along another axis, such as (256, 256, 10).

  Args:
    path: the file, for the message.
    what: the name of the array in it.
    shape: as read; other numbers of axes are left to the caller.

  Raises:
    UserError: rows or columns are an eighth of both other axes, or fewer.
  """
  if len(shape) != 3 or 0 in shape:
    return
  for axis in (1, 2):
    if shape[axis] * _THIN <= min(shape[0], shape[3 - axis]):
      name = ("rows", "columns")[axis - 1]
      found = f"{what} of {shape[0]} slices, {shape[1]} rows and {shape[2]} columns, "
      found += f"in which the {name} fit slices or coils better"
      remedy = f"Store it with this axis first: numpy.moveaxis(a, {axis}, 0)."
      raise UserError(path, found, "an array (slices, rows, columns)", remedy)


def refuse_centred(path: str | os.PathLike, what: str, kspace: np.ndarray) -> None:
  """Refuses k-space with its zero frequency in the middle instead of at [0, 0].

  Args:
    path: the file, for the message.
    what: the name of the array in it.
    kspace: complex [S, H, W].

  Raises:
    UserError: the largest magnitude, clearly above the others, is in the middle.
  """
  rows, columns = kspace.shape[1:]
  if min(rows, columns) < 8:
    return
  energy = (np.abs(kspace) ** 2).sum(0)
  place = np.unravel_index(int(energy.argmax()), energy.shape)
  apart = np.abs(np.subtract(place, (rows // 2, columns // 2)))
  if apart.max() <= 1 and energy.max() > 0.1 * energy.sum():
    found = f"{what} with its largest values in the middle"
    remedy = "Store numpy.fft.ifftshift(kspace, axes=(1, 2)), or name the source of the"
    remedy += " data set, such as fastmri."
    raise UserError(path, found, "k-space with zero frequency at [0, 0]", remedy)

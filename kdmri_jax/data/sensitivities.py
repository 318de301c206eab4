"""The sensitivities of a scan's coils: given in files, or estimated from k-space."""

import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.physics.coils import combination, estimate


class Sensitivities(NamedTuple):
  """The sensitivities of a scan's coils.

  Attributes:
    files: their file, or one per slice.
    read: reads those of each slice, complex [C, H, W].
    remedy: the way to obtain a missing file, without a full stop.
  """

  files: Sequence[pathlib.Path]
  read: Callable[[], Iterable[np.ndarray]]
  remedy: str


class Calibration(NamedTuple):
  """Lines of a scan that were measured to calibrate its coils, beside the image.

  Attributes:
    text: a sentence for the record and for messages: whether they are used, or why not.
    read: reads their k-space of each slice, complex64 [C, H, W], centred, 0 where it
      was not measured; None where they are not used.
  """

  text: str
  read: Callable[[], Iterable[np.ndarray]] | None


def unit(maps: np.ndarray) -> np.ndarray:
  """Sensitivities [C, H, W] over their root sum of squares; 0 where all are."""
  root = combination.root_sum_of_squares(maps)
  found = np.divide(maps, root, out=np.zeros_like(maps), where=root > 0)
  return found.astype(np.complex64)


def estimated(
  kspace: np.ndarray, method: str, path: pathlib.Path, k: int, remedy: str
) -> np.ndarray:
  """The sensitivities of coils from their k-space, see `physics.coils.estimate`.

  Args:
    kspace: complex [C, H, W], centred; 0 where not sampled.
    method: as there.
    path: the scan, for messages.
    k: number of the slice, for messages.
    remedy: how to give the sensitivities, without a full stop.

  Returns:
    complex64 [C, H, W], of an image with its origin at [0, 0].

  Raises:
    UserError: values that are not finite, or too small a centre.
  """
  if not np.isfinite(kspace).all():
    found = f"NaN or infinite values in the calibration lines of slice {k}"
    raise UserError(path, found, "finite numbers", "Copy the file again.")
  try:
    return estimate(np.fft.ifftshift(kspace, (-2, -1)), method)
  except ArgumentError as error:
    found = f"{error.found} in slice {k}"
    expected = f"calibration lines for the coils' sensitivities, {error.expected}"
    remedy = f"{remedy}, and set sensitivities='given'."
    raise UserError(path, found, expected, remedy) from error

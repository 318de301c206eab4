"""From the fully sampled k-space of one or more coils to one image per slice."""

from collections.abc import Iterable

import numpy as np

from kdmri_jax.errors import ArgumentError, UserError

ZERO_PADDED = (
  "The border of k-space is exactly zero (zero_padding in the record of a volume says "
  "where), so the images are interpolated and reconstruction appears easier than it is "
  "(Shimron et al., PNAS 2022)."
)
COMBINED = {
  "rss": "K-space is simulated from the root sum of squares of the coils.",
  "sense": (
    "K-space is simulated from the coils' combination by their sensitivities, which "
    "keeps the phase; where no coil is sensitive the image is zero."
  ),
  "none": (
    "K-space is that of the coils; the target is their combination by their "
    "sensitivities, zero where no coil is sensitive."
  ),
}
_MOST_ZERO = 1 / 3


def to_image(kspace: np.ndarray, *, centred_image: bool = True) -> np.ndarray:
  """The orthonormal inverse FFT of centred k-space, correct for odd sizes, too.

  Args:
    kspace: complex [..., H, W], zero frequency at [H // 2, W // 2].
    centred_image: whether the image has its origin there, too; False for formats with
      the origin at [0, 0].

  Returns:
    Images of the same shape and type.
  """
  image = np.fft.ifft2(np.fft.ifftshift(kspace, axes=(-2, -1)), norm="ortho")
  return np.fft.fftshift(image, axes=(-2, -1)) if centred_image else image


def root_sum_of_squares(images: np.ndarray) -> np.ndarray:
  """The real magnitude [..., H, W] of the coils' images [..., C, H, W]."""
  return np.sqrt(np.sum(np.abs(images) ** 2, axis=-3))


def by_sensitivity(images: np.ndarray, sensitivities: np.ndarray) -> np.ndarray:
  """The least-squares image x of coil images s x: sum conj(s) s x / sum |s|^2.

  Args:
    images: the coils' images, complex [..., C, H, W].
    sensitivities: s, complex, same shape.

  Returns:
    Complex [..., H, W]; zero where all sensitivities are.

  Source: Pruessmann et al. 1999 (SENSE) without acceleration; Roemer et al. 1990.
  """
  image = np.sum(np.conj(sensitivities) * images, axis=-3)
  weight = np.sum(np.abs(sensitivities) ** 2, axis=-3)
  return np.divide(image, weight, out=np.zeros_like(image), where=weight > 0)


def chosen(combine: str, *ways: str) -> str:
  """The way to combine coils, one of these or "" for the default.

  Raises:
    ArgumentError: `combine` is another one.
  """
  if combine not in ("", *ways):
    expected = f"one of {', '.join(map(repr, ways))}, or ''"
    needs = "'sense' needs coil sensitivities, which this source does not contain."
    remedy = needs if combine == "sense" else ""
    raise ArgumentError("combine", repr(combine), expected, remedy)
  return combine


def combine(
  slices: Iterable[tuple[np.ndarray, np.ndarray | None]],
  way: str,
  where: object,
  *,
  centred_image: bool = True,
) -> tuple[np.ndarray, dict]:
  """Combines the coils of each slice to one image.

  Slices are transformed one at a time: beside the images, memory holds a few copies
  of one slice's k-space (28 MB for 15 coils of 640 x 368).

  Args:
    slices: for each its k-space, complex64 [C, H, W], centred, and for "sense" its
      sensitivities [C, H, W], else None.
    way: "rss", "sense", "none" for "sense" beside the k-space of the coils, or "" for
      the image of a single coil as it is.
    where: the file or folder, for messages.
    centred_image: see `to_image`.

  Returns:
    Images [S, H, W], float32 for "rss", else complex64; and entries for the volume's
    record: coils, combine, simulated_kspace, zero_padding (exactly zero rows and
    columns before and after the others, in all slices and coils) and a note.

  Raises:
    UserError: there is no slice, or one has another shape than the first or is
      undersampled.
  """
  images, sampled, shape = [], None, None
  for k, (kspace, sensitivities) in enumerate(slices):
    shape = shape or kspace.shape
    if kspace.shape != shape:
      found = f"k-space of {kspace.shape} in slice {k}"
      expected = f"(coils, rows, columns) of the first slice, {shape}"
      raise UserError(where, found, expected, "Exclude the volume.")
    points = refuse_undersampled(kspace, k, where)
    sampled = points if sampled is None else sampled | points
    with np.errstate(invalid="ignore", over="ignore"):
      coils = to_image(kspace, centred_image=centred_image)
      if way == "rss":
        images.append(root_sum_of_squares(coils))
      else:
        images.append(by_sensitivity(coils, sensitivities) if way else coils[0])
  if not images:
    remedy = "Copy the volume again, or exclude it."
    raise UserError(where, "no slices", "at least one", remedy)
  padding = zero_padding(sampled)
  notes = [COMBINED[way]] if way else []
  notes += [ZERO_PADDED] if np.any(list(padding.values())) else []
  record = {
    "coils": shape[0],
    "combine": way,
    "simulated_kspace": way not in ("", "none"),
  }
  record |= {"zero_padding": padding, "note": " ".join(notes)}
  return np.stack(images), record


def refuse_undersampled(kspace: np.ndarray, k: int, where: object) -> np.ndarray:
  """The sampled points of slice k, bool [H, W], of centred k-space [C, H, W].

  Raises:
    UserError: some between them were not sampled.
  """
  points = (kspace != 0).any(0)
  if missing := missing_samples(points):
    found = f"undersampled k-space (slice {k}: {missing})"
    expected = "fully sampled k-space, from which the target is made"
    remedy = "Test files of a challenge hold no target: use its training files."
    raise UserError(where, found, expected, remedy)
  return points


def zero_padding(sampled: np.ndarray) -> dict[str, list[int]]:
  """The widest border without any sample.

  Args:
    sampled: where k-space is not exactly zero, bool [H, W].

  Returns:
    {"rows": [before, after], "columns": [before, after]}; all 0 where nothing is
    sampled.
  """
  return {"rows": _ends(sampled.any(1)), "columns": _ends(sampled.any(0))}


def missing_samples(sampled: np.ndarray) -> str:
  """Evidence that centred k-space is undersampled: empty lines, or many empty points.

  Empty lines count between sampled ones. An elliptic shutter omits 21% of the points, a
  partial Fourier acquisition only a border.

  Args:
    sampled: where k-space is not exactly zero, bool [H, W].

  Returns:
    A description of the missing part; "" for fully sampled and for empty k-space.
  """
  (top, bottom), (left, right) = zero_padding(sampled).values()
  inside = sampled[top : len(sampled) - bottom, left : sampled.shape[1] - right]
  if not sampled.any():
    return ""
  for name, lines in (("rows", inside.any(1)), ("columns", inside.any(0))):
    if not lines.all():
      return f"{int((~lines).sum())} empty {name} between sampled ones"
  empty = 1 - inside.mean()
  return f"{empty:.0%} of the points empty" if empty > _MOST_ZERO else ""


def shift_of(images: np.ndarray) -> str:
  """Evidence that k-space had another phase than it was read with.

  Args:
    images: [S, H, W].

  Returns:
    A sentence where the half around their corners has most of their energy; else "".
  """
  energy = np.zeros(images.shape[1:])
  for image in images:
    energy += np.abs(image) ** 2
  height, width = (size // 4 for size in energy.shape)
  inside = slice(height, -height or None), slice(width, -width or None)
  if np.fft.fftshift(energy)[inside].sum() <= 2 * energy[inside].sum():
    return ""
  return (
    "The images look shifted by half of the field of view: their energy lies at the "
    "corners. K-space is read as fftshift(fft2(ifftshift(image)))."
  )


def _ends(lines):
  filled = np.flatnonzero(lines)
  if not filled.size:
    return [0, 0]
  return [int(filled[0]), int(len(lines) - 1 - filled[-1])]

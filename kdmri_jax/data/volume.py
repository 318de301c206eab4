"""A volume, and the checks and preparation of every volume."""

import dataclasses
import functools
from typing import Any

import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.data import digests, spool
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.io.h5 import NO_HEADER, RawHeader
from kdmri_jax.types import Shape

ARRAYS = ("target", "kspace", "zero_filled", "sensitivities", "input")


@dataclasses.dataclass(frozen=True, eq=False)
class Volume:
  """The slices of one scan.

  Its arrays are NumPy arrays, or `data.stored.StoredArray` where they stay in a
  prepared file; those of several coils may be a `data.spool.Spool` until all are read.

  Attributes:
    name: becomes the file name of results; unique within a split.
    subject: the subject, as far as the source knows it; the data is split by subject.
    target: fully sampled images, float32 or complex64 [S, H, W].
    kspace: measured k-space, complex64 [S, H, W], orthonormal, zero frequency at
      [0, 0], 0 where not sampled; fully sampled of several coils [S, C, H, W]; None
      where the source has none.
    zero_filled: magnitude of its inverse FFT, float32 [S, H, W], or None.
    split: "train", "validation" or "test" where the source has a split.
    record: origin and processing of the volume; written as JSON. "unit" is the word for
      its subject in reports: "subject", "file", "slab of one head".
    digests: name of an array -> a digest of each of its slices, see `data.digests`;
      empty until they are computed.
    unscaled: digests of the slices of the target before it was scaled; () where
      unknown.
    header: metadata of its file; not part of records or reports.
    peak: of k-space that stays in its file, see `physics.masks.coverage`; None where
      unknown.
    sensitivities: of the coils of `kspace`, complex64 [S, C, H, W], of which `target`
      is the combination; None for one coil.
    input: images that are given to be measured in place of the target, which the
      networks approach, of its shape and type; None where the target is measured.
  """

  name: str
  subject: str
  target: np.ndarray
  kspace: np.ndarray | None = None
  zero_filled: np.ndarray | None = None
  split: str | None = None
  record: dict[str, Any] = dataclasses.field(default_factory=dict)
  digests: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
  unscaled: tuple[str, ...] = ()
  header: RawHeader = NO_HEADER
  peak: np.ndarray | None = None
  sensitivities: Any = None
  input: Any = None

  @property
  def file(self) -> str:
    """The volume in error messages: its file, or its name."""
    return self.record.get("file", self.name)

  @property
  def arrays(self) -> dict[str, Any]:
    """The arrays that the volume has, by the names in `ARRAYS`."""
    arrays = {name: getattr(self, name) for name in ARRAYS}
    return {name: array for name, array in arrays.items() if array is not None}

  def with_digests(self) -> "Volume":
    """The volume with the digests of its arrays, unless it has them already."""
    if self.digests:
      return self
    found = {key: digests.of_slices(array) for key, array in self.arrays.items()}
    return dataclasses.replace(self, digests=found)

  @property
  def coils(self) -> int:
    """The number of coils whose k-space it has; 1 for any other volume."""
    return 1 if self.sensitivities is None else self.sensitivities.shape[1]

  @property
  def layout(self) -> tuple[Shape, int]:
    """The shape of its slices and the number of its coils."""
    return self.target.shape[1:], self.coils

  def in_memory(self) -> "Volume":
    """The volume with its spooled arrays as NumPy arrays."""
    arrays = {name: spool.in_memory(array) for name, array in self.arrays.items()}
    return dataclasses.replace(self, **arrays)

  @property
  def slice_digests(self) -> list[tuple[str, ...]]:
    """The digests by which each slice of the target is known: `digests.known_by`."""
    scaled = self.digests["target"]
    return digests.known_by(scaled, self.unscaled or scaled)


def prepare(volume: Volume, config: DataConfig) -> Volume:
  """Checks a volume, keeps the central slices, crops and scales it, in this order.

  Args:
    volume: from its source, in any numeric type.
    config: slices_per_volume, crop and scaling.

  Returns:
    The volume in float32 or complex64; its record holds the slices kept, the crop, the
    divisor and whether the k-space is simulated. The divisor is that of the target or,
    where there is one, of the input.

  Raises:
    UserError: the arrays are empty, constant, of the wrong dimensions or type, not
      finite, clearly negative, contradict each other, or cannot be cropped.
  """
  target, clipped = _without_negatives(volume, _numbers(volume, "image", volume.target))
  arrays = {"target": target} | _measured(volume, target) | _given(volume, target)
  shape, record = target.shape[1:], dict(volume.record)
  of_coils = volume.sensitivities is not None
  if "kspace" in arrays and not of_coils:
    record["simulated_kspace"] = _is_transform_of(arrays["kspace"], target)
  count = min(config.slices_per_volume or len(target), len(target))
  start = (len(target) - count) // 2
  size, kept = _crop_size(volume, shape, config), slice(start, start + count)
  coils = {key: arrays.pop(key) for key in ("kspace", "sensitivities") if of_coils}
  for name, array in arrays.items():
    arrays[name] = crop(array[kept], size)
  unscaled = digests.of_slices(arrays["target"])
  factor = _divisor(volume, arrays["target"], config)
  if "input" in arrays:
    factor = _divisor(_as_input(volume), arrays["input"], config)
  arrays = {name: array / np.float32(factor) for name, array in arrays.items()}
  for name, array in coils.items():
    convert = functools.partial(_of_coils, size=size, factor=factor, name=name)
    arrays[name] = spool.each(array, kept, convert)
  if size != shape and record.get("simulated_kspace") is False:
    record["simulated_kspace"] = True
    cut = "K-space is that of the cropped or padded images, not the measured one."
    record["note"] = " ".join(filter(None, (record.get("note"), cut)))
  record |= untouched(target.shape, config) | {
    "negatives_set_to_0": clipped,
    "slices": [start, start + count],
    "shape": list(arrays["target"].shape),
    "scale_factor": factor,
  }
  return dataclasses.replace(volume, **arrays, unscaled=unscaled, record=record)


def untouched(shape: tuple[int, ...], config: DataConfig) -> dict[str, Any]:
  """Entries that `prepare` adds to the record of an unchanged volume [S, H, W]."""
  return {
    "stored_shape": list(shape),
    "negatives_set_to_0": 0,
    "slices": [0, shape[0]],
    "shape": list(shape),
    "scaling": config.scaling,
    "scale_factor": 1.0,
  }


def crop(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """Crops or zero-pads [S, H, W] about the centre to [S, *size]."""
  kept, pads = [slice(None)], [(0, 0)]
  for have, wanted in zip(images.shape[1:], size, strict=True):
    start, missing = max(have - wanted, 0) // 2, max(wanted - have, 0)
    kept.append(slice(start, start + wanted))
    pads.append((missing // 2, missing - missing // 2))
  images = images[tuple(kept)]
  return np.pad(images, pads) if np.any(pads) else images


def _numbers(volume, what, array):
  """The array in single precision, three-dimensional, not empty, all finite."""
  if array.dtype.kind not in "biufc":
    found = f"{what} values of type {array.dtype}"
    raise UserError(volume.file, found, "one real or complex number per pixel")
  if array.ndim != 3 or array.size == 0:
    found = f"an {what} array of shape {array.shape}"
    expected = "three dimensions (slices, rows, columns), none of them 0"
    remedy = "Store one volume per file and exclude files without slices."
    raise UserError(volume.file, found, expected, remedy)
  with np.errstate(over="ignore"):
    array = array.astype(np.complex64 if array.dtype.kind == "c" else np.float32)
  bad = array.size - int(np.isfinite(array).sum())
  if bad:
    found = f"{bad} NaN or infinite values in the {what}"
    expected = "finite numbers"
    raise UserError(volume.file, found, expected, "Correct the file, or exclude it.")
  return array


def _without_negatives(volume, target):
  """Sets the small negative values of interpolation to 0; refuses others."""
  if np.iscomplexobj(target) or target.min() >= 0:
    return target, 0
  low, high = target.min(), target.max()
  if low < -1e-3 * high:
    found = f"negative intensities down to {low:.4g} (maximum {high:.4g})"
    remedy = "Store the magnitude; a phase or real-part image cannot be a target."
    raise UserError(volume.file, found, "magnitude or complex images", remedy)
  return np.maximum(target, 0), int((target < 0).sum())


def _measured(volume, target):
  """The stored k-space and zero-filled image, checked against the target, if any."""
  if volume.sensitivities is not None:
    return _checked_coils(volume, target)
  names = {"kspace": "k-space", "zero_filled": "zero-filled image"}
  missing = [what for name, what in names.items() if name not in volume.arrays]
  if len(missing) == 2:
    return {}
  if missing:
    found = f"measured data without its {missing[0]}"
    expected = "both the k-space and the zero-filled image, or neither"
    remedy = "Store both; without either, k-space is simulated from the target."
    raise UserError(volume.file, found, expected, remedy)
  measured = {}
  for (name, what), kind in zip(names.items(), ("complex", "real"), strict=True):
    measured[name] = array = _numbers(volume, what, volume.arrays[name])
    own = "complex" if np.iscomplexobj(array) else "real"
    if array.shape != target.shape or own != kind:
      found = f"{own} {what} of shape {array.shape}"
      expected = f"{kind} numbers in the shape of the target, {target.shape}"
      remedy = "Store k-space, zero-filled magnitude and target of the same slices."
      raise UserError(volume.file, found, expected, remedy)
  again = np.abs(np.fft.ifft2(measured["kspace"], norm="ortho"))
  error = np.abs(again - measured["zero_filled"]).max()
  if error > 0.01 * max(measured["zero_filled"].max(), again.max()):
    found = f"a zero-filled image that differs from |ifft2(k-space)| by {error:.4g}"
    remedy = "Store the k-space as numpy.fft.fft2(image, norm='ortho') gives it."
    raise UserError(volume.file, found, "the orthonormal inverse FFT", remedy)
  return measured


def _checked_coils(volume, target):
  """The k-space and the sensitivities of several coils, of the target's slices."""
  arrays = {key: getattr(volume, key) for key in ("kspace", "sensitivities")}
  shapes = [np.shape(array) for array in arrays.values()]
  kinds = [getattr(array, "dtype", np.dtype(object)) for array in arrays.values()]
  slices, *size = target.shape
  is_one = len(set(shapes)) == 1 and len(shapes[0]) == 4
  fits = is_one and (shapes[0][0], *shapes[0][2:]) == target.shape
  if not fits or any(kind.kind != "c" for kind in kinds):
    pairs = zip(arrays, kinds, shapes, strict=True)
    found = " and ".join(f"{key} of type {t} and shape {s}" for key, t, s in pairs)
    expected = f"complex numbers ({slices}, coils, {size[0]}, {size[1]}) in both"
    remedy = "Store k-space and sensitivities of the same slices and coils."
    raise UserError(volume.file, found, expected, remedy)
  for name, array in arrays.items():
    if isinstance(array, np.ndarray) and not np.isfinite(array).all():
      found, expected = f"NaN or infinite values in {name}", "finite numbers"
      raise UserError(volume.file, found, expected, "Correct the file, or exclude it.")
  return arrays


def _as_input(volume: Volume) -> Volume:
  """The volume with the file of its input, for messages."""
  file = volume.record.get("input_file", f"the input of {volume.file}")
  return dataclasses.replace(volume, record={"file": file})


def _given(volume, target):
  """The given input, checked against the target, if there is one."""
  if volume.input is None:
    return {}
  own = _as_input(volume)
  image, _ = _without_negatives(own, _numbers(own, "image", volume.input))
  kinds = ["complex" if np.iscomplexobj(each) else "real" for each in (image, target)]
  if image.shape != target.shape or len(set(kinds)) > 1:
    found = f"a {kinds[0]} input of shape {image.shape}"
    expected = f"a {kinds[1]} one in the shape of its target, {target.shape}"
    remedy = f"Store the same slices as in {volume.file}, of both the magnitude or "
    raise UserError(own.file, found, expected, remedy + "of both complex images.")
  if volume.kspace is not None:
    found, expected = "an input beside measured k-space", "either"
    raise UserError(volume.file, found, expected, "Remove one of them from the file.")
  return {"input": image}


def _is_transform_of(kspace, target):
  """Whether the k-space was computed from the target, not measured.

  A scanner never measures exactly the transform of a magnitude. A complex target may be
  the transform of fully sampled measured k-space.
  """
  if np.iscomplexobj(target):
    return False
  made = np.where(kspace != 0, np.fft.fft2(target, norm="ortho"), 0)
  return bool(np.abs(made - kspace).max() <= 1e-4 * np.abs(kspace).max())


def _crop_size(volume, shape, config):
  size = tuple(config.crop)
  if size == (0, 0) or size == shape:
    return shape
  if min(size) < 1:
    expected = "two positive numbers, or (0, 0) to keep the size"
    raise ArgumentError("crop", str(size), expected)
  if volume.kspace is not None and volume.sensitivities is None:
    found = f"measured k-space of {shape}, which crop={size} would cut"
    expected = "no crop, (0, 0), where the data contains k-space"
    raise UserError(volume.file, found, expected)
  return size


def _of_coils(row: np.ndarray, size, factor: float, name: str) -> np.ndarray:
  """Crops and scales the k-space, or crops the sensitivities, of a slice [C, H, W]."""
  if name == "sensitivities":
    return crop(row, size)
  if row.shape[1:] != size:
    row = np.fft.fft2(crop(np.fft.ifft2(row, norm="ortho"), size), norm="ortho")
  return (row / np.float32(factor)).astype(np.complex64)


def _divisor(volume, target, config):
  if np.all(target == target.flat[0]):
    found = f"the same value {target.flat[0]} everywhere in the slices and crop"
    raise UserError(volume.file, found, "an image", "Exclude it, or change the crop.")
  maximum = float(np.abs(target).max())
  return 1.0 if config.scaling == "none" or is_scaled(maximum) else maximum


def is_scaled(maximum: float) -> bool:
  """Whether a volume of this maximum is already scaled, up to rounding."""
  return abs(maximum - 1) < 1e-6

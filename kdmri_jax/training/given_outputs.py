"""Images of a network that is not at hand, in files of any format."""

import functools
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from absl import logging

from kdmri_jax.config import DataConfig
from kdmri_jax.data import digests, orientation
from kdmri_jax.data.slice_set import SliceSet, to_channels
from kdmri_jax.data.sources import dicom, find_source, pictures
from kdmri_jax.data.volume import Volume, crop
from kdmri_jax.errors import UserError
from kdmri_jax.io import h5, nifti, volume_files, walk
from kdmri_jax.io.reading import split_name
from kdmri_jax.io.volume_files import PREDICTION, RESULT, StoredVolume
from kdmri_jax.training.given_stage import GivenImages
from kdmri_jax.types import Acquisition, Slices

# Times that outputs may be brighter or darker than the targets, in silence or at all.
_UNLIKE, _MOST_UNLIKE = 1.2, 4


def find(folder: str | os.PathLike) -> dict[str, pathlib.Path]:
  """The outputs in a folder: name of the volume -> its file, or folder of slices.

  Where there are h5 files, other files are not outputs. PNG, TIFF and DICOM are, where
  there are no other volumes: a file, or a folder of such files, for each volume.

  Raises:
    UserError: two of one name.
  """
  path = pathlib.Path(folder)
  if not path.is_dir():
    return {}
  kind = h5.ENDINGS if walk.files(path, h5.ENDINGS, below=False) else ()
  if kind or walk.files(path, volume_files.FORMATS, below=False):
    return volume_files.find(path, kind)
  if walk.files(path, pictures.ENDINGS, below=False):
    return volume_files.find(path, pictures.ENDINGS)
  of_slices = (pictures, dicom)
  return {
    own.name: own
    for own in walk.folders(path)
    if any(each.recognise(own) for each in of_slices)
  }


class GivenOutputs(GivenImages):
  """Images of any network, in files named like the volumes."""

  kind = "a folder of outputs"

  @functools.cached_property
  def digest(self) -> str:
    """Digest of the images."""
    arrays = []
    for path in self._files.values():
      images = np.ascontiguousarray(self._read(path).images)
      arrays += [path.name.encode(), images]
    return digests.digest(arrays)

  def covers(self, slices: SliceSet) -> bool:
    """See `GivenImages.covers`: a file for each volume."""
    return all(volume.name in self._files for volume in slices.volumes)

  def images(self, volume: Volume, channels: int) -> np.ndarray:
    """The images of a volume, float32 [S, H, W, C], scaled as its targets are.

    Raises:
      UserError: there is no file for it, or it holds other images.
    """
    path = self._files.get(volume.name)
    if path is None:
      first = next(iter(self._files.values()))
      found = f"{self.text!r} without {volume.name}{split_name(first)[1]}"
      expected = "an output for every training and validation volume of its students"
      remedy = "Reconstruct that volume, too, or exclude it from the data."
      raise UserError(self.where, found, expected, remedy)
    stored = self._read(path)
    images = _cut(path, stored.images, volume)
    if np.iscomplexobj(images) != (channels == 2):
      found, expected = ("real", "complex")[:: 1 if channels == 2 else -1]
      raise UserError(path, f"{found} images", f"{expected} ones, as in this run")
    images = images / _divisor(path, images, stored.units, volume)
    _refuse_turned(path, images, volume)
    return to_channels(images, channels).astype(np.float32)

  def check(self, slices: SliceSet, part: int, one: Slices, by: Acquisition) -> None:
    """See `GivenImages.check`: reads all files."""
    self.of_part(slices, part, one, by)

  def of_part(
    self,
    slices: SliceSet,
    part: int,
    rows: Slices,
    by: Acquisition,
    hidden: Sequence[str] = (),
  ) -> dict[str, np.ndarray]:
    """See `GivenImages.of_part`; raises errors as `images`."""
    channels = slices.parts[part].target.shape[-1]
    found = [self.images(volume, channels) for volume, _ in slices.of_part(part)]
    return {"image": np.concatenate(found)}

  @functools.cached_property
  def _files(self) -> dict[str, pathlib.Path]:
    return find(self.text)

  def _read(self, path: pathlib.Path) -> StoredVolume:
    if pictures.recognise(path):
      return StoredVolume(pictures.read(path, DataConfig(root=str(path))).target)
    if path.is_dir():
      config = DataConfig(source="dicom", root=str(path))
      return StoredVolume(dicom.SOURCE.read_folder(path, config).target)
    stored = volume_files.read_numbers(path, PREDICTION)
    if not stored.fits:
      found = f"the array {stored.key!r} and no {RESULT}"
      raise UserError(path, found, f"the array {RESULT} [slices, rows, columns]")
    return stored


def _cut(path: pathlib.Path, images: np.ndarray, volume: Volume) -> np.ndarray:
  """The slices of a volume, cropped as it is.

  Raises:
    UserError: the images have neither the shape of the volume nor that of its file.
  """
  record, shape = volume.record, tuple(volume.target.shape)
  source = (record.get("prepared_from") or record).get("source")
  if split_name(path)[1] in nifti.ENDINGS and source:
    axes = find_source(source).axes  # as the file of the volume has them
    images = images.transpose(nifti.SLICES_LAST).transpose(np.argsort(axes))
  whole = tuple(record.get("stored_shape", shape))
  if images.shape not in (shape, whole):
    expected = f"{shape}, the shape of the volume in this run"
    if whole != shape:
      expected += f", or {whole}, that of its file"
    raise UserError(path, f"images of shape {images.shape}", expected)
  if images.shape == shape:
    return images
  return crop(images[slice(*record["slices"])], shape[1:])


def _refuse_turned(path: pathlib.Path, images: np.ndarray, volume: Volume) -> None:
  """Refuses images that fit the targets far better mirrored or turned.

  A program may have stored them in another orientation, or slices in another order.
  """
  magnitudes = (np.abs(array).astype(float) for array in (volume.target[:], images))
  if turned := orientation.better(*magnitudes):
    found = f"images that fit the volume {volume.name} far better {turned}"
    remedy = "Store them in the order of the volume's own file."
    raise UserError(path, found, "its slices, rows and columns in its order", remedy)


def _divisor(
  path: pathlib.Path, images: np.ndarray, units: str, volume: Volume
) -> float:
  """The divisor that gives the images the scale of the volume in this run.

  Files that `kdmri reconstruct` wrote state that they are in the units of their input.
  Others are either in these or in the scale of the run, whichever is nearer. Whole
  numbers that are in neither are fitted to the targets.

  Raises:
    UserError: they are in neither, or each slice has a scale of its own.
  """
  of_file = volume.record.get("scale_factor", 1.0)
  if units == "file":
    return of_file
  target = np.linalg.norm(volume.target[:])
  found = np.linalg.norm(images.astype(np.result_type(images, np.float32))) / target
  apart = {d: abs(np.log(found / d)) if found else np.inf for d in (1.0, of_file)}
  divisor = min(apart, key=apart.get)
  if found and apart[divisor] > np.log(_UNLIKE) and images.dtype.kind in "iu":
    return _fitted(path, images, volume)
  if apart[divisor] > np.log(_MOST_UNLIKE):
    found = f"images {found:.3g} times as bright as the volume in this run"
    expected = "the scale of this run (1)"
    if of_file != 1:
      expected += f", or the units of the volume's file ({of_file:.3g})"
    remedy = "Undo the scaling of the program that wrote them, or write them as "
    remedy += "floating-point numbers (.npy, .h5, .nii) in one of these scales."
    raise UserError(path, found, expected, remedy)
  if apart[divisor] > np.log(_UNLIKE):
    text = (
      "%s: images %.3g times as bright as the volume. If a program has scaled them, "
    )
    text += "undo it: the student learns their brightness."
    logging.warning(text, path, found / divisor)
  return divisor


def _fitted(path: pathlib.Path, images: np.ndarray, volume: Volume) -> float:
  """The divisor of whole numbers that fits them best to the targets of their volume.

  Raises:
    UserError: the slices have scales of their own.
  """
  values, target = images.astype(float), np.abs(volume.target[:]).astype(float)
  square = np.square(values).sum(axis=(1, 2))
  with np.errstate(divide="ignore", invalid="ignore"):
    of_slices = square / (values * target).sum(axis=(1, 2))
  of_slices = of_slices[square > square.max() / 100]
  if of_slices.max() > _UNLIKE * of_slices.min():
    found = "slices that were scaled one by one: they are between "
    found += f"{of_slices.min():.3g} and {of_slices.max():.3g} times as bright as the "
    found += "volume in this run"
    remedy = "Write them with one scale for the volume, or as floating-point numbers."
    raise UserError(path, found, "one scale for the volume", remedy)
  divisor = square.sum() / (values * target).sum()
  text = "%s: its grey values, whole numbers of an unknown unit, are divided by %.5g, "
  logging.info(text + "which fits them to the targets of their volume", path, divisor)
  return divisor

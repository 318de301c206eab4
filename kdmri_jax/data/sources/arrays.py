"""Plain arrays in h5 and npy files, without a data set's layout."""

import pathlib

from kdmri_jax.config import DataConfig
from kdmri_jax.data.measured import Measured
from kdmri_jax.data.source import Scan, Source, by_ending
from kdmri_jax.data.sources import nifti
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.io import h5
from kdmri_jax.io.numpy_files import read_npy, read_npz


def read_images(path: pathlib.Path) -> Volume:
  """Reads fully sampled images from NIfTI, NumPy archives or h5.

  Args:
    path: .nii, .nii.gz, .npz with "image", or .h5 with one of `io.h5.IMAGE_KEYS`.

  Returns:
    The volume as stored; its record names the file.

  Raises:
    UserError: no such file, another type of file, a damaged one, or none of the keys.
  """
  if not path.is_file():
    raise UserError(path, "no such file", "an image or k-space file")
  if path.name.endswith((".nii", ".nii.gz")):
    return nifti.read_file(path)
  record = {"file": str(path)}
  if path.suffix == ".npz":
    images, _ = read_npz(path)
    return Volume(path.stem, path.stem, images, record=record)
  images, record["key"], header = h5.read_images(path)
  return Volume(path.stem, path.stem, images, record=record, header=header)


def read_scan_h5(path: pathlib.Path, config: DataConfig) -> Scan:
  """Undersampled k-space of an h5 file, or its images if it has no k-space.

  Args:
    path: see `io.h5.read_kspace` and `io.h5.read_images`.
    config: its `acceleration_tag` selects the k-space from several.

  Raises:
    UserError: the file holds neither, or is damaged.
  """
  kspace = h5.read_kspace(path, config.acceleration_tag)
  if kspace is None:
    return read_images(path)
  return Measured(kspace, None, {"file": str(path)})


def read_scan_npy(path: pathlib.Path, config: DataConfig) -> Scan:
  """One array of images or undersampled k-space.

  Args:
    path: the file, [S, H, W] or [H, W].
    config: its `contrast` is "kspace" or "image"; "" for real numbers, which are an
      image.

  Raises:
    ArgumentError: another `contrast`, or none for complex numbers.
    UserError: a damaged file, or k-space that is not complex or finite.
  """
  array = read_npy(path)
  array = array[None] if array.ndim == 2 else array
  expected = "'kspace' (zero frequency at [0, 0]) or 'image'"
  if config.contrast not in ("", "kspace", "image"):
    raise ArgumentError("contrast", repr(config.contrast), f"{expected} for .npy")
  if array.dtype.kind == "c" and not config.contrast:
    found = f"'' for {path}: complex numbers, which may be k-space or images"
    raise ArgumentError("contrast", found, expected)
  if config.contrast == "kspace":
    kspace = h5.checked_kspace(path, "an array", array)
    return Measured(kspace, None, {"file": str(path)})
  return Volume(path.stem, path.stem, array, record={"file": str(path)})


H5 = Source(None, files="h5", recognise=by_ending(".h5", ".hdf5"), read=read_scan_h5)
NPY = Source(
  None,
  takes=("contrast",),
  files=".npy",
  recognise=by_ending(".npy"),
  read=read_scan_npy,
)

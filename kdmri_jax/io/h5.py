"""HDF5 files: their datasets, plain images and k-space, and the header of raw data."""

import contextlib
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import h5py
import numpy as np

from kdmri_jax import json_text
from kdmri_jax.errors import UserError
from kdmri_jax.io import h5_check, layout
from kdmri_jax.io.reading import reading, refuse_memory
from kdmri_jax.saving import replacing

ENDINGS = (".h5", ".hdf5")
IMAGE_KEYS = ("target", "volfs", "reconstruction_rss", "reconstruction_esc")
_HEADER = "ismrmrd_header"
_CHECKSUMS = "kdmri_jax_crc32"  # attribute of datasets that `write_h5` wrote


class RawHeader(NamedTuple):
  """Metadata of a raw data file.

  It is copied only to h5 files, together with the volume, because it may name the
  patient.

  Attributes:
    text: XML of the ISMRMRD header; "" where there is none.
    attributes: those of the h5 file, as texts, numbers or lists of them.
  """

  text: str = ""
  attributes: Mapping[str, Any] = {}


NO_HEADER = RawHeader()


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[h5py.File]:
  """Opens a file to read it; its datasets are in it, and as large as they claim.

  Args:
    path: the file.

  Raises:
    UserError: it is damaged, a part of it is in another file (an external link, an
      external storage, a virtual dataset), a dataset has far fewer bytes in the file
      than it claims, the HDF5 library does not survive it, see `h5_check`, or
      attributes have changed since `write_h5` wrote them. Also for any exception in the
      block, see `reading`.
  """
  with reading(path):
    h5_check.check(path)
    with h5py.File(path) as file:
      for key in file:
        if isinstance(part := file.get(key), h5py.Dataset):
          _refuse_changed(path, file, part)
      yield file


def _refuse_changed(path, file, part) -> None:
  for name, known in json_text.loads(part.attrs.get(_CHECKSUMS, "{}")).items():
    if name in {*file, *file.attrs} and _checksum(file, name) != known:
      remedy = "Restore the file from a backup, or make it again. If you changed it "
      remedy += f"yourself, delete {_CHECKSUMS!r} of the dataset {part.name!r}."
      raise UserError(path, f"{name!r} changed", "what kdmri_jax wrote there", remedy)


def h5_array(file: h5py.File, key: str) -> np.ndarray:
  """One dataset of an open h5 file.

  HDF5 has no complex numbers; pairs of "real" and "imag", as MATLAB and ISMRMRD store
  them, become some.

  Raises:
    UserError: the key is missing; the message lists the keys that there are.
  """
  dataset = h5_dataset(file, key)
  refuse_memory(file.filename, dataset.shape or (), dataset.dtype.itemsize)
  array = np.asarray(dataset[()])
  if not is_pair(array.dtype):
    return array
  joined = np.empty(array.shape, np.result_type(array.dtype["real"], np.complex64))
  joined.real, joined.imag = array["real"], array["imag"]
  return joined


def is_pair(dtype: np.dtype) -> bool:
  """Whether values are pairs of real and imaginary part."""
  return dtype.names == ("real", "imag")


def h5_dataset(file: h5py.File, key: str) -> h5py.Dataset:
  """As `h5_array`, but nothing is read yet: index it to read a part."""
  if not isinstance(file.get(key), h5py.Dataset):
    found = f"no dataset {key!r} (the keys are: {', '.join(sorted(file)) or 'none'})"
    remedy = "Check that the file belongs to this data source and this acceleration."
    raise UserError(file.filename, found, f"a dataset {key!r}", remedy)
  return file[key]


def read_images(path: pathlib.Path) -> tuple[np.ndarray, str, RawHeader]:
  """Reads the images of a file without a data set's layout.

  Args:
    path: with a dataset named in `IMAGE_KEYS`, (slices, rows, columns), except "volfs"
      of the published code, (rows, columns, slices).

  Returns:
    The images [S, H, W], the name of the dataset, and the raw data header in the group
    `header` of a prepared volume.

  Raises:
    UserError: a damaged file, none of the keys, or another layout, see `layout`.
  """
  with opened(path) as file:
    key = first_key(path, IMAGE_KEYS, file)
    images = _slices_first(h5_array(file, key), key == "volfs")
    if key != "volfs":
      layout.refuse_pairs(path, repr(key), images)
    layout.refuse_transposed(path, repr(key), images.shape)
    return images, key, read_header(file.get("header"), path)


def read_input(path: pathlib.Path) -> np.ndarray | None:
  """The images [S, H, W] that a file gives beside its target as `input`, or None."""
  with opened(path) as file:
    return h5_array(file, "input") if "input" in file else None


def first_key(path: pathlib.Path, keys: Sequence[str], there: Iterable[str]) -> str:
  """The first of the names of arrays that a file has.

  Raises:
    UserError: it has none of them; the message lists those that there are.
  """
  there = list(there)
  for key in keys:
    if key in there:
      return key
  raise UserError(path, f"the keys {', '.join(there) or 'none'}", " or ".join(keys))


def read_kspace(path: pathlib.Path, tag: str) -> np.ndarray | None:
  """Reads undersampled k-space, or None where the file has none.

  Args:
    path: with "kspace" (slices, rows, columns) or, as in the published code,
      "kspace_volus_*" (rows, columns, slices); zero frequency at [0, 0].
    tag: suffix to select from several "kspace_volus_*", such as "4x".

  Returns:
    complex64 [S, H, W].

  Raises:
    UserError: a damaged file, several "kspace_volus_*" of other tags, real numbers,
      NaN, or another number of dimensions.
  """
  with opened(path) as file:
    key = _kspace_key(file, tag)
    if not key:
      return None
    kspace = _slices_first(h5_array(file, key), key != "kspace")
  return checked_kspace(path, key, kspace)


def checked_kspace(path: pathlib.Path, key: str, kspace: np.ndarray) -> np.ndarray:
  """The array as complex64.

  Args:
    path: its file.
    key: its name in the message.
    kspace: the array.

  Raises:
    UserError: it is not [S, H, W], complex and finite, or fits another layout.
  """
  layout.refuse_pairs(path, key, kspace)
  layout.refuse_transposed(path, key, kspace.shape)
  if kspace.ndim != 3 or kspace.dtype.kind != "c" or not np.isfinite(kspace).all():
    found = f"{key} of type {kspace.dtype} and shape {kspace.shape}, or with NaN"
    expected = "finite complex numbers (slices, rows, columns)"
    remedy = "Several coils are read by the sources of raw data, such as fastmri."
    raise UserError(path, found, expected, remedy)
  layout.refuse_centred(path, key, kspace)
  return kspace.astype(np.complex64)


def write_h5(
  path: pathlib.Path, arrays: Mapping[str, np.ndarray], header: RawHeader = NO_HEADER
) -> None:
  """Writes arrays and the header of raw data completely, or not at all.

  HDF5 compares what it reads with checksums: of arrays (the filter fletcher32) and of
  its own structures (since version 1.10). It has none of texts, so each array has those
  of attributes and header, which `opened` compares.

  Raises:
    UserError: the file cannot be written.
  """
  versions = "v110", "v110"
  with (
    replacing(path) as temporary,
    h5py.File(temporary, "w", libver=versions) as file,
  ):
    for key, array in arrays.items():
      chunk = array.shape if array.ndim < 3 else (1, *array.shape[1:])
      file.create_dataset(key, data=array, chunks=chunk, fletcher32=True)
    write_header(file, header)
    texts = [*file.attrs, *(file.keys() - arrays.keys())]
    checksums = {name: _checksum(file, name) for name in texts}
    for key in arrays:
      file[key].attrs[_CHECKSUMS] = json_text.dumps(checksums)


def _checksum(file: h5py.File, name: str) -> str:
  """Checksum of an attribute, or of the header's text."""
  value = file.attrs[name] if name in file.attrs else file[name][()]
  return json_text.checksum(plain(value))


def read_header(group: h5py.Group | None, path: pathlib.Path) -> RawHeader:
  """The header of an open file of fastMRI, or of the group that `write_header` filled.

  Args:
    group: the file or group; other objects have no header.
    path: its file, for the message.

  Raises:
    UserError: `ismrmrd_header` is not text.
  """
  if not isinstance(group, h5py.Group):
    return NO_HEADER
  stored = group.get(_HEADER, "")
  text = plain(stored[()]) if isinstance(stored, h5py.Dataset) else stored
  if not isinstance(text, str):
    found = f"{_HEADER!r} that is not text"
    expected = "the XML text of an ISMRMRD header"
    raise UserError(path, found, expected, "Check that the file is one of fastMRI.")
  return RawHeader(text, {name: plain(value) for name, value in group.attrs.items()})


def write_header(group: h5py.Group, header: RawHeader) -> None:
  """Writes a header in the layout of fastMRI: one dataset and the attributes."""
  if header.text:
    group[_HEADER] = header.text
  for name, value in header.attributes.items():
    group.attrs[name] = value


def plain(value: Any) -> Any:
  """An attribute of h5 as JSON-compatible value."""
  if isinstance(value, bytes):
    return value.decode(errors="replace")
  if isinstance(value, np.generic | np.ndarray):
    return plain(value.item()) if value.size == 1 else value.tolist()
  return value if isinstance(value, str | int | float | bool) else str(value)


def _slices_first(array: np.ndarray, are_last: bool) -> np.ndarray:
  return np.moveaxis(np.atleast_3d(array), 2, 0) if are_last else array


def _kspace_key(file: h5py.File, tag: str) -> str | None:
  tagged = [key for key in file if key.startswith("kspace_volus_")]
  for key in ("kspace", f"kspace_volus_{tag}"):
    if key in file:
      return key
  if len(tagged) > 1:
    found = f"several k-spaces, {', '.join(tagged)}"
    expected = f"one of them, or kspace_volus_{tag}, of the requested acceleration"
    remedy = "Leave one in the file, or use a run of its acceleration."
    raise UserError(file.filename, found, expected, remedy)
  return tagged[0] if tagged else None

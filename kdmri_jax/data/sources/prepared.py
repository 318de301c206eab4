"""Prepared volumes: one h5 file each, written once, read by every experiment."""

import errno
import io
import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator

import h5py
import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.data import digests, stored
from kdmri_jax.data.folders import SPLITS, files_of, root_folder, subject_of, wanted
from kdmri_jax.data.montage import montage_png
from kdmri_jax.data.source import FILE, SUBJECT, Source
from kdmri_jax.data.sources import arrays
from kdmri_jax.data.volume import Volume, is_scaled, untouched
from kdmri_jax.errors import UserError
from kdmri_jax.io.h5 import NO_HEADER, h5_array, read_header, write_header
from kdmri_jax.io.reading import reading
from kdmri_jax.physics.masks import coverage

_ARRAYS = ("target", "kspace", "zero_filled")
_PEAK = "kspace_peak"  # to check a mask without reading all of k-space
_PICTURE = 160  # pixels along the longer side in the montage


def volumes(config: DataConfig) -> Iterator[Volume]:
  """Reads the *.h5 files of a flat folder, in the order of their names.

  A file has the dataset `target`, [S, H, W], float32 or complex64, optionally `kspace`
  and `zero_filled`, and the attributes `subject` (the file name where absent), `split`
  ("" or absent for none) and `record` (JSON). A group `header` holds header and
  attributes of a raw data file.

  Where all volumes together need more than `config.memory_mb`, their arrays stay in the
  files. Then they are used as written by `write_folder`, with its digests, and cannot
  be cropped, cut or scaled.

  Raises:
    UserError: no file, a damaged one, a missing key or an unknown split; or a volume
      that must stay in its file and cannot be used unchanged.
  """
  root = root_folder(config)
  paths = files_of(root, [".h5"], "volumes written by `kdmri prepare`", below=False)
  paths = [path for path in paths if wanted(config, path.stem)]
  stay = sum(map(_bytes, paths)) > config.memory_mb * 2**20
  if stay:
    stored.require_grain()
  for path in paths:
    yield _read(config, path, stay)


def write_folder(
  items: Iterable[Volume], out: pathlib.Path, settings: dict
) -> list[str]:
  """Writes volumes, `prepared.json` and `montage.png` into a new folder, or nothing.

  Everything is written beside `out` first and renamed when it is complete.

  Args:
    items: the volumes; only one at a time is in memory.
    out: the folder; must not exist or be empty.
    settings: recorded in `prepared.json`.

  Returns:
    The names of the volume files without ".h5": the volumes' own names, preceded by
    their split where two volumes have the same name.

  Raises:
    UserError: `out` is not empty, names collide, or the disk is full.
  """
  out = out.expanduser().resolve()
  if out.exists() and (not out.is_dir() or any(out.iterdir())):
    found = "existing files there"
    remedy = "Choose another folder; nothing was overwritten."
    raise UserError(out, found, "a folder that does not exist yet or is empty", remedy)
  partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
  try:
    partial.mkdir(parents=True)
    names = _write_all(items, partial, settings)
    os.replace(partial, out)
  except OSError as error:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    found = f"that it cannot be written ({error.strerror or error})"
    expected = "enough space" if full else "a folder that can be written"
    remedy = "Free some space or choose another folder; no files were left behind."
    raise UserError(out, found, expected, remedy) from error
  finally:
    shutil.rmtree(partial, ignore_errors=True)
  return names


def _write_all(items, folder, settings):
  entries, pictures = [], []
  for k, volume in enumerate(items):
    (folder / f"{k}.tmp").write_bytes(_h5_bytes(volume))
    entries.append((volume.name, volume.split, volume.subject, volume.record))
    middle = np.abs(volume.target[len(volume.target) // 2])
    step = -(-max(middle.shape) // _PICTURE)
    shade = np.uint8(255 * middle / max(middle.max(), 1e-12))
    pictures.append(shade[::step, ::step].copy())
  names = _unique_names(entries)
  for k, name in enumerate(names):
    os.replace(folder / f"{k}.tmp", folder / f"{name}.h5")
  listed = [
    {"name": name, "subject": subject, "split": split, **record}
    for name, (_, split, subject, record) in zip(names, entries, strict=True)
  ]
  text = json.dumps({"settings": settings, "volumes": listed}, indent=2)
  (folder / "prepared.json").write_text(text + "\n")
  (folder / "montage.png").write_bytes(montage_png(names, pictures))
  return names


def _unique_names(entries):
  names = [name for name, *_ in entries]
  if len(set(names)) < len(names):
    names = [f"{split}_{name}" if split else name for name, split, *_ in entries]
  first = {}
  for name, (*_, record) in zip(names, entries, strict=True):
    other = first.setdefault(name, record)
    if other is not record:
      found = f"the volume name {name!r}, which {other.get('file', name)} has too"
      expected = "different names, because files are named by them"
      remedy = "Rename one of the files."
      raise UserError(record.get("file", name), found, expected, remedy)
  return names


def _h5_bytes(volume: Volume) -> memoryview:
  buffer = io.BytesIO()
  with h5py.File(buffer, "w") as file:
    for key in _ARRAYS:
      if getattr(volume, key) is not None:
        file[key] = getattr(volume, key)
        file[f"digests/{key}"] = [d.encode() for d in digests.add(volume).digests[key]]
    if volume.kspace is not None:
      file[_PEAK] = coverage.peak_of(volume.kspace)
      file[f"digests/{_PEAK}"] = digests.of_slices(file[_PEAK][()][None])[0].encode()
    file.attrs["maximum"] = float(np.abs(volume.target).max())
    file.attrs["subject"] = volume.subject
    file.attrs["split"] = volume.split or ""
    file.attrs["record"] = json.dumps(volume.record)
    if volume.header != NO_HEADER:
      write_header(file.create_group("header"), volume.header)
  return buffer.getbuffer()


def _bytes(path) -> int:
  with reading(path), h5py.File(path) as file:
    arrays = [file[key] for key in _ARRAYS if isinstance(file.get(key), h5py.Dataset)]
    return sum(array.size * array.dtype.itemsize for array in arrays)


def _read(config, path, stay: bool):
  found, peak = {}, None
  with reading(path), h5py.File(path) as file:
    if stay:
      peak = _peak(path, file)
      found = _digests(config, path, file)
      take = lambda key: stored.of_file(path, file[key], found[key])  # noqa: E731
    else:
      take = lambda key: h5_array(file, key)  # noqa: E731
    target = take("target")
    kspace, zero_filled = (
      take(key) if key in file else None for key in ("kspace", "zero_filled")
    )
    subject = str(file.attrs.get("subject", path.stem))
    unit = SUBJECT if "subject" in file.attrs else FILE
    split = str(file.attrs.get("split", "")) or None
    kept = read_header(file.get("header"), path)
    earlier = json.loads(file.attrs.get("record", "{}"))
    if not isinstance(earlier, dict):
      raise ValueError("the attribute `record` is no JSON object")
  if split not in (None, *SPLITS):
    expected = f"one of {', '.join(SPLITS)}, or an empty text"
    remedy = "Correct the attribute `split` of the file."
    raise UserError(path, f"the split {split!r}", expected, remedy)
  record = {"file": str(path), "prepared_from": earlier}
  record["simulated_kspace"] = earlier.get("simulated_kspace", kspace is None)
  record["note"] = earlier.get("note")
  record["unit"] = SUBJECT if config.subject_pattern else earlier.get("unit", unit)
  if stay:
    record |= untouched(target.shape, config)
  subject = subject_of(config, path, subject)
  return Volume(
    path.stem, subject, target, kspace, zero_filled, split, record, found, kept, peak
  )


def _peak(path, file) -> np.ndarray | None:
  """The record of the sampled points of the file's k-space, if there is one."""
  if _PEAK not in file:
    return None
  peak = h5_array(file, _PEAK)
  if digests.of_slices(peak[None])[0].encode() != file[f"digests/{_PEAK}"][()]:
    found = f"{_PEAK!r}, which has changed since"
    expected = "the file as `kdmri prepare` wrote it"
    raise UserError(path, found, expected, "Prepare the data again.")
  return peak


def _digests(config, path, file) -> dict[str, tuple[str, ...]]:
  """The digests of a file whose arrays stay in it; refuses it if it needs changes."""
  digests = {
    key: tuple(digest.decode() for digest in file[f"digests/{key}"])
    for key in _ARRAYS
    if key in file and f"digests/{key}" in file
  }
  arrays = {key: file[key] for key in _ARRAYS if key in file}
  size = getattr(arrays.get("target"), "shape", ())
  found = "no digests of its slices"
  if set(digests) == set(arrays) and digests:
    crop, keep = tuple(config.crop), config.slices_per_volume
    maximum = file.attrs.get("maximum")
    types = {str(array.dtype) for array in arrays.values()}
    if not types <= {"float32", "complex64"}:
      found = f"values of type {', '.join(sorted(types))}"
    elif any(array.shape != size for array in arrays.values()) or len(size) != 3:
      found = f"arrays of shape {', '.join(str(a.shape) for a in arrays.values())}"
    elif any(len(each) != size[0] for each in digests.values()):
      found = f"{size[0]} slices and another number of digests"
    elif crop not in ((0, 0), size[1:]):
      found = f"slices of {size[1:]}, to be cropped to {crop}"
    elif 0 < keep < size[0]:
      found = f"{size[0]} slices, of which {keep} are to be used"
    elif config.scaling == "volume_max" and not is_scaled(maximum or 0):
      found = f"a maximum of {maximum}, to be scaled to 1"
    else:
      return digests
  found += f", in a folder that takes more memory than memory_mb={config.memory_mb}"
  expected = "volumes prepared with this crop, slices_per_volume and scaling"
  remedy = "Prepare them again with these settings, or raise memory_mb."
  raise UserError(path, found, expected, remedy)


SOURCE = Source(volumes, read=arrays.read_scan_h5)

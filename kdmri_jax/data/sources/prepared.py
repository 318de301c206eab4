"""Prepared volumes: one h5 file each, written once, read by every experiment."""

import io
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence

import h5py
import numpy as np

from kdmri_jax import json_text
from kdmri_jax.config import DataConfig
from kdmri_jax.data import digests, folders, stored
from kdmri_jax.data.source import FILE, SUBJECT, Source
from kdmri_jax.data.sources import arrays
from kdmri_jax.data.volume import ARRAYS, Volume, is_scaled, untouched
from kdmri_jax.errors import UserError
from kdmri_jax.io.h5 import (
  ENDINGS,
  NO_HEADER,
  h5_array,
  opened,
  read_header,
  write_header,
)
from kdmri_jax.physics.masks import coverage
from kdmri_jax.saving import make_folder, new_folder, replacing, require_space

_PEAK = "kspace_peak"  # to check a mask without reading all of k-space
_MARGIN = 2**24  # bytes for what a file holds beside its arrays
_MOST_PICTURES = 36
_PICTURE = 160  # pixels along the longer side in the montage


def volumes(config: DataConfig) -> Iterator[Volume]:
  """Reads the *.h5 files of a flat folder, in the order of their names.

  A file has the dataset `target`, [S, H, W], float32 or complex64, optionally `kspace`
  and `zero_filled` or, of several coils, `kspace` and `sensitivities` [S, C, H, W], or
  `input`, which is measured in place of the target, and the attributes `subject` (the
  file name where absent), `split` ("" or absent for none) and `record` (JSON). A group
  `header` holds header and attributes of a raw data file.

  Where all volumes together need more than `config.memory_mb`, their arrays stay in the
  files. Then they are used as written by `write_folder`, with its digests, and cannot
  be cropped, cut or scaled.

  Raises:
    UserError: no file, a damaged one, a missing key or an unknown split; or a volume
      that must stay in its file and cannot be used unchanged.
  """
  root = folders.root_folder(config)
  holding = "volumes written by `kdmri prepare`"
  paths = folders.files_of(root, ENDINGS, holding, below=False)
  paths = [path for path in paths if folders.wanted(config, path.stem)]
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
  out = new_folder(out.expanduser())
  make_folder(out.parent)
  with replacing(out) as partial:
    partial.mkdir()
    return _write_all(items, partial, settings)


def _write_all(items, folder, settings):
  listed, pictures = [], []
  for k, volume in enumerate(items):
    _write_h5(folder / f"{k}.tmp", volume)
    entry = {"name": volume.name, "subject": volume.subject, "split": volume.split}
    listed.append(entry | volume.record)
    shown = [volume.target] if volume.input is None else [volume.input, volume.target]
    middle = np.hstack([np.abs(images[len(images) // 2]) for images in shown])
    step = -(-max(middle.shape) // _PICTURE)
    shade = np.uint8(255 * middle / max(middle.max(), 1e-12))
    pictures.append(shade[::step, ::step].copy())
  if len({entry["name"] for entry in listed}) < len(listed):
    for entry in listed:
      entry["name"] = "_".join(filter(None, (entry["split"], entry["name"])))
  names = [entry["name"] for entry in listed]
  files = [entry.get("file", entry["name"]) for entry in listed]
  folders.refuse_equal_names(names, files)
  for k, name in enumerate(names):
    os.replace(folder / f"{k}.tmp", folder / f"{name}.h5")
  text = json_text.dumps({"settings": settings, "volumes": listed}, indent=2)
  (folder / "prepared.json").write_text(text + "\n")
  (folder / "montage.png").write_bytes(_montage_png(names, pictures))
  return names


def _write_h5(path: pathlib.Path, volume: Volume) -> None:
  """Writes a volume slice by slice.

  The file is made in memory, because the HDF5 library does not survive a full disk.
  Coils would take too much: their file is written directly, if there is room for it.
  """
  known, buffer = volume.with_digests().digests, io.BytesIO()
  of_coils = volume.sensitivities is not None
  if of_coils:
    size = sum(array.nbytes for array in volume.arrays.values())
    require_space(path.parent, size + _MARGIN)
  with h5py.File(path if of_coils else buffer, "w") as file:
    for key, array in volume.arrays.items():
      dataset = file.create_dataset(key, array.shape, array.dtype)
      for k, row in enumerate(array):
        dataset[k] = row
      file[f"digests/{key}"] = [digest.encode() for digest in known[key]]
    if volume.kspace is not None and volume.sensitivities is None:
      file[_PEAK] = coverage.peak_of(volume.kspace)
      file[f"digests/{_PEAK}"] = digests.of_slices(file[_PEAK][()][None])[0].encode()
    scaled = volume.target if volume.input is None else volume.input
    file.attrs["maximum"] = float(np.abs(scaled).max())
    file.attrs["subject"] = volume.subject
    file.attrs["split"] = volume.split or ""
    file.attrs["record"] = json_text.dumps(volume.record)
    if volume.header != NO_HEADER:
      write_header(file.create_group("header"), volume.header)
  if not of_coils:
    path.write_bytes(buffer.getbuffer())


def _bytes(path) -> int:
  with opened(path) as file:
    arrays = [file[key] for key in ARRAYS if isinstance(file.get(key), h5py.Dataset)]
    return sum(array.size * array.dtype.itemsize for array in arrays)


def _read(config, path, stay: bool):
  found, peak = {}, None
  with opened(path) as file:
    there = [key for key in ARRAYS if key in file or key == "target"]
    if stay:
      peak, found = _peak(path, file), _digests(config, path, file)
      arrays = {key: stored.of_file(path, file[key], found[key]) for key in there}
    else:
      arrays = {key: h5_array(file, key) for key in there}
    subject = str(file.attrs.get("subject", path.stem))
    unit = SUBJECT if "subject" in file.attrs else FILE
    split = str(file.attrs.get("split", "")) or None
    kept = read_header(file.get("header"), path)
    earlier = json_text.loads(file.attrs.get("record", "{}"))
    if not isinstance(earlier, dict):
      raise ValueError("the attribute `record` is no JSON object")
  if split not in (None, *folders.SPLITS):
    expected = f"one of {', '.join(folders.SPLITS)}, or an empty text"
    remedy = "Correct the attribute `split` of the file."
    raise UserError(path, f"the split {split!r}", expected, remedy)
  record = {
    "file": str(path),
    "prepared_from": earlier,
    "simulated_kspace": earlier.get("simulated_kspace", "kspace" not in arrays),
    "note": earlier.get("note"),
    "unit": SUBJECT if config.subject_pattern else earlier.get("unit", unit),
  }
  if stay:
    record |= untouched(arrays["target"].shape, config)
  subject = folders.subject_of(config, path, subject)
  more = {"record": record, "digests": found, "header": kept, "peak": peak}
  return Volume(path.stem, subject, **arrays, split=split, **more)


def _peak(path, file) -> np.ndarray | None:
  """The record of the sampled points of the file's k-space, if there is one."""
  if _PEAK not in file:
    return None
  peak = h5_array(file, _PEAK)
  if digests.of_slices(peak[None])[0].encode() != file[f"digests/{_PEAK}"][()]:
    raise stored.changed(path, repr(_PEAK))
  return peak


def _digests(config, path, file) -> dict[str, tuple[str, ...]]:
  """The digests of a file whose arrays stay in it; refuses it if it needs changes."""
  arrays = {key: file[key] for key in ARRAYS if key in file}
  digests = {
    key: tuple(digest.decode() for digest in file[f"digests/{key}"])
    for key in arrays
    if f"digests/{key}" in file
  }
  shapes = [array.shape for array in arrays.values()]
  types = {str(array.dtype) for array in arrays.values()}
  keep, maximum = config.slices_per_volume, file.attrs.get("maximum")
  size = shapes[0] if "target" in arrays else ()
  if "sensitivities" in arrays:  # without the axis of the coils, if it is the same
    maps = arrays["sensitivities"].shape
    same = len(maps) == 4 and maps == getattr(arrays.get("kspace"), "shape", ())
    shapes = [(s[0], *s[2:]) if same and s == maps else s for s in shapes]
  if not digests or len(digests) < len(arrays):
    found = "no digests of its slices"
  elif not types <= {"float32", "complex64"}:
    found = f"values of type {', '.join(sorted(types))}"
  elif set(shapes) != {size} or len(size) != 3:
    found = f"arrays of shape {', '.join(map(str, shapes))}"
  elif any(len(each) != size[0] for each in digests.values()):
    found = f"{size[0]} slices and another number of digests"
  elif tuple(config.crop) not in ((0, 0), size[1:]):
    found = f"slices of {size[1:]}, to be cropped to {tuple(config.crop)}"
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


def _montage_png(labels: Sequence[str], images: Sequence[np.ndarray]) -> bytes:
  """Draws up to 36 images, evenly chosen, as a labelled sheet.

  Args:
    labels: one text per image.
    images: two-dimensional arrays of any shape, each shown on its own grey scale.

  Returns:
    A PNG file.
  """
  from matplotlib.figure import Figure

  count = min(len(images), _MOST_PICTURES)
  chosen = np.unique(np.linspace(0, len(images) - 1, count).astype(int))
  columns = int(np.ceil(np.sqrt(len(chosen))))
  rows = int(np.ceil(len(chosen) / columns))
  figure = Figure(figsize=(2 * columns, 2.2 * rows), layout="constrained")
  axes = figure.subplots(rows, columns, squeeze=False).ravel()
  for axis in axes:
    axis.axis("off")
  for axis, k in zip(axes, chosen, strict=False):
    axis.imshow(images[k], cmap="gray")
    axis.set_title(labels[k], fontsize=7)
  if len(chosen) < len(images):
    figure.suptitle(f"{len(chosen)} of {len(images)} volumes", fontsize=8)
  buffer = io.BytesIO()
  figure.savefig(buffer, format="png", dpi=80)
  return buffer.getvalue()


SOURCE = Source(volumes, read=arrays.read_scan_h5)

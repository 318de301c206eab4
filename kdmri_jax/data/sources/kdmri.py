"""The h5 files of the published KD-MRI code, in its layout."""

import pathlib
from collections.abc import Iterator

import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.data.folders import folders_in, root_folder, subject_of, wanted
from kdmri_jax.data.source import FILE, Source
from kdmri_jax.data.sources import arrays
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import UserError
from kdmri_jax.io import walk
from kdmri_jax.io.h5 import ENDINGS, h5_array, opened


def volumes(config: DataConfig) -> Iterator[Volume]:
  """Reads ROOT[/datasets][/TYPE]/{train,validation}/acc_TAG/N.h5.

  `volfs` holds the target, (rows, columns, slices) or one 2-D slice per file;
  `kspace_volus_TAG` and `img_volus_TAG` are used where the file has them. The two
  folders are the split; since both may hold a 1.h5, subjects are named "train/1".

  Raises:
    UserError: the folders or keys are missing, or a file is damaged.
  """
  base = _base(root_folder(config), config.kdmri_type)
  for split in ("train", "validation"):
    for path in _files(base / split, config.acceleration_tag):
      if wanted(config, path.stem):
        yield _volume(config, path, split)


def _base(root: pathlib.Path, kind: str) -> pathlib.Path:
  for base in (root / kind, root / "datasets" / kind):
    if any(walk.is_folder(base / split) for split in ("train", "validation")):
      return base
  where = f"{kind}/train" if kind else "train"
  found = f"no folder {where} {folders_in(root)}"
  expected = f"{where}/acc_4x/1.h5 or datasets/{where}/acc_4x/1.h5"
  remedy = "Name their folder as root and, as kdmri_type, one in it, such as mrbrain."
  raise UserError(root, found, expected, remedy)


def _files(folder: pathlib.Path, tag: str) -> list[pathlib.Path]:
  """The h5 files of one split, 2 before 10; none where the split has no folder."""
  if not walk.is_folder(folder):
    return []
  files = walk.files(folder / f"acc_{tag}", ENDINGS, below=False)
  if not files:
    names = [path.name for path in walk.folders(folder)]
    found = f"no h5 file there (beside it: {', '.join(names) or 'nothing'})"
    remedy = "Name an acceleration_tag that the data has, such as 4x."
    raise UserError(folder / f"acc_{tag}", found, "files N.h5", remedy)
  numeric = lambda path: int(path.stem) if path.stem.isdecimal() else 0  # noqa: E731
  return sorted(files, key=lambda path: (numeric(path), path.stem))


def _volume(config, path, split):
  tag = config.acceleration_tag
  keys = {"target": "volfs"}
  with opened(path) as file:
    if any(key.startswith(("kspace_volus_", "img_volus_")) for key in file):
      keys |= {"kspace": f"kspace_volus_{tag}", "zero_filled": f"img_volus_{tag}"}
    arrays = {name: h5_array(file, key) for name, key in keys.items()}
  record = {"file": str(path), "acceleration_tag": tag}
  record["file_shape"] = list(arrays["target"].shape)
  if not config.subject_pattern:
    record["note"] = (
      "Each file counts as a subject: the layout of the published code does not tell "
      "whose images a file holds, so intervals and tests may be too confident."
    )
  for name, array in arrays.items():
    if array.ndim in (2, 3):  # (rows, columns, slices), or one slice
      arrays[name] = np.moveaxis(np.atleast_3d(array), 2, 0)
  subject = subject_of(config, path, f"{split}/{path.stem}")
  return Volume(path.stem, subject, **arrays, split=split, record=record)


SOURCE = Source(volumes, unit=FILE, read=arrays.read_scan_h5)

"""The MNI152 head of the package nilearn: real anatomy, no download."""

from collections.abc import Iterator

import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.data.source import Source, no_files
from kdmri_jax.data.volume import Volume
from kdmri_jax.optional import require

SLAB = 6
GAP = 3
UNIT = "slab of one head"
NOTE = (
  "MNI152 is one head (an average without skull): neighbouring slabs resemble each "
  "other, so results here show that the pipeline works, not how it generalises. "
  "Source: ICBM 152 nonlinear atlas 2009, Fonov et al. 2011, as included in nilearn."
)


def volumes(config: DataConfig) -> Iterator[Volume]:
  """Cuts the head into axial slabs, which replace subjects.

  Slices are 1 mm apart and have 2 mm pixels, anterior up, the head's right side on the
  left. A slab has 6 slices; 3 slices between two slabs are omitted. Slabs are named
  "mni152_slab_00" from the neck upwards.

  Raises:
    UserError: nilearn is not installed.
  """
  head = _template()
  area = (head > 0.05).sum((1, 2))
  low, high = np.flatnonzero(area > 0.3 * area.max())[[0, -1]]
  for k, start in enumerate(range(int(low), int(high) - SLAB + 2, SLAB + GAP)):
    name = f"mni152_slab_{k:02d}"
    record = {
      "template_slices": [start, start + SLAB],
      "zooms": [2.0, 2.0, 1.0],
      "note": NOTE,
      "axes_increase_towards": {"rows": "P", "columns": "L", "slices": "S"},
    }
    yield Volume(name, subject=name, target=head[start : start + SLAB], record=record)


def _template() -> np.ndarray:
  """The head, [S, H, W], upright, 2 mm in plane by averaging 2 x 2 pixels of 1 mm."""
  otherwise = ", or use the source phantom"
  datasets = require("nilearn.datasets", "demo", "source", "'mni152'", otherwise)
  image = datasets.load_mni152_template(resolution=1)
  head = np.asarray(image.dataobj, np.float32)  # x to the right, y forward, z up
  head = head[::-1, ::-1].transpose(2, 1, 0)
  rows, columns = (n - n % 2 for n in head.shape[1:])
  head = head[:, :rows, :columns]
  return head.reshape(len(head), rows // 2, 2, columns // 2, 2).mean((2, 4))


SOURCE = Source(volumes, unit=UNIT, read=no_files, read_folder=no_files)

"""Whether the mask omits lines along the axis that a scanner can omit."""

from collections.abc import Mapping, Sequence

import numpy as np

from kdmri_jax.data.split import counted
from kdmri_jax.data.volume import Volume
from kdmri_jax.physics.masks import describe
from kdmri_jax.types import Acquisition, Shape

_AXES = "rows", "columns"


def along_the_readout(
  volumes: Sequence[Volume], acquisitions: Mapping[Shape, Acquisition]
) -> list[str]:
  """A sentence where masks omit lines along the readout, which is always measured.

  Args:
    volumes: those whose record tells a `phase_encode_axis` count.
    acquisitions: of each slice shape.
  """
  found: dict[int, list[str]] = {}
  for volume in volumes:
    record = volume.record.get("prepared_from") or volume.record
    known = record.get("phase_encode_axis")
    masks = np.asarray(acquisitions[volume.target.shape[1:3]].masks)
    axes = {describe.phase_encode_axis(mask) for mask in masks if not mask.all()}
    if known is not None and 1 - known in axes:
      found.setdefault(known, []).append(volume.file)
  sentences = []
  for known, files in found.items():
    count = counted(len(set(files)), "file")
    sentences.append(
      f"The mask omits {_AXES[1 - known]} of k-space. In {count}, such as {files[0]}, "
      f"the phase-encode lines are {_AXES[known]}, and a scanner omits those alone: "
      f"set config.mask.axis={known}."
    )
  return sentences

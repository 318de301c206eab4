"""Checks of volumes with the k-space of several coils."""

from collections.abc import Iterable, Mapping, Sequence

from kdmri_jax.data.split import counted
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import UserError
from kdmri_jax.physics.coils.estimated import SIDE
from kdmri_jax.physics.masks import describe
from kdmri_jax.types import Acquisition, Shape


def refuse_other_numbers(volumes: Sequence[Volume]) -> None:
  """Refuses volumes with different numbers of coils.

  Raises:
    UserError: a volume has another number than the first.
  """
  first = volumes[0]
  for volume in volumes:
    if volume.coils != first.coils:
      found = f"k-space of {counted(volume.coils, 'coil')}"
      expected = f"{counted(first.coils, 'coil')}, as in {first.file}"
      remedy = (
        "Choose the files of one of the two numbers by `include`, or combine coils "
        "(combine=sense)."
      )
      raise UserError(volume.file, found, expected, remedy)


def less_calibration(
  volumes: Iterable[Volume], acquisitions: Mapping[Shape, Acquisition]
) -> list[str]:
  """A sentence where sensitivities are better than those of a scan, or [].

  They were then estimated from a larger centre of k-space than a mask samples.

  Args:
    volumes: fully sampled ones.
    acquisitions: their masks, by shape.
  """
  fewer = set()
  for volume in volumes:
    record, shape = volume.record, volume.target.shape[1:]
    method = (record.get("prepared_from") or record).get("sensitivities", "given")
    if volume.sensitivities is not None and method != "given":
      masks = acquisitions[shape].masks
      lines = {describe.describe(mask)["centre_lines"] for mask in masks}
      fewer |= {count for count in lines if count < min(SIDE, *shape)}
  return [
    f"Sensitivities were estimated from up to {SIDE} central lines of k-space. A mask "
    f"samples {count} of them: those of a scan with this mask are less accurate."
    for count in sorted(fewer)[:1]
  ]

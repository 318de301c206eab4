"""Checks of volumes with the k-space of several coils."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kdmri_jax.data.split import counted
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import UserError
from kdmri_jax.physics.coils.estimated import SIDE
from kdmri_jax.physics.masks import describe
from kdmri_jax.types import Acquisition, Shape


def refuse_mixed(volumes: Sequence[Volume]) -> None:
  """Refuses volumes with the k-space of coils beside others.

  Raises:
    UserError: a volume is of the other kind than the first.
  """

  def kind(volume):
    if volume.sensitivities is None:
      return "k-space of one coil, or none"
    return f"k-space of {counted(volume.coils, 'coil')} with sensitivities"

  first = volumes[0]
  for volume in volumes:
    if (volume.sensitivities is None) != (first.sensitivities is None):
      found, expected = kind(volume), f"{kind(first)}, as in {first.file}"
      remedy = "Choose files of one kind by `include`, or set combine=sense."
      raise UserError(volume.file, found, expected, remedy)


def recorded(volumes: Iterable[Volume]) -> dict[str, Any]:
  """What is recorded of the coils: nothing of one.

  Returns:
    "coils", the largest number, and where it differs between volumes "coil_numbers",
    all of them in ascending order.
  """
  numbers = sorted({volume.coils for volume in volumes})
  if numbers[-1] == 1:
    return {}
  several = {"coil_numbers": numbers} if len(numbers) > 1 else {}
  return {"coils": numbers[-1]} | several


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

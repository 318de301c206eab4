"""Targets and the inputs that are given with them, volume by volume."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from kdmri_jax.config import DataConfig
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import UserError

NOTE = (
  "The inputs are given. What the networks get is measured from them, with the mask "
  "and the noise of the settings."
)
_DIRECTIONS = "axes_increase_towards"


def join(
  targets: Iterable[Volume], inputs: Iterable[Volume], config: DataConfig
) -> Iterator[Volume]:
  """Volumes of which each has its input.

  Both are read side by side; a volume waits in memory until its partner comes.

  Args:
    targets: the targets, as stored.
    inputs: the inputs, likewise.
    config: `inputs.match` says what partners have in common, and `include` whether
      inputs without a target are expected.

  Yields:
    The targets in their order; their record names the file of the input.

  Raises:
    UserError: a volume without its partner or with several of them, partners of
      different shapes or directions, or volumes of several coils.
  """
  match, waiting, used = config.inputs.match, {}, set()
  coming = iter(inputs)

  def key(volume: Volume) -> tuple[str | None, str]:
    return volume.split, getattr(volume, match)

  for target in targets:
    wanted = key(target)
    if wanted in used:
      raise _several(target, match)
    while wanted not in waiting:
      if (found := next(coming, None)) is None:
        raise _alone(target, "input", match)
      if key(found) in {*waiting, *used}:
        raise _several(found, match)
      waiting[key(found)] = found
    used.add(wanted)
    yield _joined(target, waiting.pop(wanted))
  left = next(iter(waiting.values()), None) or next(coming, None)
  if left is not None and key(left) in used:
    raise _several(left, match)
  if left is not None and not (match == "subject" and config.include):
    raise _alone(left, "target", match)


def refuse_mixed(volumes: Sequence[Volume]) -> None:
  """Refuses volumes with a given input beside others of the same source without it.

  Raises:
    UserError: names one without.
  """
  alone = [volume for volume in volumes if volume.input is None]
  if alone and len(alone) < len(volumes):
    expected = "an input in all volumes, or in none"
    remedy = "Exclude those without, or prepare them anew with their inputs."
    raise UserError(alone[0].file, "no given input", expected, remedy)


def _joined(target: Volume, given: Volume) -> Volume:
  if target.target.shape != given.target.shape:
    found = f"an input of shape {given.target.shape}"
    expected = f"the shape of its target {target.file}, {target.target.shape}"
    remedy = "Resample it to the grid of the target, or exclude both by include."
    raise UserError(given.file, found, expected, remedy)
  here, there = (v.record.get(_DIRECTIONS) for v in (given, target))
  if here and there and here != there:
    found = f"axes that increase towards {', '.join(here.values())}"
    expected = f"{', '.join(there.values())}, as in its target {target.file}"
    remedy = "Store both in one orientation."
    raise UserError(given.file, found, expected, remedy)
  for volume in (target, given):
    if volume.sensitivities is not None:
      found = "the k-space of several coils, beside given inputs"
      remedy = "Combine the coils: combine='rss' or 'sense'."
      raise UserError(volume.file, found, "images", remedy)
  record: dict[str, Any] = {**target.record, "input_file": given.file}
  record["simulated_kspace"] = given.record["simulated_kspace"]
  return dataclasses.replace(
    target, input=given.target, kspace=None, zero_filled=None, record=record
  )


def _alone(volume: Volume, missing: str, match: str) -> UserError:
  where = f" in {volume.split}" if volume.split else ""
  found = f"no {missing} of the {match} {getattr(volume, match)!r}{where}"
  other = "subject" if match == "name" else "name"
  remedy = f"Add it, exclude this one by include, or set inputs.match={other!r}."
  return UserError(volume.file, found, "an input for every target", remedy)


def _several(volume: Volume, match: str) -> UserError:
  found = f"a second volume of the {match} {getattr(volume, match)!r}"
  remedy = "Choose by contrast or include, or rename the files."
  expected = "one target and one input of each, so that they can be paired"
  return UserError(volume.file, found, expected, remedy)

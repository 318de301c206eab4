"""Targets and their given inputs, from two sources."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import UserError

NOTE = (
  "The inputs are given. What the networks get is measured from them, with the mask "
  "and the noise of the settings."
)
_OF_INPUTS = (
  "K-space is that of the inputs, which were acquired apart from the targets."
)
_SAME_SIZE = 0.01  # of a voxel, for headers that were rounded
_SAME_PLACE = 0.5  # of a voxel's shortest side


def join(
  targets: Iterable[Volume], inputs: Iterable[Volume], config: DataConfig
) -> Iterator[Volume]:
  """Volumes of which each has its input.

  Both are read side by side; a volume waits in memory until its partner comes.

  Args:
    targets: the targets, as stored.
    inputs: the inputs, likewise.
    config: `inputs.match` says what partners have in common, `inputs.kspace` whether
      the k-space of the inputs is kept in place of their images, and `include` whether
      inputs without a target are expected.

  Yields:
    The targets in their order; their record names the file of the input.

  Raises:
    UserError: a volume without its partner or with several of them, volumes that were
      prepared and scaled apart, partners of different shapes, voxel sizes, directions
      or positions, inputs without the k-space that is asked for, or images of several
      coils.
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
    given = waiting.pop(wanted)
    _refuse_own_scales(target, given)
    refuse_other_grids(given, target, "its target")
    join_one = _with_kspace if config.inputs.kspace else _with_image
    yield join_one(target, given)
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


def refuse_coils(volume: Volume, other_way: str = "") -> None:
  """Refuses a volume with the k-space of several coils.

  Raises:
    UserError: says how to combine them, or `other_way`.
  """
  if volume.sensitivities is not None:
    found = "the k-space of several coils, as part of a pair"
    remedy = f"Combine the coils: combine='rss' or 'sense'{other_way}."
    raise UserError(volume.file, found, "images", remedy)


def refuse_other_grids(volume: Volume, other: Volume, kind: str) -> None:
  """Refuses a volume whose slices are not where those of another one are.

  Args:
    volume: an input or a repeat.
    other: what it is compared with.
    kind: what that is to it, such as "its target".

  Raises:
    UserError: other shapes, voxel sizes, directions or positions.
  """
  of = f"{kind} {other.file}"
  if other.target.shape != volume.target.shape:
    found, expected = (f"slices of shape {v.target.shape}" for v in (volume, other))
    remedy = "Resample it to that grid, or exclude both by include."
    raise UserError(volume.file, found, f"{expected}, as in {of}", remedy)
  here, there = map(_directions, (volume, other))
  if here and there and here != there:
    found = f"axes that increase towards {', '.join(here.values())}"
    expected = f"{', '.join(there.values())}, as in {of}"
    remedy = "Store both in one orientation."
    raise UserError(volume.file, found, expected, remedy)
  remedy = "Resample it to that grid, or correct the header that errs."
  sizes = [_voxel_size(each) for each in (volume, other)]
  if all(sizes) and not np.allclose(*sizes, rtol=_SAME_SIZE, atol=0):
    own, wanted = ("x".join(f"{mm:.4g}" for mm in size) for size in sizes)
    found = f"voxels of {own} mm (rows, columns, slices)"
    raise UserError(volume.file, found, f"{wanted} mm, as in {of}", remedy)
  away = _distance(volume, other)
  if away > _SAME_PLACE * min(sizes[0] or [np.inf]):
    found = f"voxels that lie up to {away:.3g} mm from those of {kind}"
    expected = f"the position and tilt of {other.file}"
    raise UserError(volume.file, found, expected, remedy)


def _refuse_own_scales(target: Volume, given: Volume) -> None:
  """Prepared volumes have lost how bright they are beside each other."""
  for volume in (target, given):
    factor = (volume.record.get("prepared_from") or {}).get("scale_factor", 1.0)
    if factor != 1.0:
      found = f"a prepared volume that was divided by {factor:.4g}, apart from others"
      expected = "target and input in the units of their files"
      remedy = "Prepare them together: kdmri prepare --inputs_root=FOLDER."
      raise UserError(volume.file, found, expected, remedy)


def _with_image(target: Volume, given: Volume) -> Volume:
  for volume in (target, given):
    refuse_coils(volume, ", or set inputs.kspace=True")
  return dataclasses.replace(
    target,
    input=given.target,
    kspace=None,
    zero_filled=None,
    record=_record(target, given),
  )


def _with_kspace(target: Volume, given: Volume) -> Volume:
  if given.kspace is None:
    remedy = "Set inputs.kspace=False: complex images of one coil hold all of it."
    if given.record.get("coils", 1) > 1:
      remedy = "Set combine='none', which keeps the k-space of several coils."
    raise UserError(given.file, "an input without k-space", "measured k-space", remedy)
  if given.sensitivities is not None and not np.iscomplexobj(target.target):
    found = f"real images, and their input {given.file} of several coils"
    remedy = "Give complex targets, or combine the coils: combine='rss' or 'sense'."
    raise UserError(target.file, found, "complex images", remedy)
  notes = target.record.get("note"), given.record.get("note"), _OF_INPUTS
  note = " ".join(dict.fromkeys(filter(None, notes)))
  return dataclasses.replace(
    target,
    kspace=given.kspace,
    zero_filled=given.zero_filled,
    sensitivities=given.sensitivities,
    record=_record(target, given) | {"note": note},
  )


def _record(target: Volume, given: Volume) -> dict[str, Any]:
  simulated = given.record["simulated_kspace"]
  return {**target.record, "input_file": given.file, "simulated_kspace": simulated}


def _directions(volume: Volume) -> dict[str, str] | None:
  """The anatomical directions of its axes, where its file or the original has them."""
  return _geometry(volume).get("axes_increase_towards")


def _voxel_size(volume: Volume) -> list[float]:
  """Size of its voxels in mm, [] where it is not known.

  A NIfTI file without a position whose voxels measure 1 everywhere states nothing.
  """
  size = _geometry(volume).get("zooms") or []
  stated = _directions(volume) is not None or any(mm != 1 for mm in size)
  is_size = all(isinstance(mm, int | float) and 0 < mm < np.inf for mm in size)
  return size if stated and is_size else []


def _distance(given: Volume, target: Volume) -> float:
  """How far corresponding voxels lie from each other at most, in mm; 0 if not known."""
  matrices = [_geometry(volume).get("affine") for volume in (given, target)]
  if not all(matrices):
    return 0.0
  slices, *plane = given.target.shape
  corners = np.indices((2, 2, 2)).reshape(3, -1).T * (np.array([*plane, slices]) - 1)
  here, there = (corners @ m[:3, :3].T + m[:3, 3] for m in map(np.array, matrices))
  return float(np.linalg.norm(here - there, axis=1).max())


def _geometry(volume: Volume) -> Mapping[str, Any]:
  return {**(volume.record.get("prepared_from") or {}), **volume.record}


def _alone(volume: Volume, missing: str, match: str) -> UserError:
  where = f" in {volume.split}" if volume.split else ""
  found = f"no {missing} of the {match} {getattr(volume, match)!r}{where}"
  other = "subject" if match == "name" else "name"
  remedy = f"Add it, exclude this one by include, or set inputs.match={other!r}"
  # The names of both kinds often end differently, as in a_noisy and a_clean.
  remedy += ", with a subject_pattern of what both names have in common."
  expected = f"one {missing} for each {'target' if missing == 'input' else 'input'}"
  return UserError(volume.file, found, expected, remedy)


def _several(volume: Volume, match: str) -> UserError:
  found = f"a second volume of the {match} {getattr(volume, match)!r}"
  remedy = "Choose by contrast or include, or rename the files."
  expected = "one target and one input of each, so that they can be paired"
  return UserError(volume.file, found, expected, remedy)

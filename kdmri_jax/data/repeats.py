"""Pairs of an input and its target from repeated acquisitions of one scan."""

import dataclasses
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from kdmri_jax.data import pairs
from kdmri_jax.data.source import FILE
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import ArgumentError, UserError


def of_repeats(volume: Volume, count: int) -> Iterator[Volume]:
  """Pairs of a volume that was acquired several times.

  Args:
    volume: its target holds all repeats, [R, S, H, W].
    count: repeats in an input.

  Yields:
    R // count volumes. The input of the first is the mean of the first repeats, that
    of the second the mean of the next ones, and so on; the target is the mean of all
    others. Means of magnitudes and of complex images, in double precision.

  Raises:
    UserError: no repeat would be left for the target, or coils are not combined.
  """
  every, file = volume.target, volume.file
  if every.ndim != 4 or len(every) <= count:
    found = f"{len(every) if every.ndim == 4 else 1} repeats"
    remedy = "Lower repeats, or set it to 0 for files of one acquisition."
    raise UserError(file, found, f"more than repeats={count}", remedy)
  pairs.refuse_coils(volume)
  kind = np.result_type(every, np.float64)
  groups = [slice(k, k + count) for k in range(0, len(every) - count + 1, count)]
  note = (
    f"Inputs are means of {count} of several repeats, targets those of the others: "
    "their noise adds to every error."
  )
  notes = " ".join(filter(None, (volume.record.get("note"), note)))
  files = volume.record.get("repeated_in", [file] * len(every))
  for number, own in enumerate(groups, 1):
    name = f"{volume.name}_{number:0{len(str(len(groups)))}}"
    record = {
      "input_file": ", ".join(dict.fromkeys(files[own])),
      "note": notes,
      "repeats": len(every),
      "input_repeats": [own.start, own.stop],
    }
    yield dataclasses.replace(
      volume,
      name=name if len(groups) > 1 else volume.name,
      input=every[own].mean(0, dtype=kind),
      target=np.delete(every, own, 0).mean(0, dtype=kind),
      kspace=None,
      zero_filled=None,
      record=volume.record | record,
    )


def together(volumes: Iterable[Volume], pattern: str) -> Iterator[Volume]:
  """Volumes that hold all repeats of a scan, which are in files of their own.

  Args:
    volumes: one for each repeat; those of a scan follow each other.
    pattern: regular expression; the names of a scan's repeats differ only in what it
      matches first.

  Yields:
    One volume for each scan, for `of_repeats`: target [R, S, H, W], its name without
    what the pattern matches. Where each file counts as a subject the scan does.

  Raises:
    ArgumentError: no regular expression, or one that matches a whole name.
    UserError: one repeat of a scan, repeats that do not follow each other, of several
      subjects or other grids, or that were prepared one by one.
  """
  try:
    expression = re.compile(pattern)
  except re.error as error:
    found = f"{pattern!r}, which is not a regular expression ({error})"
    expected = r"a pattern such as '_run-\d+'"
    raise ArgumentError("repeat_pattern", found, expected) from error

  def scan(volume: Volume) -> tuple[str | None, str]:
    name = expression.sub("", volume.name, count=1)
    if not name:
      found = f"{pattern!r}, which matches all of the name {volume.name!r}"
      expected = "a pattern of what tells the repeats of a scan apart"
      raise ArgumentError("repeat_pattern", found, expected)
    return volume.split, name

  done = set()
  for key, group in itertools.groupby(volumes, scan):
    every = list(group)
    if key in done:
      found = f"a repeat of {key[1]!r} that does not follow the others"
      remedy = "Correct repeat_pattern, or choose one contrast by include."
      raise UserError(every[0].file, found, "repeats one after the other", remedy)
    done.add(key)
    yield _stacked(every, key[1])


def _stacked(every: Sequence[Volume], name: str) -> Volume:
  first, *others = every
  of_file = first.record["unit"] == FILE
  if not others:
    found = f"one repeat of {name!r} alone"
    expected = "several, whose names differ only in what repeat_pattern matches"
    remedy = "Correct repeat_pattern, or choose one contrast by include."
    raise UserError(first.file, found, expected, remedy)
  for volume in every:
    pairs.refuse_coils(volume)
    if "prepared_from" in volume.record:
      found, expected = "a prepared volume", "repeats in the units of their files"
      remedy = "Prepare them together: kdmri prepare --repeats=1 --repeat_pattern=..."
      raise UserError(volume.file, found, expected, remedy)
    if volume.subject != first.subject and not of_file:
      found = f"a repeat of the subject {volume.subject!r}"
      expected = f"{first.subject!r}, as {first.file}"
      remedy = "Correct repeat_pattern or subject_pattern."
      raise UserError(volume.file, found, expected, remedy)
  for volume in others:
    pairs.refuse_other_grids(volume, first, "the first repeat")
  return dataclasses.replace(
    first,
    name=name,
    subject=name if of_file else first.subject,
    target=np.stack([volume.target for volume in every]),
    kspace=None,
    zero_filled=None,
    record=first.record | {"repeated_in": [volume.file for volume in every]},
  )

"""The split of the subjects into training, validation and test."""

import dataclasses
import fnmatch
import itertools
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.data import digests
from kdmri_jax.data.folders import SPLITS, refuse_equal_names
from kdmri_jax.data.source import FILE
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import ArgumentError, UserError

_ONCE = "no subjects in both splits"


@dataclasses.dataclass(frozen=True)
class Split:
  """The split of the subjects.

  Attributes:
    parts: volumes of "train", "validation" and, where subjects are held out, "test".
    unused: subjects that are in no split.
    rule: one sentence on the rule of the split.
  """

  parts: dict[str, tuple[Volume, ...]]
  unused: tuple[str, ...]
  rule: str

  def without_test(self) -> "Split":
    """The split whose test subjects are in no part."""
    parts = dict(self.parts)
    kept_back = sorted({volume.subject for volume in parts.pop("test", ())})
    rule = f"{self.rule} Test subjects ({len(kept_back)}) are kept back."
    return Split(parts, (*self.unused, *kept_back), rule)


def divide(
  volumes: Sequence[Volume], config: DataConfig, tested: Sequence[Volume] = ()
) -> Split:
  """Splits volumes by subject.

  The globs `config.train`, `.validation` and `.test` decide if any is given, else the
  source's own layout. If there are then no validation subjects, a share
  `config.validation_fraction` of the remaining subjects is drawn. The other subjects
  are for training, unless `config.train` lists these.

  With a test source of their own the test subjects are all of its subjects, or those
  that `config.test` lists. Subjects that the layout of the other source holds out for
  the test are then in no split.

  Args:
    volumes: all volumes of the source.
    config: the globs, the fraction and the seed of the draw.
    tested: all volumes of the test source, if there is one.

  Returns:
    The split; every subject is in one part at most, none of which is empty.

  Raises:
    UserError: a glob matches no subject, a subject belongs to two splits, a split stays
      empty, or two volumes of one split have the same name.
  """
  whole = config
  if tested:
    config = dataclasses.replace(config, test=())
  subjects = sorted({volume.subject for volume in volumes})
  units = plural(common_unit(volume.record["unit"] for volume in volumes))
  if config.train or config.validation or config.test:
    owner, rule = _by_globs(subjects, config), f"The settings name the {units}."
    if any(volume.split for volume in volumes):
      rule += " The split of the folders is not used."
  else:
    owner, rule = _by_layout(volumes), f"The folders of the data divide the {units}."
  if "validation" not in owner.values():
    drawn = _draw(subjects, owner, config)
    rule = f"{rule} " if owner else ""
    rule += f"{len(drawn)} of {len(subjects)} {units} were drawn for validation."
    owner |= dict.fromkeys(drawn, "validation")
  unused = [subject for subject in subjects if subject not in owner]
  if not config.train:
    owner |= dict.fromkeys(unused, "train")
    unused = []
  parts = {}
  for name in SPLITS:
    if part := tuple(v for v in volumes if owner.get(v.subject) == name):
      parts[name] = part
  if tested:
    unused += sorted({volume.subject for volume in parts.get("test", ())})
    parts["test"], left, tests = _tested(tested, whole)
    unused += left
    rule += f" {tests}"
  if "train" not in parts:
    remedy = f"Exclude some of them from validation and test: {_some(subjects)}."
    raise ArgumentError("train", "no subject left for training", "at least one", remedy)
  for part in parts.values():
    refuse_equal_names([v.name for v in part], [v.file for v in part])
  return Split(parts, tuple(unused), rule)


def _tested(volumes, config):
  """The volumes of a test source to be tested, its other subjects, and a sentence."""
  subjects = sorted({volume.subject for volume in volumes})
  globs = dataclasses.replace(config, train=(), validation=())
  chosen = _by_globs(subjects, globs) if config.test else subjects
  many = counted(len(subjects), common_unit(v.record["unit"] for v in volumes))
  rule = f"The test set is {len(chosen)} of {many} of {config.of_tested.label}."
  part = tuple(volume for volume in volumes if volume.subject in chosen)
  return part, [name for name in subjects if name not in chosen], rule


def shared_names(split: Split, config: DataConfig) -> list[str]:
  """A sentence on test subjects that have names of training or validation subjects.

  Args:
    split: its volumes, the test set from the test source.
    config: the data settings.

  Raises:
    UserError: they are the same subjects, because both sources are one folder.
    ArgumentError: or because both are phantoms of one seed; a setting of the source.
  """
  there = config.of_tested
  known = {v.subject: k for k in ("train", "validation") for v in split.parts[k]}
  same = {v.subject: v for v in split.parts["test"] if v.subject in known}
  if not same or there.population != config.population:
    return []
  subject, volume = next(iter(same.items()))
  roots = {pathlib.Path(each.root).expanduser().resolve() for each in (config, there)}
  if there.population or len(roots) == 1:
    if there.population:
      found = f"{there.phantom.seed}, with which {subject} is drawn for both sources"
      raise ArgumentError("phantom.seed", found, "another seed")
    found = f"subject {subject!r} of the test source, which {known[subject]} holds too"
    remedy = "Choose subjects by the globs train, validation and test."
    raise UserError(volume.file, found, _ONCE, remedy)
  count = counted(len(same), "test subject")
  return [
    f"{count} of {there.label} {'has' if len(same) == 1 else 'have'} the name of a "
    f"subject that trains or validates, such as {subject}. If they are the same "
    "people, they are not unseen."
  ]


def refuse_shared_slices(split: Split) -> None:
  """Refuses equal images in two splits, for any names of files and subjects.

  Args:
    split: its volumes with the digests of their slices.

  Raises:
    UserError: a slice that is not constant is in two splits, bit for bit.
  """
  seen: dict[str, tuple[str, Volume]] = {}
  for name, part in split.parts.items():
    for volume in part:
      for digest in itertools.chain(*volume.slice_digests):
        other_name, other = seen.setdefault(digest, (name, volume))
        if other_name != name:
          found = f"an image that is in {other.file} of the {other_name} set, too"
          remedy = "Put both files into one split, or exclude one."
          raise UserError(volume.file, found, _ONCE, remedy)


def repeated_slices(split: Split) -> list[str]:
  """A sentence on the equal images of each part that has some.

  Args:
    split: its volumes with the digests of their slices.
  """
  names = {"train": "training"}
  found = {
    name: digests.repeats((v.name, v.slice_digests) for v in part)
    for name, part in split.parts.items()
  }
  return [
    f"Equal images in the {names.get(name, name)} set, which count more than once: "
    f"{words}. Exclude one of each pair."
    for name, words in found.items()
    if words
  ]


def _by_globs(subjects, config):
  owner = {}
  for name in SPLITS:
    for glob in getattr(config, name):
      matching = fnmatch.filter(subjects, glob)
      if not matching:
        expected = f"a glob on the subjects, which are {_some(subjects)}"
        raise ArgumentError(name, f"{glob!r}, which matches no subject", expected)
      for subject in matching:
        if owner.setdefault(subject, name) != name:
          found = f"subject {subject!r}, which {owner[subject]} holds too"
          raise ArgumentError(name, found, _ONCE)
  return owner


def _by_layout(volumes):
  """The subjects that the folders put into validation or test; the others are free."""
  first = {}
  for volume in volumes:
    other = first.setdefault(volume.subject, volume)
    if other.split != volume.split:
      both = f"{volume.split} and, by {other.file}, in {other.split}"
      found = f"subject {volume.subject!r} in {both}"
      remedy = "Move the files, or name the subjects by subject_pattern."
      raise UserError(volume.file, found, _ONCE, remedy)
  return {
    subject: volume.split
    for subject, volume in first.items()
    if volume.split in ("validation", "test")
  }


def _draw(subjects, owner, config):
  if not 0 < config.validation_fraction < 1:
    found, remedy = config.validation_fraction, "Or name the subjects as validation."
    expected = "a number between 0 and 1"
    raise ArgumentError("validation_fraction", str(found), expected, remedy)
  free = [subject for subject in subjects if subject not in owner]
  available = len(free) - (0 if config.train else 1)
  if available < 1:
    there = f"left for validation ({len(subjects)} in all: {_some(subjects)})"
    expected = "at least one that neither trains nor tests"
    raise ArgumentError("validation", f"no subject {there}", expected)
  tested = sum(name == "test" for name in owner.values())
  share = round(config.validation_fraction * (len(subjects) - tested))
  count = min(max(share, 1), available)
  generator = np.random.default_rng(config.split_seed)
  return [str(subject) for subject in generator.permutation(free)[:count]]


def _some(names):
  shown = ", ".join(names[:8])
  return shown + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def common_unit(units: Iterable[str]) -> str:
  """The unit of all volumes, by which they are split; `FILE` where they differ."""
  found = set(units)
  return found.pop() if len(found) == 1 else FILE


def unit_of_tested(record: Mapping[str, Any]) -> str:
  """The unit of the evaluated volumes, from the record of a dataset.

  They may be of another source than those that train, which then has its own record.
  """
  return record.get("test_source", record)["unit"]


def plural(unit: str) -> str:
  """The plural: "subjects", "slabs of one head"."""
  noun, space, rest = unit.partition(" ")
  return f"{noun}s{space}{rest}"


def counted(count: int, unit: str) -> str:
  """A number with the unit: "1 subject", "12 slabs of one head"."""
  return f"{count} {unit if count == 1 else plural(unit)}"

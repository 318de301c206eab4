"""Checks that a given stage was not trained on subjects that this run evaluates."""

import re
from collections.abc import Mapping
from typing import Any

from kdmri_jax.config import ExperimentConfig
from kdmri_jax.data import digests
from kdmri_jax.data.digests import CONSTANT
from kdmri_jax.data.slice_set import SliceSet
from kdmri_jax.errors import UserError
from kdmri_jax.training import records
from kdmri_jax.training.given_stage import Origin

# The keys of a training's record about its images and their measurement.
_SETTINGS = ("mask", "noise", "tasks", "data")
_DIGESTS = {"train_digest": "other training images", "mask_digest": "another mask"}


def refuse(
  config: ExperimentConfig, where: str, origin: Origin, evaluated: SliceSet
) -> None:
  """Refuses a given stage that has been trained on subjects that are evaluated.

  Subjects are the same if their names are, in one population, or if a slice that is not
  constant is equal, bit for bit (by 48 bits of its digest).

  Args:
    config: the experiment.
    where: the key of the config that gives it.
    origin: where it comes from.
    evaluated: the test subjects, or those of the validation where none are held out.

  Raises:
    UserError: names them.
  """
  here = config.data.of_tested.population
  seen = set()
  for there in origin.training_sets:
    subjects = there["subjects"]
    slices = {each for known in subjects.values() for each in digests.short(known)}
    for volume in evaluated.volumes:
      same_name = there["population"] == here and volume.subject in subjects
      own = digests.short(volume.digests["target"])
      same_slice = any(d in slices and not d.startswith(CONSTANT) for d in own)
      if same_name or same_slice:
        seen.add(volume.subject)
  if seen:
    names = records.shortened(sorted(seen), ", ")
    raise UserError(
      where,
      f"{origin.text}, which was trained on {names}: subjects that this run evaluates",
      "weights that were trained without the evaluated subjects",
      "Evaluate others (config.data.test; without it the validation subjects are "
      "evaluated), or give weights that have not seen these.",
    )


def notes(name: str, origin: Origin, here: Mapping[str, Any]) -> list[str]:
  """Sentences for the report on a given stage.

  Args:
    name: the stage.
    origin: where it comes from.
    here: the record of the stage if this run trained it.
  """
  found = []
  if origin.record:
    there = {key: origin.record.get(key) for key in _SETTINGS}
    here = {key: here.get(key) for key in _SETTINGS}
    free = re.compile("data.(validation|train|mask)_digest").fullmatch
    others = [
      text for key, text in _DIGESTS.items() if there["data"][key] != here["data"][key]
    ]
    if words := records.in_words(there, here, free, others):
      found.append(
        f"The stage {name} is given by {origin.text} and was trained with other "
        f"settings: {words}."
      )
  given = f"the stage {name}, given by {origin.text},"
  return found + _if_unknown(given, origin)


def notes_on_choice(
  config: ExperimentConfig, name: str, origin: Origin, evaluated: SliceSet
) -> list[str]:
  """A sentence for the report if evaluated subjects chose a given stage's epoch.

  Args:
    config: the experiment.
    name: the stage.
    origin: where it comes from.
    evaluated: the test subjects.
  """
  there, here = origin.chosen_on, config.data.of_tested.population
  if there.get("population") != here:
    return []
  known = {volume.subject for volume in evaluated.volumes}
  seen = sorted(known.intersection(there["subjects"]))
  if not seen:
    return []
  return [
    f"The epoch of the stage {name}, given by {origin.text}, was chosen on "
    f"{records.shortened(seen, ', ')}: subjects that this run evaluates. Its results "
    "and those of the networks that it teaches may be a little too good."
  ]


def notes_on_start(name: str, origin: Origin) -> list[str]:
  """Sentences for the report on a pretrained network.

  Args:
    name: the stage that starts from it.
    origin: where it comes from.
  """
  start = f"{origin.text}, from which the stage {name} starts,"
  return _if_unknown(start, origin)


def _if_unknown(network: str, origin: Origin) -> list[str]:
  """A sentence if training subjects of the network may be missing."""
  if origin.complete:
    return []
  return [
    f"It is not known which subjects {network} was trained on. If evaluated subjects "
    "are among them, its results and those of the networks that it teaches are too "
    "good."
  ]

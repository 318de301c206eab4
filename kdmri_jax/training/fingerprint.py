"""Records of training: settings of a stage, and digests of its weights."""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from kdmri_jax import __version__
from kdmri_jax import config as config_lib
from kdmri_jax.config import DataConfig, ExperimentConfig
from kdmri_jax.data import digests
from kdmri_jax.errors import UserError

# The keys of the data's record that a stage's weights depend on.
_DATA = (
  "source",
  "scaling",
  "crop",
  "slices_per_volume",
  "channels",
  "stored_kspace_used",
  "mask_digest",
  "train_digest",
  "validation_digest",
)
_MOST_SHOWN = 8


def of_weights(params: Any) -> str:
  """One digest of all arrays of a network's weights, with their names and shapes."""
  arrays = jax.tree_util.tree_leaves_with_path(jax.device_get(params))
  parts = []
  for path, leaf in arrays:
    array = np.ascontiguousarray(leaf)
    head = f"{jax.tree_util.keystr(path)}{array.dtype}{array.shape}"
    parts += [head.encode(), array.tobytes()]
  return digests.digest(parts)


def describe(
  config: ExperimentConfig,
  data: Mapping[str, Any],
  seed: int,
  name: str,
  weights_of: Callable[[str], str],
) -> dict[str, Any]:
  """The record of a stage: everything that determines its weights.

  Args:
    config: the experiment.
    data: record of the data with its digests, as in WORKDIR/dataset.json.
    seed: seed of the training.
    name: the stage.
    weights_of: digest of the weights of another stage, "STAGE" or "STAGE/branches"; ""
      where it is not known.

  Returns:
    A JSON object: version, seed, the settings of the stage and of its networks, the
    ways of measuring, the data, and the digests of its initial weights and its
    teachers' weights.
  """
  settings = config_lib.to_dict(config)
  stage, own = settings["stages"][name], config.stages[name]
  measured = {key: settings[key] for key in ("mask", "noise")}
  if config.tasks:
    measured = {"tasks": settings["tasks"]}
  for each in (measured, *measured.get("tasks", {}).values()):
    if "mask" in each:
      each["mask"] = {k: v for k, v in each["mask"].items() if k != "path"}
  needed = dict.fromkeys(filter(None, (*own.all_teachers, own.start_from)))
  return {
    "version": __version__,
    "seed": seed,
    **{
      key: settings[key]
      for key in ("batch_size", "teacher_cache_type", "vgg_weights", "augment")
    },
    "stage": stage,
    "model": settings["models"][own.model],
    "branches": settings["models"].get(own.branches),
    **measured,
    "data": {key: data.get(key) for key in _DATA},
    "weights_of": {other: weights_of(other) for other in needed},
  }


def training_set(config: DataConfig, data: Mapping[str, Any]) -> dict[str, Any]:
  """The training subjects of a run: a population, and per subject the slices' digests.

  Subjects of one name are the same only within a population; phantoms of another seed
  are another population.
  """
  phantoms = config.source == "phantom"
  population = f"phantoms of seed {config.phantom.seed}" if phantoms else ""
  return {"population": population, "subjects": data["training_slices"]}


def differences(before: Any, now: Any, where: str = "") -> list[tuple[str, Any, Any]]:
  """(dotted key, value before, value now) of all differences of two JSON values."""
  if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
    before, now = dict(enumerate(before)), dict(enumerate(now))
  if isinstance(before, dict) and isinstance(now, dict):
    return [
      difference
      for key in sorted({*before, *now}, key=str)
      for difference in differences(
        before.get(key), now.get(key), f"{where}.{key}" if where else str(key)
      )
    ]
  return [] if before == now else [(where, before, now)]


def in_words(
  there: Mapping,
  here: Mapping,
  is_free: Callable[[str], Any] = lambda key: False,
  more: Sequence[str] = (),
) -> str:
  """ "KEY: VALUE there, VALUE here" of each difference; "" without any.

  Args:
    there: an object that was read from a JSON file.
    here: another one, or values that can be written as one.
    is_free: whether a key may differ.
    more: further differences in words.
  """
  words = [
    f"{key}: {old!r} there, {new!r} here"
    for key, old, new in differences(there, json.loads(json.dumps(here)))
    if not is_free(key)
  ]
  words += more
  rest = len(words) - _MOST_SHOWN
  return "; ".join(words[:_MOST_SHOWN]) + (f"; and {rest} more" if rest > 0 else "")


def check(
  path: str | os.PathLike, there: Mapping[str, Any], here: Mapping[str, Any]
) -> None:
  """Refuses a stage's folder whose record differs from this run's stage.

  Args:
    path: the folder.
    there: the record in the folder.
    here: the record of this run's stage; weights that are not known yet are not
      compared.

  Raises:
    UserError: lists the differences.
  """
  unknown = [re.escape(key) for key, known in here["weights_of"].items() if not known]
  free = re.compile(rf"version|weights_of\.({'|'.join(unknown)})")
  if found := in_words(there, here, free.fullmatch):
    raise UserError(
      path,
      f"a stage that was trained with other settings: {found}",
      "the stage of this run",
      "Remove this folder to train the stage again. To use weights of another run, "
      "set the stage's `given` to that run's WORKDIR/STAGE.",
    )

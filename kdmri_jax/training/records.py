"""The JSON records of a run: what a stage was trained with, compared in words."""

import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from kdmri_jax import __version__, json_text
from kdmri_jax import config as config_lib
from kdmri_jax.config import (
  AugmentConfig,
  CoilsConfig,
  ExperimentConfig,
  StageConfig,
)
from kdmri_jax.errors import UserError
from kdmri_jax.io.reading import refuse_special
from kdmri_jax.saving import make_folder, replacing

# The keys of an experiment and of the data's record that a stage's weights depend on.
_SETTINGS = ("batch_size", "teacher_cache_type", "vgg_weights", "augment", "coils")
_DATA = ("source", "scaling", "crop", "slices_per_volume", "channels")
_DATA += ("stored_kspace_used", "mask_digest", "train_digest", "validation_digest")
_MOST_SHOWN = 8

ANEW = "Restore it from a backup, or remove it: the command of its run writes it anew."


def read(
  path: pathlib.Path, remedy: str, needed: Mapping[str, type] = {}
) -> dict[str, Any]:
  """The object in a file.

  Args:
    path: the file.
    remedy: how to resolve it where there is none.
    needed: keys that the object must have, and the types of their values.

  Raises:
    UserError: there is no such file, it holds something else, or was changed.
  """
  refuse_special(path)
  try:
    found = json_text.unsealed(json_text.loads(path.read_text(encoding="utf-8")))
    for key, kind in needed.items():
      if not isinstance(found.get(key), kind):
        raise ValueError(f"no {kind.__name__} {key!r} in it")
    return found
  except (OSError, ValueError, TypeError, RecursionError) as error:
    expected = "the JSON file that a run wrote"
    raise UserError(path, f"no readable record ({error})", expected, remedy) from error


def write(path: pathlib.Path, value: Mapping[str, Any]) -> None:
  """Writes a record with its checksum; creates the folder.

  Raises:
    UserError: it cannot be written; the file is then as it was.
  """
  make_folder(path.parent)
  with replacing(path) as temporary:
    temporary.write_text(json_text.dumps(json_text.sealed(value), indent=2) + "\n")


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
  settings, stage = config_lib.to_dict(config), config.stages[name]
  for task in (settings, *settings["tasks"].values()):
    del task["mask"]["path"]  # the data's record has the mask's digest
  measured = ("tasks",) if config.tasks else ("mask", "noise")
  return {
    "version": __version__,
    "seed": seed,
    **{key: settings[key] for key in (*_SETTINGS, *measured)},
    "stage": settings["stages"][name],
    "model": settings["models"][stage.model],
    "branches": settings["models"].get(stage.branches),
    "data": {key: data.get(key) for key in _DATA},
    "weights_of": {other: weights_of(other) for other in stage.sources},
  }


def completed(record: dict[str, Any]) -> dict[str, Any]:
  """A record with the defaults of settings that its version did not have."""
  stage, augment = record.get("stage"), record.get("augment")
  coils = record.get("coils", {})
  if coils.get("count"):
    coils = {"phase": 0.0} | coils
  return {
    **record,
    "stage": config_lib.of_any_version(stage, StageConfig),
    "augment": config_lib.of_any_version(augment, AugmentConfig),
    "coils": config_lib.of_any_version(coils, CoilsConfig),
  }


def in_words(
  there: Mapping,
  here: Mapping,
  is_free: Callable[[str], Any] = lambda key: False,
  more: Sequence[str] = (),
) -> str:
  """ "KEY: VALUE there, VALUE here" of each difference; "" without any.

  Args:
    there: nested dicts and sequences, such as an object from a JSON file.
    here: likewise; an empty group is like none, and a value like its form in JSON: a
      tuple like a list, NaN like None.
    is_free: whether a key may differ.
    more: further differences in words.
  """
  old, new = (_values(json_text.plain(tree)) for tree in (there, here))
  words = [
    f"{key}: {old.get(key)!r} there, {new.get(key)!r} here"
    for key in sorted({*old, *new})
    if old.get(key) != new.get(key) and not is_free(key)
  ]
  return shortened([*words, *more], "; ")


def shortened(words: Sequence[str], separator: str) -> str:
  """The words in a row; of many the first ones and their number."""
  rest = len(words) - _MOST_SHOWN
  more = [f"and {rest} more"] if rest > 0 else []
  return separator.join([*words[:_MOST_SHOWN], *more])


def _values(tree: Mapping) -> dict[str, Any]:
  """The values in nested dicts and sequences, by dotted key; a flat list is one."""
  leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=_is_value)
  keystr = functools.partial(jax.tree_util.keystr, simple=True, separator=".")
  return {keystr(path): value for path, value in leaves}


def _is_value(node: Any) -> bool:
  if isinstance(node, list):
    return not any(isinstance(each, dict | list) for each in node)
  return node is None

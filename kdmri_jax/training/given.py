"""Stages that are not trained here: their weights or images come from elsewhere."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import logging
from flax import linen as nn

from kdmri_jax import models
from kdmri_jax.config import ExperimentConfig
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.interop import CHECKPOINTS, lasagne, params_file
from kdmri_jax.pretrained import store
from kdmri_jax.training import given_outputs, records
from kdmri_jax.training.given_onnx import GivenOnnx
from kdmri_jax.training.given_outputs import GivenOutputs
from kdmri_jax.training.given_stage import Given, Origin
from kdmri_jax.training.stage_folder import StageFolder
from kdmri_jax.training.workdir import WorkDir, read_config, read_data

# Settings of a network that change how it is computed, not its result.
_FREE = ("parent", "name", "consistency", "precision", "recompute")
_ORIENTATION = (
  "%s: its kernels are taken for those of Lasagne's Conv2DLayer. If they are of "
  "Conv2DDNNLayer, they are turned by 180 degrees: see docs/runs.md."
)


class GivenRun(Given):
  """A stage of another run.

  Args:
    text: the setting in the config.
    where: the config's key.
    model: the network of this run's stage.

  Raises:
    UserError: no such stage, or a stage of another network.
  """

  def __init__(self, text: str, where: str, model: nn.Module):
    super().__init__(text, where)
    self._path, self._stage, self._seed = _place(pathlib.Path(text))
    self._config, self._data = read_config(self._path), read_data(self._path)
    if not isinstance(self._data.get("training_slices"), dict):
      expected = "`training_slices`, as a run records them"
      remedy = "Name a folder that `kdmri run` wrote."
      raise UserError(self._path / "dataset.json", "none in it", expected, remedy)
    if self._stage not in self._config.stages:
      known = ", ".join(self._config.stages)
      raise UserError(where, f"{text!r}, and no such stage", f"a stage out of {known}")
    stage = self._config.stages[self._stage]
    there = models.build(self._config.models[stage.model], np.ones((1, 8, 8)))
    _require_same(model, there, text, where)
    self._deeper = find(stage.given, where, model) if stage.given else None

  def weights(self, seed: int, shapes: Any, item: str = "best") -> Any:
    """See `Given.weights`."""
    if self._deeper:
      return self._deeper.weights(seed, shapes, item)
    return self._workdir(seed).trained(self._stage).weights(shapes, item)

  def origin(self, seed: int) -> Origin:
    """See `Given.origin`."""
    if self._deeper:
      return dataclasses.replace(
        self._deeper.origin(seed), text=f"{self.text}, given there"
      )
    workdir = self._workdir(seed)
    folder = workdir.trained(self._stage)
    own = {"population": self._config.data.population}
    sets, complete = [own | {"subjects": self._data["training_slices"]}], True

    def is_given(name: str) -> bool:
      return bool(store.named(name) or self._config.stages[name].given)

    for name in self._config.with_sources([self._stage], is_given):
      if start := store.named(name):
        card = store.read(start).card
        sets += card.training_sets
        complete = complete and card.complete
      elif given := StageFolder(workdir.stage(name)).given():
        sets += given["training_sets"]
        complete = complete and given["complete"]
    text = f"{self.text}, seed {workdir.seed}"
    chosen_on = _chosen_on(self._config, self._data)
    return Origin(text, folder.digests(), folder.record(), sets, complete, chosen_on)

  def _workdir(self, seed: int) -> WorkDir:
    """The other run's folder, with its seed for a seed of this run."""
    path, stage, chosen = self._path, self._stage, self._seed
    runs = [WorkDir(path, k) for k in WorkDir(path, seed).seeds(stage)]
    done = {r.seed: r for r in runs if StageFolder(r.stage(stage)).is_finished()}
    if chosen is None:
      is_only = self._config.seeds == len(runs) == len(done) == 1
      chosen = min(done) if is_only else seed
    if chosen in done:
      return done[chosen]
    known = ", ".join(map(str, done)) or "none"
    found = f"{self.text!r}, not finished with seed {chosen}; finished seeds: "
    expected = "a finished stage with this seed, or of a run that has one seed alone"
    remedy = "Finish that run first."
    if done:
      remedy = f"Choose one of them: {self.where}={path}/seed_{min(done)}/{stage}."
    raise UserError(self.where, found + known, expected, remedy)


def _pretrained(text: str, where: str, model: nn.Module) -> Given:
  """A pretrained network; `UserError` for an unknown or another one."""
  try:
    card, params, _ = store.read(store.named(text))
  except ArgumentError as error:
    raise UserError(where, repr(text), error.expected, error.remedy) from error
  settings = card.experiment.models[card.experiment.stages[card.stage].model]
  _require_same(model, models.build(settings, np.ones((1, 8, 8))), text, where)
  digest = {"best": card.digest}
  known = Origin(text, digest, card.record, card.training_sets, card.complete)
  there = card.record["data"].get("validation_digest")
  if there == card.data.get("validation_digest"):  # else it was given to the card's run
    chosen_on = _chosen_on(card.experiment, card.data)
    known = dataclasses.replace(known, chosen_on=chosen_on)
  return Given(text, where, params, known)


def _published(text: str, where: str, model: nn.Module) -> Given:
  """A network of the published codes.

  Raises:
    UserError: the file cannot be read, or holds another network.
  """
  reader = CHECKPOINTS.get(type(model))
  if reader is None:
    kinds = ", ".join(kind.__name__ for kind in CHECKPOINTS)
    found = f"a file for a stage of the network {type(model).__name__}"
    raise UserError(where, found, f"one of {kinds}, which published codes have")
  there, variables = reader(text, model)
  _require_same(model, there, text, where)
  return Given(text, where, variables["params"])


class GivenFile(Given):
  """Weights in a file of Flax, of any network."""

  def weights(self, seed: int, shapes: Any, item: str = "best") -> Any:
    """See `Given.weights`; raises a `UserError` where they have other shapes."""
    return params_file.fitted(self.text, super().weights(seed, shapes, item), shapes)


def find(text: str, where: str, model: nn.Module) -> Given:
  """Interprets a stage's `given`.

  Args:
    text: WORKDIR/STAGE or WORKDIR/seed_N/STAGE of another run; "pretrained:NAME"; a
      .pt or .pth file of a published code, or an .npz file of Lasagne; a file of
      weights, see `params_file.read`; an .onnx file; or a folder of outputs.
    where: the config's key.
    model: the stage's network.

  Raises:
    UserError: it is none of these, or cannot be used for this network.
  """
  path = pathlib.Path(text)
  if store.named(text):
    return _pretrained(text, where, model)
  of_lasagne = isinstance(model, models.DCCNN) and lasagne.is_checkpoint(path)
  if of_lasagne:
    logging.warning(_ORIENTATION, text)
  if of_lasagne or path.suffix.lower() in (".pt", ".pth"):
    return _published(text, where, model)
  if path.suffix.lower() in params_file.ENDINGS or params_file.is_checkpoint(path):
    return GivenFile(text, where, params_file.read(path))
  if path.suffix.lower() == ".onnx":
    return GivenOnnx(text, where, models.channels(model))
  if (_place(path)[0] / "config.json").is_file():
    return GivenRun(text, where, model)
  if given_outputs.find(path):
    return GivenOutputs(text, where)
  raise UserError(
    where,
    f"{text!r}, where there are no weights and no images",
    "a stage of another run (WORKDIR/STAGE), pretrained:NAME, a file of weights (.pt, "
    f"{', '.join(params_file.ENDINGS)}, or a folder of orbax), an .onnx file, or a "
    "folder of volumes (h5, NIfTI, npz, npy, mat, cfl, DICOM)",
  )


def find_all(
  config: ExperimentConfig, networks: Mapping[str, nn.Module], workdir: pathlib.Path
) -> dict[str, Given]:
  """The given stages of an experiment's pipeline, and networks that start others.

  Args:
    config: the experiment.
    networks: the network of each stage.
    workdir: this run's folder, whose own stages cannot be given.

  Returns:
    By name of the stage; a pretrained network that starts a stage by its `start_from`.

  Raises:
    UserError: see `find`.
  """
  found = {}
  for name in config.pipeline:
    text, where = config.stages[name].given, f"config.stages.{name}.given"
    path = pathlib.Path(text)
    if text and not path.is_file() and workdir.resolve() == _place(path)[0].resolve():
      raise UserError(where, f"{text!r} of this run itself", "a stage of another run")
    if text:
      found[name] = find(text, where, networks[name])
    start = config.stages[name].start_from
    if store.named(start) and not text:
      where = f"config.stages.{name}.start_from"
      found[start] = find(start, where, networks[name])
  return found


def _chosen_on(config: ExperimentConfig, data: Mapping[str, Any]) -> dict[str, Any]:
  """See `Origin.chosen_on`; of the record of a run's data."""
  subjects = data.get("subjects", {}).get("validation", [])
  return {"population": config.data.population, "subjects": subjects}


def _place(path: pathlib.Path) -> tuple[pathlib.Path, str, int | None]:
  """WORKDIR/STAGE or WORKDIR/seed_N/STAGE: the folder, the stage, and the seed."""
  parent, seed = path.parent, path.parent.name.removeprefix("seed_")
  if parent.name.startswith("seed_") and seed.isdecimal():
    return parent.parent, path.name, int(seed)
  return parent, path.name, None


def _require_same(here: nn.Module, there: nn.Module, text: str, where: str) -> None:
  """Refuses another network, naming the differences."""
  if type(here) is not type(there):
    found = f"{text!r}, a {type(there).__name__}"
    raise UserError(where, found, f"a {type(here).__name__}, the stage's network")

  def settings(network: nn.Module) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(network)}.difference(_FREE)
    return {name: getattr(network, name) for name in names}

  if different := records.in_words(settings(there), settings(here)):
    found = f"{text!r}, another network ({different})"
    raise UserError(where, found, "the settings of the stage's network")

"""Stages that are not trained here: their weights or images come from elsewhere."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np
from flax import linen as nn

from kdmri_jax import models
from kdmri_jax.config import ExperimentConfig
from kdmri_jax.data import digests
from kdmri_jax.data.slice_set import SliceSet
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import UserError
from kdmri_jax.interop import CHECKPOINTS
from kdmri_jax.io.reading import reading
from kdmri_jax.training import fingerprint
from kdmri_jax.training.stage_folder import StageFolder
from kdmri_jax.training.workdir import WorkDir, read_config, read_data

KEY = "reconstruction"  # of h5 files of outputs
# Settings of a network that change how it is computed, not its result.
_FREE = ("parent", "name", "consistency", "precision")


@dataclasses.dataclass(frozen=True)
class Origin:
  """The origin of a given stage, for one seed of this run.

  Attributes:
    text: a description, such as "runs/other/teacher, seed 42".
    digests: of its weights, as `Progress.weights`; for outputs the digest of the
      images.
    record: of its training, see `fingerprint.describe`; None where unknown.
    training_sets: its training subjects, including those of stages that it depends on:
      dicts {"population", "subjects": {name: digests of slices}}.
    complete: whether the list of training subjects is complete, as far as known.
  """

  text: str
  digests: Mapping[str, str]
  record: Mapping[str, Any] | None
  training_sets: Sequence[Mapping[str, Any]]
  complete: bool


class GivenRun:
  """A stage of another run.

  Args:
    text: the setting in the config.
    where: the config's key.
    model: the network of this run's stage.
    place: the other run's folder, its stage, and the seed where the user chose one.

  Raises:
    UserError: no such run or stage, or a stage of another network.
  """

  def __init__(
    self,
    text: str,
    where: str,
    model: nn.Module,
    place: tuple[pathlib.Path, str, int | None],
  ):
    self.text = text
    self._where, self._place = where, place
    path, stage, _ = place
    self._config, self._data = read_config(path), read_data(path)
    if stage not in self._config.stages:
      known = ", ".join(self._config.stages)
      raise UserError(where, f"{text!r}, and no such stage", f"a stage out of {known}")
    settings = self._config.models[self._config.stages[stage].model]
    there = models.build(settings, np.ones((1, 8, 8)))
    _require_same(model, there, text, where)
    deeper = self._config.stages[stage].given
    self._deeper = find(deeper, where, model) if deeper else None

  def weights(self, seed: int, shapes: Any, item: str = "best") -> Any:
    """Its weights for a seed of this run; arguments as `StageFolder.weights`."""
    if self._deeper:
      return self._deeper.weights(seed, shapes, item)
    return self._checked(seed)[0].weights(shapes, item)

  def origin(self, seed: int) -> Origin:
    """The origin of its weights for a seed of this run."""
    if self._deeper:
      return dataclasses.replace(
        self._deeper.origin(seed), text=f"{self.text}, given there"
      )
    folder, chosen = self._checked(seed)
    record, workdir = folder.record(), WorkDir(self._place[0], chosen)
    sets, complete = [fingerprint.training_set(self._config.data, self._data)], True
    for name in needed(self._config, self._place[1]):
      if given := StageFolder(workdir.stage(name)).given():
        sets += given["training_sets"]
        complete = complete and given["complete"]
    text = f"{self.text}, seed {chosen}"
    return Origin(text, folder.digests(), record, sets, complete)

  def _checked(self, seed: int) -> tuple[StageFolder, int]:
    """The other run's folder and seed for a seed of this run."""
    path, stage, wanted = self._place
    begun = WorkDir(path, seed).seeds(stage)
    folders = {k: StageFolder(WorkDir(path, k).stage(stage)) for k in begun}
    finished = [k for k, folder in folders.items() if folder.is_finished()]
    chosen = seed if wanted is None else wanted
    if chosen not in finished and wanted is None and len(finished) == 1:
      chosen = finished[0]
    if chosen not in finished:
      known = ", ".join(map(str, finished))
      raise UserError(
        self._where,
        f"{self.text!r}, which is not finished with the seed {chosen}"
        + (f" but with {known}" if known else ""),
        "a finished stage with this seed, or with one seed alone",
        f"Choose one of them: {self._where}={path}/seed_{finished[0]}/{stage}."
        if finished
        else "Finish that run first.",
      )
    workdir = WorkDir(path, chosen)
    folders[chosen].check(
      fingerprint.describe(self._config, self._data, chosen, stage, workdir.digest)
    )
    return folders[chosen], chosen


class GivenFile:
  """A network of the published PyTorch codes.

  Args:
    text: the file in the config.
    where: the config's key.
    model: the network of this run's stage.

  Raises:
    UserError: the file cannot be read, or holds another network.
  """

  def __init__(self, text: str, where: str, model: nn.Module):
    self.text = text
    self._where = where
    reader = CHECKPOINTS.get(type(model))
    if reader is None:
      kinds = ", ".join(kind.__name__ for kind in CHECKPOINTS)
      found = f"a file for a stage of the network {type(model).__name__}"
      raise UserError(where, found, f"one of {kinds}, which published codes have")
    there, variables = reader(text, model)
    _require_same(model, there, text, where)
    self._params = variables["params"]

  def weights(self, seed: int, shapes: Any, item: str = "best") -> Any:
    """Its weights, the same for every seed."""
    del seed, shapes
    if item != "best":
      found = f"{self.text!r}, which holds the weights of one network"
      raise UserError(self._where, found, "a run's stage, which keeps its branches")
    return self._params

  def origin(self, seed: int) -> Origin:
    """The origin of its weights."""
    del seed
    digest = {"best": fingerprint.of_weights(self._params)}
    return Origin(self.text, digest, None, (), False)


class GivenOutputs:
  """Images of any network, in h5 files named like the volumes.

  Args:
    text: the folder in the config.
    where: the config's key.
  """

  def __init__(self, text: str, where: str):
    self.text = text
    self._where, self._folder = where, pathlib.Path(text)

  def weights(self, seed: int, shapes: Any, item: str = "best") -> Any:
    """{}: outputs have no weights."""
    del seed, shapes
    if item != "best":
      raise UserError(self._where, "a folder of outputs", "a run's stage")
    return {}

  def origin(self, seed: int) -> Origin:
    """The origin of the images."""
    del seed
    return Origin(self.text, {"best": self._digest}, None, (), False)

  @functools.cached_property
  def _digest(self) -> str:
    arrays = []
    for path in sorted(self._folder.glob("*.h5")):
      arrays += [path.name.encode(), np.ascontiguousarray(self._read(path)[0])]
    return digests.digest(arrays)

  def covers(self, slices: SliceSet) -> bool:
    """Whether there is a file for each volume of a set."""
    return all(self._file(volume).is_file() for volume in slices.volumes)

  def images(self, volume: Volume, channels: int) -> np.ndarray:
    """The images of a volume, float32 [S, H, W, C], scaled as its targets are.

    Raises:
      UserError: there is no file for it, or it holds other images.
    """
    path = self._file(volume)
    if not path.is_file():
      found = f"{self.text!r} without {path.name}"
      expected = "an output for every training and validation volume of its students"
      remedy = "Reconstruct that volume, too, or exclude it from the data."
      raise UserError(self._where, found, expected, remedy)
    images, units = self._read(path)
    if images.shape != tuple(volume.target.shape):
      expected = f"{tuple(volume.target.shape)}, the shape of the volume in this run"
      raise UserError(path, f"{KEY} of shape {images.shape}", expected)
    kinds = ("a real", "a complex")
    if (images.dtype.kind == "c") != (channels == 2):
      found, expected = f"{kinds[2 - channels]} {KEY}", f"{kinds[channels - 1]} one"
      raise UserError(path, found, f"{expected}, as the images of this run")
    if units == "file":
      images = images / volume.record["scale_factor"]
    if channels == 1:
      return np.float32(images)[..., None]
    return np.stack([images.real, images.imag], axis=-1).astype(np.float32)

  def of_part(self, slices: SliceSet, part: int) -> np.ndarray:
    """The images of a part of a set, float32 [N, H, W, C]."""
    channels = slices.parts[part].target.shape[-1]
    return np.concatenate(
      [self.images(volume, channels) for volume, _ in slices.of_part(part)]
    )

  def _file(self, volume: Volume) -> pathlib.Path:
    return self._folder / f"{volume.name}.h5"

  def _read(self, path: pathlib.Path) -> tuple[np.ndarray, str]:
    with reading(path), h5py.File(path) as file:
      if KEY not in file:
        found = f"the keys {', '.join(file)}"
        raise UserError(path, found, f"the key {KEY} [slices, rows, columns]")
      images, units = file[KEY][()], str(file.attrs.get("units", ""))
    if not np.isfinite(images).all():
      raise UserError(path, f"NaN or infinite values in {KEY}", "finite intensities")
    return images, units


Given = GivenRun | GivenFile | GivenOutputs


def find(text: str, where: str, model: nn.Module) -> Given:
  """Interprets a stage's `given`.

  Args:
    text: WORKDIR/STAGE or WORKDIR/seed_N/STAGE of another run; a .pt or .pth file of
      a published code; or a folder of h5 files.
    where: the config's key.
    model: the stage's network.

  Raises:
    UserError: it is none of these, or cannot be used for this network.
  """
  path = pathlib.Path(text)
  if path.suffix in (".pt", ".pth"):
    return GivenFile(text, where, model)
  place = _place(path)
  if (place[0] / "config.json").is_file():
    return GivenRun(text, where, model, place)
  if path.is_dir() and any(path.glob("*.h5")):
    return GivenOutputs(text, where)
  raise UserError(
    where,
    f"{text!r}, where there are no weights and no images",
    "a stage of another run (WORKDIR/STAGE), a .pt file, or a folder of h5 files",
  )


def find_all(
  config: ExperimentConfig, networks: Mapping[str, nn.Module], workdir: pathlib.Path
) -> dict[str, Given]:
  """The given stages of an experiment's pipeline.

  Args:
    config: the experiment.
    networks: the network of each stage.
    workdir: this run's folder, whose own stages cannot be given.

  Raises:
    UserError: see `find`.
  """
  found = {}
  for name in config.pipeline:
    text, where = config.stages[name].given, f"config.stages.{name}.given"
    if text and workdir.resolve() == _place(pathlib.Path(text))[0].resolve():
      raise UserError(where, f"{text!r} of this run itself", "a stage of another run")
    if text:
      found[name] = find(text, where, networks[name])
  return found


def needed(config: ExperimentConfig, name: str) -> list[str]:
  """The stages whose weights a stage depends on, directly or not."""
  wanted = [name]
  for each in wanted:
    stage = config.stages[each]
    if each == name or not stage.given:
      others = (*stage.all_teachers, stage.start_from.partition("/")[0])
      wanted += [other for other in others if other and other not in wanted]
  return wanted[1:]


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
  different = [
    f"{field.name}: {getattr(there, field.name)!r} there, "
    f"{getattr(here, field.name)!r} here"
    for field in dataclasses.fields(here)
    if field.name not in _FREE
    and getattr(there, field.name) != getattr(here, field.name)
  ]
  if different:
    found = f"{text!r}, another network ({'; '.join(different)})"
    raise UserError(where, found, "the settings of the stage's network")

"""A whole experiment small enough for a test."""

import contextlib
import os
import pathlib
import signal

import jax
import numpy as np

from kdmri_jax import config as config_lib
from kdmri_jax import json_text
from kdmri_jax.experiments import base
from kdmri_jax.inference import load, read_scan, reconstruct
from kdmri_jax.training import log, records, seeds
from kdmri_jax.training.checkpoint import Checkpoints, Progress, Snapshot
from kdmri_jax.training.experiment import Experiment
from kdmri_jax.training.optimiser import make_optimiser
from kdmri_jax.training.stage_loop import _Loop
from kdmri_jax.training.stage_networks import as_trained
from kdmri_jax.training.step import init_state, make_predict


def tiny_config(protocol="paper", **changes):
  """Two cascades, few features, eight phantoms of 24x20; keys as in the config file."""
  config = base.get_config(protocol)
  config.name = "tiny"
  config.epochs = 2
  config.devices = 2
  config.audit_every = config.watch.image_every = 0
  config.data.phantom.update(subjects=8, slices=3, size=(24, 20), family="brain")
  config.mask.update(acceleration=3.0, centre_lines=4)
  for stage in config.stages.values():
    stage.learning_rate = 3e-3
  for model in config.models.values():
    model.update(cascades=2, features=4)
  for stage in config.stages.values():
    for term in stage.terms.values():
      term.guided, term.hint = term.guided[:2], term.hint[:2]
  config.update(changes)
  return config


def make(path: pathlib.Path, protocol="paper", **changes) -> Experiment:
  """The tiny experiment in this folder."""
  return Experiment(config_lib.parse(tiny_config(protocol, **changes)), path)


def train(pipeline, stages=None):
  """Trains the stages named, or all."""
  with pipeline.workdir.locked():
    return seeds.train(pipeline, stages or pipeline.config.pipeline)


def finish(run: Experiment, *names: str) -> None:
  """Leaves what a training leaves, with the weights that it starts from."""
  run.claim(names)
  for name in names:
    run.begin(name)
    params = run.start_params(name)
    optimiser = make_optimiser(run.config.stages[name], steps_per_epoch=1)
    checkpoints = Checkpoints(run.workdir.stage(name) / "checkpoints")
    state = init_state(params, {}, optimiser)
    checkpoints.save(Snapshot(state, params, Progress(step=1, finished=True)))
    checkpoints.close()


def final(workdir: pathlib.Path, stage: str, seed: int | None = None) -> Snapshot:
  """The last checkpoint of a stage: weights and optimiser state, best, progress."""
  pipeline = Experiment(load.read_config(workdir), workdir)
  pipeline = pipeline.for_seed(pipeline.seed if seed is None else seed)
  params = pipeline.initial_params(stage)
  settings = pipeline.config.stages[stage]
  taught = [pipeline.best(settings.teacher)] if settings.shrink else []
  networks = pipeline.plans.networks[stage]._replace(
    branches=None, shrink_steps=len(taught)
  )
  trained = as_trained(networks, jax.device_get(params), {}, taught)
  state = init_state(*trained, make_optimiser(settings, steps_per_epoch=1))
  like = Snapshot(state, params, Progress())
  directory = pipeline.workdir.stage(stage) / "checkpoints"
  checkpoints = Checkpoints(directory, read_only=True)
  snapshot = checkpoints.restore(like)
  checkpoints.close()
  return snapshot


def assert_same_end(a: Snapshot, b: Snapshot):
  """Bit for bit the same, but for the time it took."""
  jax.tree.map(np.testing.assert_array_equal, (a.state, a.best), (b.state, b.best))
  assert {**vars(a.progress), "seconds": 0} == {**vars(b.progress), "seconds": 0}


@contextlib.contextmanager
def edited(path: pathlib.Path):
  """The record of a run in a file, to be changed; it is written with a new checksum."""
  record = json_text.unsealed(json_text.loads(path.read_text()))
  yield record
  records.write(path, record)


def run_file(workdir: pathlib.Path, stage: str, path: pathlib.Path, **options):
  """Reconstructs a file as its run's own data settings read it."""
  scan = read_scan.read(path, load.read_config(workdir).data)
  return reconstruct.run_scan(workdir, stage, scan, **options).images


def stop_in_dispatch(patch, number, which=signal.SIGTERM):
  """Sends this process a signal while a training step is dispatched, from 1."""
  dispatch, count = _Loop._dispatch, 0

  def counting(*arguments):
    nonlocal count
    count += 1
    if count == number:
      os.kill(os.getpid(), which)
    return dispatch(*arguments)

  patch.setattr(_Loop, "_dispatch", counting)


def history(workdir: pathlib.Path, stage: str) -> list[dict]:
  """The lines of a stage's metrics.jsonl without their times."""
  lines = log.read(workdir / "seed_42" / stage / "metrics.jsonl")
  for line in lines:
    line.pop("seconds", None)
  return lines


def write_outputs(pipeline: Experiment, stage: str, folder: pathlib.Path) -> None:
  """Writes the images of a stage for all training and validation volumes."""
  predict = make_predict(pipeline.models[stage], pipeline.devices)
  best, acquisitions = pipeline.best(stage), pipeline.dataset.acquisitions
  for split in (pipeline.dataset.train, pipeline.dataset.validation):
    slices = reconstruct.run(predict, best, split.parts, acquisitions, 4, "")
    for volume, _, result in reconstruct.by_volume(slices, split):
      reconstruct.write(folder, result.image, volume, "reconstruction")

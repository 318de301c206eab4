"""A tiny finished run, and what reads its work directory."""

import atexit
import contextlib
import functools
import pathlib
import shutil
import tempfile

import jax
import numpy as np
from helpers import tiny

import kdmri_jax
from kdmri_jax import config as config_lib
from kdmri_jax.errors import UserError
from kdmri_jax.inference import network
from kdmri_jax.training import seeds
from kdmri_jax.training.checkpoint import Checkpoints, Progress, Snapshot
from kdmri_jax.training.experiment import Experiment
from kdmri_jax.training.optimiser import make_optimiser
from kdmri_jax.training.step import init_state

STAGES = ("teacher", "feature")


def _config():
  config = tiny.tiny_config(devices=1, epochs=1)
  config.data.phantom.update(subjects=4, slices=1, size=(16, 16))
  config.batch_size = 3
  return config


@functools.cache
def _run():
  """The run that all readers of work directories share."""
  folder = pathlib.Path(tempfile.mkdtemp(prefix="fuzz-run-"))
  atexit.register(shutil.rmtree, folder, ignore_errors=True)
  kdmri_jax.train(_config(), folder / "run", STAGES)
  return folder / "run"


def make(folder):
  shutil.copytree(_run(), folder / "run")


def load(folder):
  return [network.load(folder / "run", stage).parameters for stage in STAGES]


@functools.cache
def _like(stage):
  """A fresh snapshot of a stage, for the shapes of its checkpoint."""
  with tempfile.TemporaryDirectory() as folder:
    experiment = Experiment(config_lib.parse(_config()), pathlib.Path(folder))
  params = experiment.initial_params(stage)
  optimiser = make_optimiser(experiment.config.stages[stage], steps_per_epoch=1)
  return Snapshot(init_state(params, {}, optimiser), params, Progress())


def state(folder):
  found = []
  for stage in STAGES:
    directory = folder / "run" / "seed_42" / stage / "checkpoints"
    with contextlib.closing(Checkpoints(directory, read_only=True)) as checkpoints:
      snapshot = checkpoints.restore(_like(stage))
    if snapshot is None:  # the stage would be trained again
      raise UserError(directory, "no checkpoint", "one")
    found.append(jax.tree.map(np.asarray, (snapshot.state, snapshot.best)))
  return found


def resume(folder):
  experiment = Experiment(config_lib.parse(_config()), folder / "run")
  with experiment.workdir.locked():
    (done,) = seeds.train(experiment, STAGES)
  return [jax.tree.map(np.asarray, done.best(stage)) for stage in STAGES]


def report(folder):
  kdmri_jax.train(_config(), folder / "run", STAGES)
  return (folder / "run" / "report" / "summary.csv").read_text()

"""A tiny finished run, and what reads its work directory."""

import atexit
import functools
import pathlib
import shutil
import tempfile

import jax
import numpy as np
from helpers import tiny

import kdmri_jax
from kdmri_jax import config as config_lib
from kdmri_jax.inference import network
from kdmri_jax.training import seeds
from kdmri_jax.training.experiment import Experiment

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


def state(folder):
  snapshots = [tiny.final(folder / "run", stage) for stage in STAGES]
  return [jax.tree.map(np.asarray, (s.state, s.best)) for s in snapshots]


def resume(folder):
  experiment = Experiment(config_lib.parse(_config()), folder / "run")
  with experiment.workdir.locked():
    (done,) = seeds.train(experiment, STAGES)
  return [jax.tree.map(np.asarray, done.best(stage)) for stage in STAGES]


def report(folder):
  kdmri_jax.train(_config(), folder / "run", STAGES)
  return (folder / "run" / "report" / "summary.csv").read_text()

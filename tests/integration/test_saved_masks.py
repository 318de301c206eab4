"""A run saves its masks, and the commands read them."""

import numpy as np
import pytest
from helpers.commands import run
from helpers.tiny import finish, make, tiny_config

import kdmri_jax as kd
from kdmri_jax import config as config_lib
from kdmri_jax.physics.masks import files
from kdmri_jax.training.experiment import Experiment

pytestmark = pytest.mark.usefixtures("quick_compilation")


def test_the_mask_of_a_run(tmp_path):
  experiment = make(tmp_path / "run")
  finish(experiment, "teacher")
  path = tmp_path / "run" / "mask.npy"
  (acquisition,) = experiment.dataset.acquisitions.values()
  mask = kd.masks.load(path, (24, 20), axis=0)
  np.testing.assert_array_equal(mask, acquisition.masks[0])
  np.testing.assert_array_equal(kd.load(tmp_path / "run", "teacher").mask, mask)
  shown = run("masks", "show", path)
  assert shown.returncode == 0 and "24x20" in shown.stdout
  np.savez(tmp_path / "scan.npz", image=np.random.default_rng(0).random((2, 24, 20)))
  network = f"--workdir={tmp_path / 'run'}", "--stage=teacher"
  scan = f"--input={tmp_path / 'scan.npz'}", f"--out={tmp_path / 'out.h5'}"
  done = run("reconstruct", *network, *scan, f"--mask={path}")
  assert done.returncode == 0, done.stderr
  assert f"the mask {path}: 8 of 24 rows" in done.stdout
  # A run that goes on writes it again.
  path.unlink()
  make(tmp_path / "run").claim(["teacher"])
  np.testing.assert_array_equal(np.load(path), mask)


def test_the_masks_of_several_tasks(tmp_path):
  config = tiny_config()
  for name, acceleration in (("fast", 4.0), ("slow", 2.0)):
    config.tasks[name] = {"mask": {"acceleration": acceleration, "centre_lines": 4}}
  experiment = Experiment(config_lib.parse(config), tmp_path)
  experiment.claim(["teacher"])
  assert {path.stem for path in tmp_path.glob("*.npy")} == {"mask_fast", "mask_slow"}
  for name, lines in (("fast", 6), ("slow", 12)):
    mask = kd.masks.load(tmp_path / f"mask_{name}.npy", (24, 20))
    assert mask[:, 0].sum() == lines


def test_names():
  assert files.names([""], [(24, 20)]) == [["mask"]]
  assert files.names(["only"], [(24, 20)]) == [["mask"]]
  assert files.names(["a", "b"], [(24, 20), (8, 9)]) == [
    ["mask_a_24x20", "mask_b_24x20"],
    ["mask_a_8x9", "mask_b_8x9"],
  ]

"""Several processes and several commands for one run: their flags, locks and errors."""

import concurrent.futures
import pickle

import numpy as np
import pytest
from helpers.commands import refused
from helpers.tiny import tiny_config

import kdmri_jax as kd
from kdmri_jax import config as config_lib
from kdmri_jax.errors import ArgumentError, Interrupted, UserError
from kdmri_jax.training import processes
from kdmri_jax.training.workdir import WorkDir, refuse_other


@pytest.mark.parametrize(
  ("flags", "error"),
  [
    (["--processes=2"], "found no --coordinator and no --process; expected all"),
    (["--coordinator=a:1", "--processes=2"], "found no --process; expected all"),
    (
      ["--coordinator=a:1", "--processes=2", "--process=2"],
      "--process: found 2; expected 0 to 1",
    ),
    (
      ["--coordinator=node1", "--processes=2", "--process=0"],
      "--coordinator: found 'node1'; expected HOST:PORT",
    ),
    (["--distributed"], "expected processes that reach each other. Under Slurm start"),
    (["--seeds=a"], "--seeds: found 'a'; expected whole numbers"),
    (["--seeds=42,43"], "--seeds: found 42, 43; expected some of 42. They are"),
  ],
)
def test_flags_that_do_not_fit_are_refused(tmp_path, flags, error):
  found = refused("run", "--config=demo", f"--workdir={tmp_path / 'run'}", *flags)
  assert error in found
  assert not (tmp_path / "run").exists()


def test_no_seeds_are_refused(tmp_path):
  with pytest.raises(ArgumentError, match=r"^seeds: found none; expected some of 42"):
    kd.train(tiny_config(), tmp_path, seeds=[])


def test_one_process_does_everything_itself():
  assert processes.count() == 1 and processes.is_first()
  np.testing.assert_array_equal(processes.share(np.arange(4)), np.arange(4))
  assert processes.of_first(lambda: 3) == processes.in_all(lambda: 3) == 3
  poll = processes.Poll([])
  assert (poll.next(15), poll.now(0)) == (15, 0)


@pytest.mark.parametrize("error", [UserError, ArgumentError])
def test_errors_go_from_one_process_to_another(error):
  sent = error("a.npz", "3", "4", "Count again.")
  there = pickle.loads(pickle.dumps(sent))
  assert (
    type(there) is error and str(there) == str(sent) and there.remedy == sent.remedy
  )
  stop = pickle.loads(pickle.dumps(Interrupted(15, "stopped")))
  assert stop.signal_number == 15 and str(stop) == "stopped"


def test_a_process_with_other_settings_or_data_is_refused():
  first = {"config": {"epochs": 2, "data": {"root": "/a"}}, "data": {"train": ["x"]}}
  elsewhere = {**first, "config": {"epochs": 2, "data": {"root": "/b"}}}
  refuse_other(first, elsewhere)
  with pytest.raises(UserError, match=r"found data.train: \['x'\] there, \['y'\] here"):
    refuse_other(first, {**first, "data": {"train": ["y"]}})


def test_different_seeds_of_a_folder_are_locked_at_once(tmp_path):
  run = WorkDir(tmp_path, 42)
  with run.locked([42]), run.locked([43, 44]):
    with pytest.raises(UserError, match=r"seed_43: found another process"):
      run.locked([43]).__enter__()
    with pytest.raises(UserError, match="found another process that uses"):
      run.locked().__enter__()
  with run.locked(), pytest.raises(UserError, match="found another process"):
    run.locked([42]).__enter__()


def test_commands_may_claim_a_new_folder_at_once(tmp_path):
  settings = config_lib.parse(tiny_config())

  def claim(folder):
    for write in (False, True):
      WorkDir(folder, 42).claim(settings, {"train": ["x"]}, write=write)

  with concurrent.futures.ThreadPoolExecutor(4) as pool:
    for k in range(5):
      list(pool.map(claim, 4 * [tmp_path / str(k)]))

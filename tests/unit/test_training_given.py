"""Which seed of another run a given stage takes, and what is told of it."""

import pytest
from helpers.sweep import make, sweep_config
from helpers.tiny import finish

from kdmri_jax.errors import UserError

pytestmark = pytest.mark.usefixtures("quick_compilation")


def trained(path, seeds, finished):
  """The teacher's setting where a run of so many seeds has finished these."""
  config = sweep_config()
  config.seeds = seeds
  for seed in finished:
    finish(make(path, config).for_seed(seed), "teacher")
  return path / "teacher"


def origins(path, given, seeds=2):
  config = sweep_config(given=given)
  config.seeds = seeds
  run = make(path, config)
  return [run.for_seed(42 + k).origin("teacher").text for k in range(seeds)]


def test_the_only_seed_of_a_run_stands_for_all(tmp_path):
  given = trained(tmp_path / "other", 1, [42])
  assert origins(tmp_path / "run", given) == 2 * [f"{given}, seed 42"]


def test_a_run_that_has_not_finished_all_seeds_lends_none_for_others(tmp_path):
  given = trained(tmp_path / "other", 2, [42])
  assert origins(tmp_path / "run", given, seeds=1) == [f"{given}, seed 42"]
  message = "not finished with seed 43; finished seeds: 42"
  with pytest.raises(UserError, match=message) as caught:
    origins(tmp_path / "run", given)
  assert f"{given.parent}/seed_42/teacher" in str(caught.value)
  trained(tmp_path / "other", 2, [43])
  assert origins(tmp_path / "run", given)[1] == f"{given}, seed 43"


def test_an_epoch_that_was_chosen_on_evaluated_subjects_is_told(tmp_path):
  given = trained(tmp_path / "other", 1, [42])
  split = make(tmp_path / "other").dataset.record["subjects"]
  config = sweep_config(given=given)
  assert make(tmp_path / "run", config).given_notes() == []  # all epochs are chosen so

  def notes(*tested):
    config.data.phantom.subjects = 8
    config.data.update(validation=split["train"][:1], test=tested)
    found = make(tmp_path / "run", config).given_notes()
    return [note for note in found if " was chosen on " in note]

  (seen,) = split["validation"]
  (note,) = notes(seen, "*7")
  assert f"{given}, seed 42, was chosen on {seen}: subjects that this run ev" in note
  assert notes("*7") == []

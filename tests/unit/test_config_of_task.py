"""The experiment of one task is an experiment by itself, which reports read again."""

import pytest

from kdmri_jax import config as config_lib
from kdmri_jax.experiments import task_based


@pytest.mark.parametrize("argument", ["brain_t1", "pairs"])
def test_it_is_read_again(argument):
  config = config_lib.parse(task_based.get_config(argument))
  assert len(config.tasks) == 2
  for task in config.tasks:
    own = config.of_task(task)
    assert own.evaluation.teacher == config.evaluation.teachers[task]
    again = config_lib.parse(config_lib.to_dict(own))
    assert again.evaluation == own.evaluation

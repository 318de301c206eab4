"""Configs: every experiment parses, and every mistake is named."""

import importlib
import math
import pathlib

import pytest
from tiny import tiny_config

import experiments
from kdmri_jax import config as config_lib
from kdmri_jax.errors import UserError

STUDIES = ("ablation", "alpha", "methods", "position", "sft")


def test_every_experiment_parses_in_both_protocols():
  for path in pathlib.Path(experiments.__file__).parent.glob("*.py"):
    if path.stem in ("__init__", "published", "study", *STUDIES):
      continue
    module = importlib.import_module(f"experiments.{path.stem}")
    for arguments in ((), ("reference",)):
      config_lib.parse(module.get_config(*arguments))


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("setting", ["acdc", "brain_t1", "cardiac_8x", "base"])
def test_every_study_parses_in_every_setting(study, setting):
  config = importlib.import_module(f"experiments.{study}").get_config(setting)
  config.epochs = 12
  parsed = config_lib.parse(config)
  assert parsed.stages["student_long"].epochs == 24
  for name in parsed.evaluation.distilled:
    stages = [parsed.stages[name]]
    if stages[0].start_from:
      stages.append(parsed.stages[stages[0].start_from])
    assert sum(stage.epochs for stage in stages) == 24


def test_an_unknown_key_is_refused_with_a_suggestion():
  config = tiny_config().to_dict()
  config["mask"]["acelleration"] = 4.0
  with pytest.raises(UserError, match=r"Did you mean config\.mask\.acceleration"):
    config_lib.parse(config)


def test_a_missing_key_is_refused():
  config = tiny_config().to_dict()
  del config["stages"]["kd"]["select"]
  with pytest.raises(UserError, match=r"config\.stages\.kd: found no value for select"):
    config_lib.parse(config)


@pytest.mark.parametrize(
  ("key", "value"),
  [("seed", 1.5), ("seed", True), ("name", 3), ("pipeline", "teacher")],
)
def test_a_wrong_type_is_refused(key, value):
  config = tiny_config().to_dict()
  config[key] = value
  with pytest.raises(UserError, match=rf"config\.{key}: found {value!r}"):
    config_lib.parse(config)


def test_an_infinite_lam_survives_json():
  config = config_lib.to_dict(config_lib.parse(tiny_config()))
  assert config["models"]["student"]["lam"] == "inf"
  assert config_lib.parse(config).models["student"].settings["lam"] == math.inf

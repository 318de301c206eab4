"""The shipped experiments and studies: each parses, with the stages it needs."""

import dataclasses
import importlib
import math
import pathlib

import pytest

from kdmri_jax import config as config_lib
from kdmri_jax import experiments
from kdmri_jax.experiments import (
  enhancement,
  levers,
  pretrained,
  study,
  super_resolution,
)

STUDIES = ("ablation", "alpha", "any_teacher", "levers", "methods", "position")
STUDIES += ("recipes", "sft", "shapes", "shrink")
ENHANCEMENT = ("model_based", "task_based")


def test_every_setting_parses_in_both_protocols():
  for name in study.settings():
    module = importlib.import_module(f"kdmri_jax.experiments.{name}")
    for protocol in ("paper", "reference"):
      config_lib.parse(module.get_config(protocol))


def test_every_other_experiment_is_tested_by_name():
  names = {path.stem for path in pathlib.Path(experiments.__file__).parent.glob("*.py")}
  shared = {"__init__", "published", "study", "enhancement"}
  others = names - shared - set(study.settings())
  assert others == {*STUDIES, *ENHANCEMENT, "super_resolution", "pretrained", "pairs"}


@pytest.mark.parametrize("name", pretrained.SETS)
def test_networks_to_ship_hold_their_test_subjects_out(name):
  parsed = config_lib.parse(pretrained.get_config(name))
  assert parsed.data.test and parsed.data.validation
  stages = parsed.stages
  taught = sum(stages[n].epochs for n in ("feature", "kd") if n in stages)
  assert stages["student"].epochs == taught
  assert {stage.optimiser for stage in stages.values()} == {"muon"}
  with pytest.raises(ValueError, match="the sets are cardiac_4x"):
    pretrained.get_config("heart")


@pytest.mark.parametrize("setting", ["calgary", "brain_pd:reference", "cardiac_4x"])
def test_super_resolution_of_every_setting(setting):
  parsed = config_lib.parse(super_resolution.get_config(setting))
  assert parsed.mask.kind == "central"
  sizes = {name: m.settings["convolutions"] for name, m in parsed.models.items()}
  assert sizes == {"teacher": 11, "student": 7}
  assert set(parsed.evaluation.published) == set(super_resolution.PUBLISHED)
  assert parsed.evaluation.published_on["mask.acceleration"] == 4.0
  epochs = {stage.epochs for name, stage in parsed.stages.items() if "long" not in name}
  assert epochs == {30}


def test_given_pairs_are_neither_undersampled_nor_noisy():
  for name in (*ENHANCEMENT, "pairs"):
    module = importlib.import_module(f"kdmri_jax.experiments.{name}")
    parsed = config_lib.parse(module.get_config(*["pairs"] * (name != "pairs")))
    first = next(iter(parsed.all_tasks.values()))
    assert first.mask.kind == "full" and math.isinf(first.noise.snr[0])
    assert {model.network for model in parsed.models.values()} <= {
      "edsr",
      "swinir",
      "vdsr",
    }


@pytest.mark.parametrize("question", STUDIES)
@pytest.mark.parametrize("setting", ["acdc_small", "brain_t1", "cardiac_4x", "base"])
def test_every_study_parses_in_every_setting(question, setting):
  config = importlib.import_module(f"kdmri_jax.experiments.{question}").get_config(
    setting
  )
  config.epochs = 12
  parsed = config_lib.parse(config)
  assert parsed.stages["student_long"].epochs == 24
  for name in parsed.evaluation.distilled:
    stages = [parsed.stages[name]]
    if stages[0].start_from in parsed.stages:
      stages.append(parsed.stages[stages[0].start_from])
    assert sum(stage.epochs for stage in stages) == (48 if "longer" in name else 24)


@pytest.mark.parametrize("setting", study.settings())
def test_levers_are_chosen_without_the_test_subjects(setting):
  own = importlib.import_module(f"kdmri_jax.experiments.{setting}").get_config()
  parsed = config_lib.parse(levers.get_config(setting))
  assert parsed.data.test == own.data.test and not parsed.data.use_test
  assert ("kd_mixup" in parsed.stages) == (own.batch_size > 1)
  assert ("kd_flips" in parsed.stages) != own.augment.flips
  # Each changes something, and augmentation comes on top of the setting's.
  alone = [name for name in parsed.stages if name.startswith("alone_")]
  trained = [(parsed.stages[name], parsed.augment_of(name)) for name in alone]
  assert len({repr(each) for each in trained}) == len(trained)
  assert all(augment.flips for _, augment in trained) or not own.augment.flips
  for name in parsed.evaluation.distilled:
    alone = parsed.stages.get(name.replace("kd_", "alone_"))
    if alone:
      kd = parsed.stages[name]
      free = dict(teacher="", terms=alone.terms, shrink=0.0)
      assert dataclasses.replace(kd, **free) == alone


@pytest.mark.parametrize("question", ENHANCEMENT)
@pytest.mark.parametrize("argument", ["brain_t1", "acdc:full", "demo"])
def test_every_enhancement_study_parses(question, argument):
  module = importlib.import_module(f"kdmri_jax.experiments.{question}")
  config = module.get_config(argument)
  parsed = config_lib.parse(config)
  size = enhancement.NETWORKS[argument.partition(":")[2] or "small"]
  features = {m.settings["features"] for m in parsed.models.values()}
  assert size["edsr"]["features"] in features
  for name in parsed.evaluation.distilled:
    terms = parsed.stages[name].terms
    alpha = terms["imitation"].weight
    assert ("reconstruction" in terms) == (alpha < 1)
    weights = {n: t.weight for n, t in terms.items() if n != "imitation"}
    assert set(weights.values()) <= {1 - alpha}
  enhancement.perceptual(config, 0.1)
  terms = config_lib.parse(config).stages["student"].terms
  assert terms["perceptual"].weight == pytest.approx(0.1)


def test_a_study_is_no_setting():
  known = study.settings()
  assert {"acdc", "brain_t1", "cardiac_4x", "demo"} < set(known)
  assert not {"study", "published", *STUDIES, *ENHANCEMENT} & set(known)


def test_a_study_takes_its_settings_protocol():
  config = importlib.import_module("kdmri_jax.experiments.sft").get_config(
    "cardiac_4x:reference"
  )
  parsed = config_lib.parse(config)
  assert {m.settings["variant"] for m in parsed.models.values()} == {"reference"}
  assert {m.settings["padding"] for m in parsed.models.values()} == {5}
  terms = parsed.stages["teacher_sft"].terms
  assert terms["branches_imitation"].variant == "reference"
  assert parsed.stages["teacher_sft"].select == parsed.stages["teacher"].select == "l1"


@pytest.mark.parametrize("setting", ["acdc", "brain_t1"])
def test_the_control_has_the_budget_of_both_stages(setting):
  config = importlib.import_module(f"kdmri_jax.experiments.{setting}").get_config()
  parsed = config_lib.parse(config)
  assert parsed.evaluation.models == ("teacher", "student", "student_long", "kd")
  epochs = {name: stage.epochs for name, stage in parsed.stages.items()}
  assert epochs["student_long"] == epochs["feature"] + epochs["kd"]

"""Published numbers stand beside results of their own data and settings alone."""

import importlib
import math

import pytest
from helpers.tiny import tiny_config

from kdmri_jax import config as config_lib
from kdmri_jax.experiments import (
  model_based,
  published,
  sft,
)
from kdmri_jax.report.write_reports import comparable_numbers


@pytest.mark.parametrize(
  ("setting", "protocols"),
  [("brain_4x", ("slice", "slice")), ("brain_8x", ("kdmri", None))],
)
def test_sft_numbers_stand_beside_their_own_protocol(setting, protocols):
  evaluation = config_lib.parse(sft.get_config(setting)).evaluation
  stated = evaluation.published_on.get("evaluation.protocol")
  assert (evaluation.protocol, stated) == protocols
  assert bool(evaluation.published) == bool(protocols[1])
  assert evaluation.pairs[0] == ("kd_fitnets_sft", "kd_fitnets")
  assert len(evaluation.pairs) == len(sft.METHODS)


@pytest.mark.parametrize(
  ("study", "row"),
  [
    ("ablation", "both"),
    ("alpha", "alpha_050"),
    ("recipes", "paper"),
    ("position", "middle"),
  ],
)
def test_the_published_distilled_student_stands_beside_its_own_kind(study, row):
  module = importlib.import_module(f"kdmri_jax.experiments.{study}")
  published = config_lib.parse(module.get_config("cardiac_4x")).evaluation.published
  assert published[f"kd_{row}"] == (32.07, 0.9084)
  assert set(published) == {"zero_filled", "teacher", "student", f"kd_{row}"}


def test_all_published_rows_of_sft():
  published = config_lib.parse(sft.get_config("brain_4x")).evaluation.published
  assert len(published) == 13
  assert published["kd_fitnets"] == (39.52,)
  assert published["kd_similarity_sft"] == (39.93,)


def test_published_numbers_survive_json():
  config = tiny_config().to_dict()
  config["evaluation"].update(
    published={"zero_filled": (24.27,), "kd": (32, 0.9)},
    published_source="here",
    published_on={"data": {"crop": [0, 0]}, "models.student": {"lam": "inf"}},
    pairs=[["kd", "student"]],
  )
  parsed = config_lib.parse(config)
  expected = {"data.crop": (0, 0), "models.student.lam": math.inf}
  assert parsed.evaluation.published_on == expected
  assert parsed.evaluation.published["kd"] == (32.0, 0.9)
  assert parsed.evaluation.pairs == (("kd", "student"),)
  assert config_lib.parse(config_lib.to_dict(parsed)) == parsed


def test_a_network_of_another_kind_is_not_the_published_one():
  config = tiny_config()
  config.evaluation.update(
    published={"kd": (32, 0.9)},
    published_source="here",
    published_on={"models": {"student": {"features": 32}}},
  )
  config.models.student = dict(network="unet", channels=1)
  roles, notes = comparable_numbers(config_lib.parse(config))
  text = "models.student.features is 'no setting' here and 32 there"
  assert not roles.published and text in notes[0]


@pytest.mark.parametrize("protocol", ["paper", "reference"])
@pytest.mark.parametrize(
  ("change", "note"),
  [
    ({}, None),
    ({"data.root": "elsewhere", "mask.kind": "cartesian"}, None),
    ({"data.source": "phantom"}, "data.source is 'phantom' here and 'kdmri' there"),
    ({"data.kdmri_type": "knee"}, "data.kdmri_type is 'knee' here and 'cardiac' there"),
    ({"data.acceleration_tag": "8x"}, "data.acceleration_tag is '8x' here"),
    ({"mask.acceleration": 8.0}, "mask.acceleration is 8.0 here and 4.0 there"),
  ],
)
def test_published_numbers_are_shown_beside_their_own_data(protocol, change, note):
  config = published.start("cardiac", 4, protocol)
  config.update_from_flattened_dict(change)
  parsed = config_lib.parse(config)
  assert config_lib.parse(config_lib.to_dict(parsed)) == parsed
  roles, notes = comparable_numbers(parsed)
  if note is None:
    assert (roles, notes) == (parsed.evaluation, [])
  else:
    assert roles.published == {} and note in notes[0]
    assert "KD-MRI (MIDL 2020" in notes[0]
  config.evaluation.published = {}
  assert comparable_numbers(config_lib.parse(config))[1] == []


def test_published_times_belong_to_the_published_networks():
  for size, shown in (("full", True), ("small", False)):
    parsed = config_lib.parse(model_based.get_config(f"brain_t1:{size}"))
    roles, notes = comparable_numbers(parsed)
    assert bool(roles.published_seconds) == shown == (not notes)
  assert "models.teacher.features is 32 here and 180 there" in notes[0]
  times = parsed.evaluation.published_seconds
  assert times.keys() == set(parsed.evaluation.models)
  assert times["teacher"] / times["kd_alpha_100"] == pytest.approx(35.6, abs=0.01)


def test_the_nine_published_settings_carry_their_numbers():
  kd = {}
  for anatomy in ("cardiac", "brain", "knee"):
    for acceleration in (4, 5, 8):
      config = published.start(anatomy, acceleration, "paper")
      evaluation = config_lib.parse(config).evaluation
      assert evaluation.published_on["evaluation.protocol"] == "kdmri"
      rows = evaluation.published
      assert set(rows) == {"zero_filled", "teacher", "student", "kd"}
      for index in (0, 1):
        order = [rows[n][index] for n in ("zero_filled", "student", "kd", "teacher")]
        assert order == sorted(order)
      kd[anatomy, acceleration] = rows["kd"]
  assert kd["cardiac", 4] == (32.07, 0.9084)
  assert kd["brain", 8] == (34.83, 0.9337)
  assert kd["knee", 5] == (34.71, 0.9181)

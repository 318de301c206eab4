"""Configs: every experiment parses, and every mistake is named."""

import dataclasses
import functools
import hashlib
import importlib
import json
import math
import operator
import pathlib

import pytest
from helpers.tiny import tiny_config

from kdmri_jax import config as config_lib
from kdmri_jax import experiments
from kdmri_jax.errors import UserError
from kdmri_jax.experiments import (
  enhancement,
  model_based,
  pretrained,
  published,
  sft,
  study,
  super_resolution,
)
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.report.write_reports import comparable_numbers

STUDIES = ("ablation", "alpha", "levers", "methods", "position")
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
  assert others == {*STUDIES, *ENHANCEMENT, "super_resolution", "pretrained"}


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


@pytest.mark.parametrize("setting", ["brain_t1", "brain_pd:reference", "cardiac_4x"])
def test_super_resolution_of_every_setting(setting):
  parsed = config_lib.parse(super_resolution.get_config(setting))
  assert parsed.mask.kind == "central"
  sizes = {name: m.settings["convolutions"] for name, m in parsed.models.items()}
  assert sizes == {"teacher": 11, "student": 7}
  assert set(parsed.evaluation.published) == set(super_resolution.PUBLISHED)
  assert parsed.evaluation.published_on["mask.acceleration"] == 4.0
  epochs = {stage.epochs for name, stage in parsed.stages.items() if "long" not in name}
  assert epochs == {30}


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
    assert sum(stage.epochs for stage in stages) == 24


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


def test_an_unknown_key_is_refused_with_a_suggestion():
  config = tiny_config().to_dict()
  config["mask"]["acelleration"] = 4.0
  with pytest.raises(UserError, match=r"Did you mean 'acceleration'"):
    config_lib.parse(config)


def test_a_missing_key_takes_its_default():
  config = tiny_config().to_dict()
  for part, key in (("evaluation", "bootstrap"), ("mask", "axis")):
    del config[part][key]
  del (
    config["noise"],
    config["stages"]["kd"]["select"],
    config["stages"]["kd"]["epochs"],
  )
  parsed = config_lib.parse(config)
  assert parsed.evaluation.bootstrap == 2000
  assert parsed.mask.axis == 0
  assert parsed.noise == config_lib.NoiseConfig((math.inf, math.inf), 1, True)
  assert parsed.stages["kd"].select == "mse"
  assert parsed.stages["kd"].epochs == parsed.epochs == 2


def test_a_key_without_default_must_be_set():
  config = tiny_config().to_dict()
  del config["stages"]["kd"]["model"]
  with pytest.raises(UserError, match=r"config\.stages\.kd: found no model"):
    config_lib.parse(config)


def test_completing_a_config_adds_what_parse_would():
  config = tiny_config()
  complete = config_lib.to_dict(config_lib.parse(config))
  for part in (config, config.mask, config.stages.kd, config.stages.kd.terms.imitation):
    for key in ("tasks", "axis", "tasks", "variant"):
      if key in part:
        del part[key]
  config.lock()
  config_lib.complete(config)
  assert config.is_locked
  assert (config.mask.axis, config.stages.kd.tasks) == (0, ())
  assert config.stages.kd.terms.imitation.variant == ""
  config.stages.kd.terms.imitation.variant = "paper"
  assert config_lib.to_dict(config_lib.parse(config)) == complete


@pytest.mark.parametrize(
  ("key", "value", "expected"),
  [
    ("batch_size", 0, "a number of at least 1"),
    ("checkpoint_seconds", math.inf, "a number of at least 0"),
    ("data.crop", (-1, 0), "a number of at least 0"),
    ("stages.kd.learning_rate", math.nan, "a number of at least 1e-12"),
    ("stages.kd.terms.imitation.weight", -0.5, "a number of at least 0"),
    ("data.phantom.size", (0, 8), "a number of at least 1"),
    ("data.scaling", "max", "one of volume_max, none"),
    ("data.combine", "mean", "one of '', rss, sense"),
    ("data.validation_fraction", 1.5, "a number from 0 to 1"),
    ("data.split_seed", -1, "a number of at least 0"),
    ("mask.kind", "radial", "one of cartesian, equispaced, gaussian2d, central"),
    ("mask.axis", 2, "a number from 0 to 1"),
    ("teacher_cache_type", "float64", "one of float32, float16"),
    ("evaluation.protocol", "slices", "one of kdmri, slice, fastmri"),
  ],
)
def test_a_value_outside_its_limits_is_refused(key, value, expected):
  config = tiny_config()
  config.update_from_flattened_dict({key: value})
  with pytest.raises(UserError, match="found") as caught:
    config_lib.parse(config)
  assert str(caught.value).startswith(f"config.{key}: found ")
  assert expected in str(caught.value)


@pytest.mark.parametrize("setting", ["cascades", "convolutions", "features", "padding"])
def test_a_network_refuses_sizes_below_its_own(setting):
  with pytest.raises(ValueError, match=f"{setting}: found -1"):
    DCCNN(**{setting: -1})


def test_a_network_refuses_a_weight_that_is_no_number():
  with pytest.raises(ValueError, match="lam: found nan"):
    DCCNN(lam=math.nan)
  assert math.isinf(DCCNN(lam=math.inf).lam)


def test_free_keys_are_those_that_change_nothing_trained():
  free = ["seeds", "devices", "steps_per_dispatch", "teacher_cache_mb", "name"]
  free += ["checkpoint_seconds", "audit_every", "evaluation", "evaluation.pairs.0"]
  free += ["evaluation.published.kd.1", "data.root", "data.memory_mb", "mask.path"]
  free += ["tasks.sharpen.mask.path"]
  bound = ["seed", "batch_size", "teacher_cache_type", "epochs", "data.crop.0", "mask"]
  bound += ["stages.kd.terms.imitation.weight", "models.student.features", "none"]
  bound += ["tasks.sharpen.mask.seed", "stages", "stages.kd", "augment.flips"]
  assert all(map(config_lib.is_free, free))
  assert not any(map(config_lib.is_free, bound))


def test_the_page_of_settings_is_current():
  page = pathlib.Path(__file__).parents[2] / "docs" / "settings.md"
  assert page.read_text() == config_lib.reference(), (
    "python -c 'from kdmri_jax import config; print(config.reference(), end=\"\")' "
    "> docs/settings.md"
  )


# Of each experiment and its arguments, the settings that are not the defaults.
DIGESTS = {
  "ablation": "b84cf2bb7378b849",
  "acdc": "3299515f91662dde",
  "acdc_small": "387cc395f849b6fa",
  "alpha": "9b51c0cf6eafe20a",
  "base": "f6d8c246a391e660",
  "brain_4x": "8338af2dc2ff24f1",
  "brain_5x": "b9084dd8a49015c8",
  "brain_8x": "515a407ce8a84580",
  "brain_pd": "107f7100c30337b0",
  "brain_pd_small": "c2e0dd6eea0c462e",
  "brain_t1": "20844ad1e551086f",
  "brain_t1_small": "a0cf0d25e9994642",
  "cardiac_4x": "56110eaaa3070af3",
  "cardiac_5x": "86ee8ef281e4bbdb",
  "cardiac_8x": "f81f820a2979e5f6",
  "demo": "9aacb0addca19571",
  "knee_4x": "e68acbf0902f2201",
  "knee_5x": "dceb50e1606e1e5d",
  "knee_8x": "4105f1f1bbd5af55",
  "levers": "ce43ea5b37bcddab",
  "methods": "045de1b8a27515e3",
  "model_based": "16f4eea309a3b1d2",
  "own": "428f216fba830c8d",
  "position": "ed07b36f56eec3e5",
  "recipes": "62b217f729763f38",
  "sft": "dc101950ec88e7af",
  "shapes": "840ea29c384bd0ef",
  "shrink": "7e054d1abf206342",
  "super_resolution": "dd005ef85a70e2c1",
  "task_based": "62f5556f7beebe84",
}


def arguments(name):
  """All that an experiment may be given."""
  settings = study.settings()
  if name in settings:
    return ("paper", "reference")
  second = "full" if name in ENHANCEMENT else "reference"
  return ("", *settings, *(f"{setting}:{second}" for setting in settings))


@pytest.mark.parametrize("name", DIGESTS)
def test_no_value_of_an_experiment_changes_unnoticed(name, monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # no nilearn
  get_config = importlib.import_module(f"kdmri_jax.experiments.{name}").get_config
  digest = hashlib.sha256()
  for argument in arguments(name):
    parsed = config_lib.parse(get_config(*filter(None, [argument])))
    values = changed(parsed, "config")
    digest.update(json.dumps([argument, values], sort_keys=True).encode())
  assert digest.hexdigest()[:16] == DIGESTS[name], json.dumps(values, indent=1)


def changed(part, where):
  """Dotted key -> value of every setting that is not the default."""
  found = {}
  for field in dataclasses.fields(part):
    value, key = getattr(part, field.name), f"{where}.{field.name}"
    inner = (
      {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {}
    )
    for name, item in (inner or {key: value}).items():
      if dataclasses.is_dataclass(item):
        found |= changed(item, name)
      elif item not in (field.default, {}):
        found[name] = item
  return found


@pytest.mark.parametrize(
  ("key", "value"),
  [("seed", 1.5), ("seed", True), ("name", 3), ("pipeline", "teacher")],
)
def test_a_wrong_type_is_refused(key, value):
  config = tiny_config().to_dict()
  config[key] = value
  with pytest.raises(UserError, match=rf"config\.{key}: found {value!r}"):
    config_lib.parse(config)


@pytest.mark.parametrize(
  ("group", "old", "new"),
  [
    ("stages", "kd", "kd/branches"),
    ("stages", "kd", ""),
    ("stages", "kd", "zero_filled"),
    ("stages", "kd", "target"),
    ("stages", "kd", "input"),
    ("models", "student", "a b"),
    ("stages.kd.terms", "imitation", "l1-image"),
  ],
)
def test_an_unusable_name_is_refused(group, old, new):
  config = tiny_config().to_dict()
  part = functools.reduce(operator.getitem, group.split("."), config)
  part[new] = part.pop(old)
  with pytest.raises(UserError, match=rf"config\.{group}: found {new!r}"):
    config_lib.parse(config)


def test_seeds_are_those_that_jax_tells_apart():
  config_lib.parse(tiny_config(seed=2**32 - 3, seeds=3))
  with pytest.raises(UserError, match=r"config\.seed: found 4294967293, .* of 4 seeds"):
    config_lib.parse(tiny_config(seed=2**32 - 3, seeds=4))


def test_an_infinite_lam_survives_json():
  config = config_lib.to_dict(config_lib.parse(tiny_config()))
  assert config["models"]["student"]["lam"] == "inf"
  assert config_lib.parse(config).models["student"].settings["lam"] == math.inf


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"distilled": "kd"}, "distilled: found 'kd'"),
    ({"distilled": ("kd", "fsp")}, "distilled: found 'fsp'"),
    ({"control": "feature"}, "control: found 'feature'"),
    ({"pairs": ("kd", "student")}, "pairs[0]: found 'kd'"),
    ({"pairs": (("kd", "feature"),)}, "pairs: found 'feature'"),
    ({"pairs": (("kd", "kd"),)}, "pairs: found 'kd' twice"),
    ({"published": {"kd": (32.0, 0.9)}}, "published_source: found none"),
    ({"published": {"feature": (32.0, 0.9)}}, "published: found 'feature'"),
    ({"published": {"kd": (0.9, 32.0)}}, "published.kd: found (0.9, 32.0)"),
    ({"published": {"kd": ()}}, "published.kd: found ()"),
    ({"published": {"kd": (32.0, 0.9, 0.1)}}, "published.kd: found (32.0, 0.9, 0.1)"),
    ({"published_seconds": {"kd": 0.2}}, "published_source: found none"),
    ({"published_seconds": {"kd": 0.0}}, "published_seconds.kd: found 0.0"),
    ({"published_seconds": {"input": 1.0}}, "published_seconds: found 'input'"),
    ({"published_on": {"data.sauce": "acdc"}}, "Did you mean 'data.source'?"),
    ({"published_on": {"data": "acdc"}}, "published_on: found 'data'"),
  ],
)
def test_a_bad_comparison_is_refused(changes, message):
  config = tiny_config().to_dict()
  config["evaluation"].update(changes)
  with pytest.raises(UserError) as caught:
    config_lib.parse(config)
  assert message in str(caught.value)


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

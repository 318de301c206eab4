"""Configs: what may be set, and every mistake is named."""

import functools
import math
import operator
import pathlib

import pytest
from helpers.tiny import tiny_config

from kdmri_jax import config as config_lib
from kdmri_jax.errors import UserError
from kdmri_jax.models.dccnn import DCCNN


def test_an_unknown_key_is_refused_with_a_suggestion():
  config = tiny_config().to_dict()
  config["mask"]["acelleration"] = 4.0
  with pytest.raises(UserError, match=r"Did you mean 'acceleration'"):
    config_lib.parse(config)


def test_settings_of_an_earlier_version_are_read_without_former_keys():
  now = config_lib.to_dict(config_lib.parse(tiny_config()))
  before = {**now, "evaluation": {**now["evaluation"], "bootstrap": 2000}}
  del before["teacher_cache_mb"], before["evaluation"]["rois"]
  assert config_lib.of_any_version(before) == now
  with pytest.raises(UserError, match=r"config.evaluation.bootstrap: .*unknown key"):
    config_lib.parse(before)


def test_a_missing_key_takes_its_default():
  config = tiny_config().to_dict()
  for part, key in (("evaluation", "margin"), ("mask", "axis")):
    del config[part][key]
  del (
    config["noise"],
    config["stages"]["kd"]["select"],
    config["stages"]["kd"]["epochs"],
  )
  parsed = config_lib.parse(config)
  assert parsed.evaluation.margin == 0.1
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

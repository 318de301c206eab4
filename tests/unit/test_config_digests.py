"""No value of a shipped experiment changes unnoticed."""

import dataclasses
import hashlib
import importlib
import json

import pytest

from kdmri_jax import config as config_lib
from kdmri_jax.experiments import study

# Of each experiment and its arguments, the settings that are not the defaults.
DIGESTS = {
  "ablation": "ff2ca9b5df9433df",
  "acdc": "3299515f91662dde",
  "acdc_small": "387cc395f849b6fa",
  "alpha": "83ac8516faf0dd03",
  "base": "f6d8c246a391e660",
  "brain_4x": "8338af2dc2ff24f1",
  "brain_5x": "b9084dd8a49015c8",
  "brain_8x": "515a407ce8a84580",
  "brain_pd": "107f7100c30337b0",
  "brain_pd_small": "c2e0dd6eea0c462e",
  "brain_t1": "20844ad1e551086f",
  "brain_t1_small": "a0cf0d25e9994642",
  "calgary": "7b3212b61880b651",
  "cardiac_4x": "56110eaaa3070af3",
  "cardiac_5x": "86ee8ef281e4bbdb",
  "cardiac_8x": "f81f820a2979e5f6",
  "coils": "3af9c55883f73171",
  "any_teacher": "15e5c2c8372c6b0b",
  "demo": "9aacb0addca19571",
  "knee_4x": "e68acbf0902f2201",
  "knee_5x": "dceb50e1606e1e5d",
  "knee_8x": "4105f1f1bbd5af55",
  "levers": "0fe24bf656c708ec",
  "methods": "738d051c6b6d5594",
  "model_based": "a6670e93bf1518b7",
  "own": "428f216fba830c8d",
  "pairs": "681b87d0366978d6",
  "position": "27b275e5c5bea234",
  "recipes": "69e018c2e9ee4feb",
  "sft": "5e8c2cc94d08c68d",
  "shapes": "3cf0099e3018cbe8",
  "shrink": "d04909cb54483f29",
  "super_resolution": "c7e8199f0fe54167",
  "task_based": "11385216a7a36c02",
}


def arguments(name):
  """All that an experiment may be given."""
  settings = study.settings()
  if name in (*settings, "pairs"):
    return ("paper", "reference")
  second = "full" if name in ("model_based", "task_based") else "reference"
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

"""Settings that leave the machine name no folder of it."""

import dataclasses

from kdmri_jax import config as config_lib
from kdmri_jax.config.setting import keys
from kdmri_jax.experiments import base

FOLDER = "/home/someone/secret"


def filled(kind):
  """A group of settings with a path in each text, and one group of each name."""
  values = {"repeats": 1} if "repeats" in keys(kind) else {}
  for name, key in keys(kind).items():
    choices = key.limits.choices
    if key.group:
      inner = filled(key.group)
      values[name] = {"one": inner} if key.is_named else inner
    elif key.type is str:
      values[name] = choices[0] if choices else f"{FOLDER}/{name}"
  return kind(**values)


def places(settings):
  """The dotted keys whose values are in the folder."""
  tree = dataclasses.asdict(settings)
  flat = config_lib.flat(tree).items()
  return {key for key, value in flat if isinstance(value, str) and FOLDER in value}


def test_every_file_and_folder_is_left_by_its_name_alone():
  whole = filled(config_lib.ExperimentConfig)
  short = config_lib.without_folders(whole)
  gone = places(whole) - places(short)
  assert {key.rpartition(".")[2] for key in gone} == {
    "root",
    "path",
    "given",
    "vgg_weights",
    "rois",
  }
  assert {"data.root", "data.inputs.root", "data.test_source.root"} < gone
  assert {"mask.path", "tasks.one.mask.path", "stages.one.given"} < gone
  assert "evaluation.robustness.sources.one.inputs.root" in gone
  assert short.mask.path == "path" and short.data.inputs.root == "root"
  assert short.stages["one"].start_from == whole.stages["one"].start_from


def test_the_path_of_a_card_is_left_by_its_name():
  config = base.get_config("paper")
  config.stages.kd.start_from = f"pretrained:{FOLDER}/tiny.json"
  config.stages.student.start_from = "pretrained:cardiac-4x-student"
  stages = config_lib.without_folders(config_lib.parse(config)).stages
  assert stages["kd"].start_from == "pretrained:tiny.json"
  assert stages["student"].start_from == "pretrained:cardiac-4x-student"


def test_a_stage_keeps_its_name_and_part():
  for name in ("teacher/branches", "teacher/layers", "teacher", ""):
    assert config_lib.last_part(name) == name

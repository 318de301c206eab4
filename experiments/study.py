"""Helpers for studies: many students of one teacher, compared in one table.

A study takes a setting, the name of another experiment file, whose data, mask, networks
and budget it uses:

  kdmri run --config=methods:acdc --workdir=runs/methods \
    --config.data.root=/path/to/ACDC --config.seeds=3

`methods.py:acdc:reference` takes the setting's networks, optimiser and imitation from
the published code; the feature methods keep their variants.
"""

import importlib
import pathlib

from ml_collections import ConfigDict

from kdmri_jax.experiments import base

MUON = dict(learning_rate=1e-3, optimiser="muon", schedule="cosine", warmup=0.02)
# What helped most in levers.py.
EXPANDED = dict(MUON, kernels="expanded")


def split(argument: str) -> tuple[str, str]:
  """A study's argument, "setting" or "setting:protocol" -> both."""
  setting, _, protocol = argument.partition(":")
  return setting, protocol or "paper"


def settings() -> list[str]:
  """The experiment files whose get_config takes a protocol."""
  return sorted(
    path.stem
    for path in pathlib.Path(__file__).parent.glob("*.py")
    if "\ndef get_config(protocol" in path.read_text()
  )


def start(argument: str, name: str) -> ConfigDict:
  """The setting's config, with teacher, student and the budget-matched student only.

  Raises:
    ValueError: there is no such setting.
  """
  setting, protocol = split(argument)
  if setting not in settings():
    known = ", ".join(settings())
    raise ValueError(f"{setting!r} is no setting of a study; the settings are {known}")
  module = importlib.import_module(f"kdmri_jax.experiments.{setting}")
  config = module.get_config(protocol)
  config.name = f"{name} ({config.name})"
  config.pipeline = ("teacher", "student")
  config.evaluation.models = ("teacher", "student")
  add_control(config)
  config.evaluation.distilled = ()
  return config


def add_control(config: ConfigDict) -> None:
  """Adds the student trained alone for as many epochs as feature and kd together."""
  config.stages.student_long = copy(config, "student", times=2)
  config.pipeline = (*config.pipeline, "student_long")
  rows = config.evaluation.models
  after = rows.index("student") + 1
  config.evaluation.models = (*rows[:after], "student_long", *rows[after:])
  config.evaluation.control = "student_long"


def add_student(
  config: ConfigDict,
  name: str,
  *,
  hints: dict | None = None,
  alpha: float = 0.5,
  teacher: str = "teacher",
) -> None:
  """Adds a student distilled in two stages, feature_NAME and kd_NAME, and its row.

  Args:
    config: from `start`.
    name: name of the student.
    hints: the term of its feature stage; None omits that stage, and the other then
      takes the epochs of both.
    alpha: weight of the target in the kd stage; 1 - alpha is that of the teacher.
    teacher: the stage that teaches.
  """
  kd = copy(config, "kd", times=1 if hints else 2)
  kd.teacher, kd.start_from = teacher, ""
  kd.terms.reconstruction.weight = alpha
  kd.terms.imitation.weight = 1 - alpha
  if hints:
    feature = copy(config, "feature")
    feature.teacher = teacher
    feature.terms = ConfigDict(dict(hints=hints))
    feature.select = "hints"
    config.stages[f"feature_{name}"] = feature
    config.pipeline = (*config.pipeline, f"feature_{name}")
    kd.start_from = f"feature_{name}"
  config.stages[f"kd_{name}"] = kd
  config.pipeline = (*config.pipeline, f"kd_{name}")
  config.evaluation.models = (*config.evaluation.models, f"kd_{name}")
  config.evaluation.distilled = (*config.evaluation.distilled, f"kd_{name}")


def add_alone(config: ConfigDict, name: str, times: int = 2) -> None:
  """Adds alone_NAME, trained without a teacher, by default as long as kd_NAME."""
  alone = f"alone_{name}"
  config.stages[alone] = copy(config, "student", times)
  config.pipeline = (*config.pipeline, alone)
  config.evaluation.models = (*config.evaluation.models, alone)


def finish(config: ConfigDict, kd: str = "") -> ConfigDict:
  """Drops the stages that the study does not run, and published rows without a stage.

  Args:
    config: from `start`, its students added.
    kd: the student that is distilled as in KD-MRI, beside which its published row
      belongs; "" for none.
  """
  for name in list(config.stages):
    if name not in config.pipeline:
      del config.stages[name]
  published = dict(config.evaluation.published)
  if kd and "kd" in published:
    published[f"kd_{kd}"] = published["kd"]
  rows = ("zero_filled", *config.evaluation.models)
  config.evaluation.published = {k: v for k, v in published.items() if k in rows}
  return config


def features(loss: str, variant: str = "paper", guided: int = 2, hint: int = 3) -> dict:
  """A feature term on one convolution of each cascade; by default the middle ones."""
  return dict(
    loss=loss,
    weight=1.0,
    variant=variant,
    guided=base.layers(guided),
    hint=base.layers(hint),
  )


def copy(config: ConfigDict, name: str, times: int = 1) -> ConfigDict:
  """A copy of a stage, for `times` the final value of `config.epochs`."""
  stage = config.stages[name].copy_and_resolve_references()
  stage.epochs = config.get_oneway_ref("epochs") * times
  if stage.decay_epochs:
    stage.decay_epochs = stage.get_oneway_ref("epochs") * 3 // 4
  return stage

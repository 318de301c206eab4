"""The curves and the hyper-parameters of a stage, under the names that are shown."""

from collections.abc import Mapping
from typing import Any

from kdmri_jax import config as config_lib
from kdmri_jax.config import ExperimentConfig

# Letters, digits and spaces alone, which every tracker takes.
_NAMES = {
  "psnr": "PSNR in dB",
  "mse": "MSE",
  "l1": "L1 error",
  "gradient_norm": "gradient norm",
  "teacher_error": "error of the teacher",
  "share": "share of the norm",
  "cosine": "cosine with that of the L1 error",
}
_GROUPS = {"train": "training", "validation": "validation"}


def of_entry(entry: dict) -> tuple[int, dict[str, float]]:
  """The points that a line of metrics.jsonl adds to the curves.

  Args:
    entry: an epoch, or an audit of the gradient, see `log.StageLog`.

  Returns:
    The number of the training step, from 1, and the value of each curve by its name:
    "validation/PSNR in dB". An audit belongs to the step that follows it.
  """
  if entry["event"] == "audit":
    return entry["step"] + 1, {
      f"gradient/{term} {_NAMES.get(key, key)}": value
      for term, values in entry["terms"].items()
      for key, value in values.items()
    }
  values = {"training/learning rate": entry["learning_rate"]}
  for group, shown in _GROUPS.items():
    for key, value in entry[group].items():
      values[f"{shown}/{_NAMES.get(key, key)}"] = value
  return entry["step"], values


def hyperparameters(
  config: ExperimentConfig, name: str, seed: int
) -> dict[str, bool | int | float | str]:
  """The settings that a stage is trained with, by the keys of the config.

  Its own have their bare names, those of its network begin with "model."; empty ones
  are left out.
  """
  whole = config_lib.to_dict(config)
  stage: dict[str, Any] = whole["stages"][name]
  measured = (
    {"tasks": whole["tasks"]} if config.tasks else _keys(whole, "mask", "noise")
  )
  augment = config.augment_of(name)
  if augment.varies:
    stage["augment"] = vars(augment)
  else:
    del stage["augment"]
  chosen = {
    "seed": seed,
    **_keys(whole, "batch_size"),
    "data": _keys(whole["data"], "source", "scaling", "crop"),
    **measured,
    **stage,
    "network": whole["models"][stage["model"]],
  }
  flat = config_lib.flat(chosen)
  return {key: _plain(value) for key, value in flat.items() if value not in _EMPTY}


_EMPTY = ("", [], (), {}, None)


def _keys(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
  return {name: values[name] for name in names}


def _plain(value: Any) -> bool | int | float | str:
  if isinstance(value, list | tuple):
    return ", ".join(map(str, value))
  return value if isinstance(value, bool | int | float | str) else str(value)

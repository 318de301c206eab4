"""Networks that the original PyTorch code of KD-MRI trained."""

import os
import re
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from kdmri_jax.errors import UserError
from kdmri_jax.interop import torch_file
from kdmri_jax.models.dccnn import DCCNN

_KEY = re.compile(r"cascade([1-9]\d*)\.conv([1-9]\d*)\.(weight|bias)")


def load_kdmri_checkpoint(path: str | os.PathLike) -> tuple[DCCNN, dict]:
  """Reads a DC-CNN from a checkpoint of the original code (`best_model.pt`).

  Args:
    path: .pt file: a dict whose entry "model" is the state dict, or a state dict.

  Returns:
    The model and its variables, as `from_kdmri_state_dict` gives them.

  Raises:
    UserError: no readable checkpoint, an unsafe one, or no DC-CNN in it.
  """
  checkpoint = torch_file.read(path)
  return _convert(checkpoint.get("model", checkpoint), path)


def from_kdmri_state_dict(state: Mapping[str, Any]) -> tuple[DCCNN, dict]:
  """Builds a DC-CNN of the published code (no residual, hard consistency).

  Cascades, convolutions, features and channels follow from the shapes.

  Args:
    state: `cascadeC.convK.weight`, float [O, I, 3, 3], and `cascadeC.convK.bias`,
      float [O], C and K from 1; a prefix `module.` is dropped.

  Returns:
    The model and its variables, for which `model.apply(variables, zero_filled,
    measurement).image` is the original's output.

  Raises:
    UserError: keys are missing or unknown, or a shape does not fit; lists them.
  """
  return _convert(state, "state dict")


def _convert(state: Any, where: Any) -> tuple[DCCNN, dict]:
  expected = "keys cascadeC.convK.weight and .bias"
  remedy = "Use a checkpoint of KD-MRI's DC-CNN."
  if not isinstance(state, Mapping):
    raise UserError(where, f"a {type(state).__name__}", expected, remedy)
  state = {str(key).removeprefix("module."): value for key, value in state.items()}
  matches = [m for m in map(_KEY.fullmatch, state) if m]
  # A number above the count of all keys belongs to no complete network.
  numbers = [(int(m[1]), int(m[2])) for m in matches]
  numbers = [n for n in numbers if max(n) <= len(state)]
  first = np.shape(state.get("cascade1.conv1.weight"))
  if not numbers or len(first) != 4:
    found = f"no cascade1.conv1.weight [O, I, 3, 3] among {_some(state)}"
    raise UserError(where, found, expected, remedy)
  model = DCCNN(
    cascades=max(c for c, _ in numbers),
    convolutions=max(k for _, k in numbers),
    features=first[0],
    channels=first[1],
    variant="reference",
  )
  shapes = _shapes(model)
  problems = _problems(state, shapes)
  if problems:
    raise UserError(where, "; ".join(problems), expected, remedy)
  return model, {"params": _parameters(state, model)}


def _shapes(model: DCCNN) -> dict[str, tuple[int, ...]]:
  """Name and PyTorch shape of every weight of the model."""
  shapes = {}
  for c in range(1, model.cascades + 1):
    for k in range(1, model.convolutions + 1):
      inputs = model.channels if k == 1 else model.features
      outputs = model.channels if k == model.convolutions else model.features
      shapes[f"cascade{c}.conv{k}.weight"] = (outputs, inputs, 3, 3)
      shapes[f"cascade{c}.conv{k}.bias"] = (outputs,)
  return shapes


def _problems(state: Mapping[str, Any], shapes: dict[str, tuple]) -> list[str]:
  problems = []
  if missing := shapes.keys() - state.keys():
    problems.append(f"missing {_some(missing)}")
  if extra := state.keys() - shapes.keys():
    problems.append(f"unknown {_some(extra)}")
  for key in shapes.keys() & state.keys():
    array = np.asarray(state[key])
    if array.shape != shapes[key]:
      problems.append(f"{key} of shape {array.shape} instead of {shapes[key]}")
    elif array.dtype.kind != "f" or not np.isfinite(array).all():
      problems.append(f"{key} of type {array.dtype} or with NaN or infinite values")
  if shapes["cascade1.conv1.weight"][1] not in (1, 2):
    problems.append("images of neither 1 nor 2 channels")
  return sorted(problems)


def _some(keys) -> str:
  """The first few names and how many more there are."""
  names = sorted(keys)
  more = f" and {len(names) - 6} more" if len(names) > 6 else ""
  return ", ".join(names[:6]) + more


def _parameters(state: Mapping[str, Any], model: DCCNN) -> dict:
  def convolution(name):
    weight = np.asarray(state[f"{name}.weight"], np.float32)
    bias = np.asarray(state[f"{name}.bias"], np.float32)
    return {
      "kernel": jnp.asarray(weight.transpose(2, 3, 1, 0)),
      "bias": jnp.asarray(bias),
    }

  return {
    f"cascade_{c}": {
      f"conv_{k}": convolution(f"cascade{c}.conv{k}")
      for k in range(1, model.convolutions + 1)
    }
    for c in range(1, model.cascades + 1)
  }

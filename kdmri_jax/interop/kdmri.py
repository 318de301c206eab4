"""Networks that the original PyTorch code of KD-MRI trained."""

import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from kdmri_jax.errors import UserError
from kdmri_jax.interop import torch_file
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.models.vdsr import VDSR

_KEY = re.compile(r"(?:cascade([1-9]\d*)\.)?conv([1-9]\d*)\.(?:weight|bias)")

Network = DCCNN | VDSR


def load_kdmri_checkpoint(path: str | os.PathLike) -> tuple[Network, dict]:
  """Reads a network from a checkpoint of the original code (`best_model.pt`).

  Args:
    path: .pt file: a dict whose entry "model" is the state dict, or a state dict.

  Returns:
    The model and its variables, as `from_kdmri_state_dict` gives them.

  Raises:
    UserError: no readable checkpoint, an unsafe one, or neither DC-CNN nor VDSR in it.
  """
  checkpoint = torch_file.read(path)
  return _convert(checkpoint.get("model", checkpoint), path)


def from_kdmri_state_dict(state: Mapping[str, Any]) -> tuple[Network, dict]:
  """Builds a network of the published code from its weights.

  A DC-CNN (no residual, hard consistency) or a VDSR. Cascades, convolutions, features
  and channels follow from names and shapes.

  Args:
    state: `cascadeC.convK.weight`, float [O, I, 3, 3], and `cascadeC.convK.bias`,
      float [O], C and K from 1, for a DC-CNN; `convK.weight` and `convK.bias` for a
      VDSR; a prefix `module.` is dropped.

  Returns:
    The model and its variables, for which `model.apply(variables, zero_filled,
    measurement).image` is the original's output.

  Raises:
    UserError: keys are missing or unknown, or a shape does not fit; lists them.
  """
  return _convert(state, "state dict")


def _convert(state: Any, where: Any) -> tuple[Network, dict]:
  expected = "keys cascadeC.convK.weight and .bias, or convK.weight and .bias"
  remedy = "Use a checkpoint of KD-MRI's DC-CNN or VDSR."
  if not isinstance(state, Mapping):
    raise UserError(where, f"a {type(state).__name__}", expected, remedy)
  state = {str(key).removeprefix("module."): value for key, value in state.items()}
  # A number above the count of all keys belongs to no complete network.
  matches = [m for m in map(_KEY.fullmatch, state) if m]
  numbers = [(int(m[1] or 0), int(m[2])) for m in matches]
  numbers = [n for n in numbers if max(n) <= len(state)]
  cascades = max((c for c, _ in numbers), default=0)
  first = "cascade1.conv1.weight" if cascades else "conv1.weight"
  shape = np.shape(state.get(first))
  if not numbers or len(shape) != 4:
    found = f"no {first} [O, I, 3, 3] among {_some(state)}"
    raise UserError(where, found, expected, remedy)
  sizes = dict(
    convolutions=max(k for _, k in numbers), features=shape[0], channels=shape[1]
  )
  model = VDSR(**sizes)
  if cascades:
    model = DCCNN(cascades=cascades, variant="reference", **sizes)
  layers = _layers(model)
  problems = _problems(state, layers)
  if shape[1] not in (1, 2):
    problems.append("images of neither 1 nor 2 channels")
  if problems:
    raise UserError(where, "; ".join(problems), expected, remedy)
  return model, {"params": _parameters(state, layers)}


class _Layer(NamedTuple):
  """Where a convolution stands in the model's parameters, and its PyTorch shape."""

  cnn: str
  convolution: str
  shape: tuple[int, int, int, int]


def _layers(model: Network) -> dict[str, _Layer]:
  """PyTorch's name of every convolution of the model, and where it belongs."""
  cnns = {"": "cnn"}
  if isinstance(model, DCCNN):
    cnns = {f"cascade{c}.": f"cascade_{c}" for c in range(1, model.cascades + 1)}
  layers = {}
  for prefix, cnn in cnns.items():
    for k in range(1, model.convolutions + 1):
      inputs = model.channels if k == 1 else model.features
      outputs = model.channels if k == model.convolutions else model.features
      layers[f"{prefix}conv{k}"] = _Layer(cnn, f"conv_{k}", (outputs, inputs, 3, 3))
  return layers


def _problems(state: Mapping[str, Any], layers: dict[str, _Layer]) -> list[str]:
  shapes = {f"{name}.weight": layer.shape for name, layer in layers.items()}
  shapes |= {f"{name}.bias": layer.shape[:1] for name, layer in layers.items()}
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
  return sorted(problems)


def _some(keys) -> str:
  """The first few names and how many more there are."""
  names = sorted(keys)
  more = f" and {len(names) - 6} more" if len(names) > 6 else ""
  return ", ".join(names[:6]) + more


def _parameters(state: Mapping[str, Any], layers: dict[str, _Layer]) -> dict:
  parameters: dict[str, dict] = {}
  for name, layer in layers.items():
    weight = np.asarray(state[f"{name}.weight"], np.float32)
    bias = np.asarray(state[f"{name}.bias"], np.float32)
    parameters.setdefault(layer.cnn, {})[layer.convolution] = {
      "kernel": jnp.asarray(weight.transpose(2, 3, 1, 0)),
      "bias": jnp.asarray(bias),
    }
  return parameters

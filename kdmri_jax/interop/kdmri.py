"""Networks of the original PyTorch code of KD-MRI: reads and writes its checkpoints."""

import os
from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from kdmri_jax import models
from kdmri_jax.errors import UserError
from kdmri_jax.interop import torch_file
from kdmri_jax.interop.state_dict import StateDict, arrays
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.models.vdsr import VDSR

_KEY = r"(?:cascade([1-9]\d*)\.)?conv([1-9]\d*)\.(?:weight|bias)"
_RULES = (("^cnn/", ""), ("(cascade|conv)_", r"\1"))
_KEYS = "cascadeC.convK.weight and .bias, or convK.weight and .bias"

# Settings that the weights of a DC-CNN do not contain, with the published code's
# values.
_PUBLISHED = {"variant": "reference", "lam": float("inf"), "padding": 0}
_CHANGES = {
  "variant": "a cascade adds its input to the output of its convolutions, x + CNN(x), "
  "before data consistency",
  "lam": "data consistency takes (X + lam y) / (1 + lam) in place of y",
  "padding": "images are padded with zeros before each cascade and cropped after it",
}

Network = DCCNN | VDSR


def load_kdmri_checkpoint(path: str | os.PathLike) -> tuple[Network, dict]:
  """Reads a network from a checkpoint of the original code (`best_model.pt`).

  Args:
    path: .pt file: a dict whose entry "model" is the state dict, or a state dict. An
      entry "settings", as written by `save_kdmri_checkpoint`, is applied.

  Returns:
    The model and its variables, as `from_kdmri_state_dict` gives them.

  Raises:
    UserError: no readable checkpoint, an unsafe one, or neither DC-CNN nor VDSR in it.
  """
  checkpoint = torch_file.read(path)
  settings = _settings(checkpoint.get("settings", {}), path)
  return _convert(checkpoint.get("model", checkpoint), path, settings)


def save_kdmri_checkpoint(
  path: str | os.PathLike, model: nn.Module, params: Mapping[str, Any]
) -> str:
  """Writes a DC-CNN or a VDSR as a checkpoint of the original code.

  The file is a dict: "model", the state dict with the original names, and "settings",
  which the weights do not contain (`variant`, `lam` and `padding` of a DC-CNN). The
  original code loads the weights of networks that differ from the published ones, but
  gives wrong images unless it is changed.

  Args:
    path: the file, which is replaced.
    model: the network.
    params: its parameters.

  Returns:
    A message: the network written, and necessary changes to the original code.

  Raises:
    UserError: another network, or one whose cascades share their weights; or the file
      cannot be written.
  """
  if not isinstance(model, Network):
    found = f"a {type(model).__name__} to be written"
    expected = "a DC-CNN or a VDSR, which the published code has"
    raise UserError(path, found, expected, "Choose a stage with such a network.")
  if isinstance(model, DCCNN) and model.shared:
    found = "a DC-CNN whose cascades share their weights, to be written"
    expected = "a DC-CNN with weights of each cascade, as the published code has"
    raise UserError(path, found, expected, "Export it with --format=onnx or jax.")
  settings = {}
  if isinstance(model, DCCNN):
    settings = {key: getattr(model, key) for key in _PUBLISHED}
    settings["lam"] = float(settings["lam"])
  state = arrays(params, _RULES)
  torch_file.write(path, {"model": state, "settings": settings})
  text = f"{path}: {models.describe(model, params)}"
  if changes := [_CHANGES[k] for k in settings if settings[k] != _PUBLISHED[k]]:
    text += "\nIt differs from the published code, which must be changed to run it: "
    text += f"{'; '.join(changes)}."
  return text


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
  return _convert(state, "state dict", _PUBLISHED)


def _settings(given: Any, where: Any) -> dict[str, Any]:
  """The settings of a checkpoint; the published code's where it has none."""
  known = isinstance(given, Mapping) and given.keys() <= _PUBLISHED.keys()
  settings = _PUBLISHED | dict(given if known else {})
  variant, lam, padding = settings.values()
  good = known and variant in DCCNN.VARIANTS and isinstance(lam, float) and lam > 0
  if not good or not isinstance(padding, int) or padding < 0:
    found = f"the settings {given!r}"
    expected = f"some of {', '.join(_PUBLISHED)}, such as {_PUBLISHED}"
    raise UserError(where, found, expected, "Export the network again.")
  return settings


def _convert(state: Any, where: Any, settings: Mapping) -> tuple[Network, dict]:
  state = StateDict(state, where, "KD-MRI's DC-CNN or VDSR", _KEYS)
  numbers = state.indices(_KEY)
  cascades = max((c for c, _ in numbers), default=0)
  first = "cascade1.conv1.weight" if cascades else "conv1.weight"
  features, channels, *_ = state.shape(first, "O, I, 3, 3")
  if channels not in (1, 2):
    raise state.refusal(f"{first} for images of neither 1 nor 2 channels")
  convolutions = max((k for _, k in numbers), default=1)
  sizes = dict(convolutions=convolutions, features=features, channels=channels)
  network = VDSR
  if cascades:
    network, sizes = DCCNN, dict(cascades=cascades, **settings, **sizes)
  return state.build(network, sizes, _RULES)

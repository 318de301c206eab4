"""Networks that the original PyTorch code of KD-MRI trained."""

import os
from collections.abc import Mapping
from typing import Any

from kdmri_jax.interop import state_dict, torch_file
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.models.vdsr import VDSR

_KEY = r"(?:cascade([1-9]\d*)\.)?conv([1-9]\d*)\.(?:weight|bias)"
_RULES = (("^cnn/", ""), ("(cascade|conv)_", r"\1"))
_KIND = state_dict.Kind(
  "keys cascadeC.convK.weight and .bias, or convK.weight and .bias",
  "Use a checkpoint of KD-MRI's DC-CNN or VDSR.",
)

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
  state = _KIND.plain(state, where)
  numbers = state_dict.indices(state, _KEY)
  cascades = max((c for c, _ in numbers), default=0)
  first = "cascade1.conv1.weight" if cascades else "conv1.weight"
  features, channels, *_ = _KIND.shape(state, first, "O, I, 3, 3", where)
  if channels not in (1, 2):
    raise _KIND.refusal(where, f"{first} for images of neither 1 nor 2 channels")
  convolutions = max((k for _, k in numbers), default=1)
  sizes = dict(convolutions=convolutions, features=features, channels=channels)
  model = VDSR(**sizes)
  if cascades:
    model = DCCNN(cascades=cascades, variant="reference", **sizes)
  return model, {"params": _KIND.parameters(state, model, _RULES, where)}

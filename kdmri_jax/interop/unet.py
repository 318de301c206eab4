"""U-Nets that fastMRI's PyTorch code trained."""

import os
import re
from collections.abc import Mapping
from typing import Any

from kdmri_jax.interop import torch_file
from kdmri_jax.interop.state_dict import Rules, StateDict
from kdmri_jax.models.unet import UNet

_MOST_LEVELS = 8
_KEYS = (
  "down_sample_layers.K.layers.0 and .4, conv.layers.0 and .4, "
  "up_transpose_conv.K.layers.0, up_conv.K.layers.0 and .4, with .weight; up_conv.N.0 "
  "as these and up_conv.N.1 for the last N"
)


def load_unet_checkpoint(path: str | os.PathLike) -> tuple[UNet, dict]:
  """Reads a U-Net from a checkpoint of fastMRI's code.

  Args:
    path: .pt file with a state dict.

  Returns:
    The model and its variables, as `from_unet_state_dict` gives them.

  Raises:
    UserError: no readable checkpoint, an unsafe one, or no U-Net in it.
  """
  return _convert(torch_file.read(path), path)


def from_unet_state_dict(state: Mapping[str, Any]) -> tuple[UNet, dict]:
  """Builds a U-Net from its weights.

  Features, levels and channels follow from names and shapes. It standardises its
  images, which fastMRI does before the network.

  Args:
    state: PyTorch's names -> arrays; a prefix such as `unet.` is dropped.

  Returns:
    The model and its variables; `model.apply(variables, image).image` is the
    original's image in the units of its input.

  Raises:
    UserError: keys are missing or unknown, or a weight does not fit; lists them.
  """
  return _convert(state, "state dict")


def sizes(state: StateDict, prefix: str = "") -> tuple[int, int, int]:
  """Features, levels and channels of the U-Net whose names begin with a prefix.

  Raises:
    UserError: its first weight is missing, or it has too many levels.
  """
  first = f"{prefix}down_sample_layers.0.layers.0.weight"
  features, channels, *_ = state.shape(first, "O, I, 3, 3")
  pattern = re.escape(prefix) + r"down_sample_layers\.(\d+)\.layers\.\d\.weight"
  levels = 1 + max((k for (k,) in state.indices(pattern)), default=0)
  if levels > _MOST_LEVELS:
    raise state.refusal(f"{levels} levels")
  return features, levels, channels


def rules(levels: int, prefix: str = "") -> Rules:
  """How the paths of a U-Net's parameters become its names.

  Args:
    levels: of the U-Net.
    prefix: pattern, without groups, of what stands before its paths and stays.
  """

  def block(match):
    way, k, convolution = match[2], int(match[3] or 0), 4 * int(match[4]) - 4
    names = {
      "down": f"down_sample_layers.{k - 1}",
      "bottom": "conv",
      "up": f"up_conv.{k - 1}" + (".0" if k == levels else ""),
    }
    return f"{match[1]}{names[way]}.layers.{convolution}"

  def double(match):
    return f"{match[1]}up_transpose_conv.{int(match[2]) - 1}.layers.0"

  return (
    (rf"^({prefix})(down|bottom|up)(?:_(\d+))?/conv_(\d)", block),
    (rf"^({prefix})double_(\d+)/transposed", double),
    (rf"^({prefix})conv_last", rf"\1up_conv.{levels - 1}.1"),
  )


def _convert(state: Any, where: Any) -> tuple[UNet, dict]:
  state = StateDict(state, where, "fastMRI's U-Net", _KEYS)
  features, levels, channels = sizes(state)
  settings = dict(features=features, levels=levels, channels=channels)
  return state.build(UNet, settings, rules(levels))

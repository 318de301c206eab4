"""E2E-VarNets that fastMRI's PyTorch code trained."""

import os
from collections.abc import Mapping
from typing import Any

from kdmri_jax.interop import torch_file, unet
from kdmri_jax.interop.state_dict import StateDict
from kdmri_jax.models.varnet import VarNet

_KEYS = (
  "cascades.C.dc_weight, and a U-Net's names after cascades.C.model.unet and "
  "sens_net.norm_unet.unet"
)
# Zeros of the first version, and the window of the loss that Lightning stores, too.
_NO_WEIGHT = r"cascades\.\d+\.zero|loss\.w"


def load_varnet_checkpoint(
  path: str | os.PathLike, *, channels: int = 1
) -> tuple[VarNet, dict]:
  """Reads an E2E-VarNet from a checkpoint of fastMRI's code.

  Args:
    path: .pt file with a state dict.
    channels: see `from_varnet_state_dict`.

  Returns:
    The model and its variables, as `from_varnet_state_dict` gives them.

  Raises:
    UserError: no readable checkpoint, an unsafe one, or no E2E-VarNet in it.
  """
  return _convert(torch_file.read(path), channels, path)


def from_varnet_state_dict(
  state: Mapping[str, Any], *, channels: int = 1
) -> tuple[VarNet, dict]:
  """Builds an E2E-VarNet from its weights.

  The sizes of its networks follow from names and shapes.

  Args:
    state: PyTorch's names -> arrays; a prefix such as `varnet.` is dropped.
    channels: of the images, which the weights do not contain: 1 for the root sum of
      squares of the coils, the original's image; 2 for the complex combination.

  Returns:
    The model and its variables; `model.apply(variables, zero_filled,
    measurement).image` has the unit of the k-space.

  Raises:
    UserError: keys are missing or unknown, or a weight does not fit; lists them.
  """
  return _convert(state, channels, "state dict")


def _convert(state: Any, channels: int, where: Any) -> tuple[VarNet, dict]:
  state = StateDict(state, where, "fastMRI's E2E-VarNet", _KEYS, _NO_WEIGHT)
  features, levels, _ = unet.sizes(state, "cascades.0.model.unet.")
  coil_features, coil_levels, _ = unet.sizes(state, "sens_net.norm_unet.unet.")
  weights = state.indices(r"cascades\.(\d+)\.dc_weight")
  settings = dict(
    cascades=1 + max((c for (c,) in weights), default=0),
    features=features,
    levels=levels,
    coil_features=coil_features,
    coil_levels=coil_levels,
    channels=channels,
  )

  def cascade(match):
    part = "dc_weight" if match[2] == "weight" else "model.unet."
    return f"cascades.{int(match[1]) - 1}.{part}"

  rules = (
    *unet.rules(levels, r"cascade_\d+/unet/"),
    *unet.rules(coil_levels, "sensitivities/"),
    (r"^cascade_(\d+)/(weight|unet/)", cascade),
    ("^sensitivities/", "sens_net.norm_unet.unet."),
  )
  return state.build(VarNet, settings, rules)

"""Networks that the published PyTorch code of SwinIR trained."""

import math
import os
from collections.abc import Mapping
from typing import Any

from kdmri_jax.interop import torch_file
from kdmri_jax.interop.state_dict import StateDict
from kdmri_jax.models.swinir import WIDTH, SwinIR

# Subtracted from colour images; the published code does not store it.
COLOUR_MEAN = (0.4488, 0.4371, 0.4040)

_LAYER = r"layers\.(\d+)\.residual_group\.blocks\.(\d+)\..*"
# Derived from sizes; the mask from the size of the training images.
_DERIVED = r".*\.(?:attn_mask|relative_position_index)"
_RULES = (
  (r"\b(conv|conv_body)/conv_(\d)", lambda m: f"{m[1]}/{2 * int(m[2]) - 2}"),
  (r"^upsampler/conv_(\d)", lambda m: f"upsample/{2 * int(m[1]) - 2}"),
  (r"^rstb_(\d+)/conv", lambda m: f"layers/{int(m[1]) - 1}/conv"),
  (r"^rstb_(\d+)", lambda m: f"layers/{int(m[1]) - 1}/residual_group"),
  (r"/layer_(\d+)", lambda m: f"/blocks/{int(m[1]) - 1}"),
  ("attention/bias_table", "attn/relative_position_bias_table"),
  ("attention/projection", "attn/proj"),
  ("attention/qkv", "attn/qkv"),
  (r"/mlp_(\d)", r"/mlp/fc\1"),
  (r"/norm_(\d)", r"/norm\1"),
  ("^norm_first", "patch_embed/norm"),
  ("^norm_last", "norm"),
  ("^conv_body", "conv_after_body"),
  ("^conv_before", "conv_before_upsample/0"),
  ("^conv_up/", "upsample/0/"),
  (r"^conv_up_(\d)", r"conv_up\1"),
  ("^conv_high", "conv_hr"),
)
_KEYS = (
  "conv_first, layers.K.residual_group.blocks.J, layers.K.conv, norm, conv_after_body "
  "and those of an upsampler"
)


def load_swinir_checkpoint(path: str | os.PathLike) -> tuple[SwinIR, dict]:
  """Reads a SwinIR from a checkpoint of the published code.

  Args:
    path: .pth file: a dict whose entry "params_ema" or "params" is the state dict, or a
      state dict.

  Returns:
    The model and its variables, as `from_swinir_state_dict` gives them.

  Raises:
    UserError: no readable checkpoint, an unsafe one, or no SwinIR in it.
  """
  checkpoint = torch_file.read(path)
  state = checkpoint.get("params_ema", checkpoint.get("params", checkpoint))
  return _convert(state, path)


def from_swinir_state_dict(state: Mapping[str, Any]) -> tuple[SwinIR, dict]:
  """Builds a SwinIR from its weights.

  All settings follow from names and shapes. Images are expected in 0..1. The networks
  published against JPEG artefacts, with windows of 7, expect 255 times as much, their
  colour `mean` included.

  Args:
    state: PyTorch's names -> arrays; a prefix `module.` is dropped, and so are the
      attention masks and relative positions that the published code stores.

  Returns:
    The model and its variables; `model.apply(variables, image).image` is the
    original's output.

  Raises:
    UserError: keys are missing or unknown, or a weight does not fit; lists them.
  """
  return _convert(state, "state dict")


def _convert(state: Any, where: Any) -> tuple[SwinIR, dict]:
  state = StateDict(state, where, "the published SwinIR", _KEYS, _DERIVED)
  first = "layers.0.residual_group.blocks.0"
  features, channels, *_ = state.shape("conv_first.weight", "O, I, 3, 3")
  table = f"{first}.attn.relative_position_bias_table"
  rows, heads = state.shape(table, "(2w-1)², heads")
  hidden, _ = state.shape(f"{first}.mlp.fc1.weight", "O, I")
  upsampler, scale = _upsampler(state, channels)
  settings = dict(
    depths=_depths(state),
    features=features,
    heads=heads,
    window=(math.isqrt(rows) + 1) // 2,
    mlp_ratio=max(1, hidden // features),
    residual="1conv" if "conv_after_body.weight" in state else "3conv",
    upsampler=upsampler,
    scale=scale,
    channels=channels,
    mean=COLOUR_MEAN if channels == 3 else (),
  )
  rules = _RULES
  if settings["residual"] == "1conv":
    rules = ((r"\b(conv|conv_body)/conv_1/", r"\1/"), *rules)
  return state.build(SwinIR, settings, rules)


def _depths(state: StateDict) -> tuple[int, ...]:
  depths = {0: 1}
  for group, layer in state.indices(_LAYER):
    depths[group] = max(depths.get(group, 1), layer + 1)
  return tuple(depths.get(group, 1) for group in range(max(depths) + 1))


def _upsampler(state: StateDict, channels: int) -> tuple[str, int]:
  if "conv_up1.weight" in state:
    return "nearest+conv", 4
  if "conv_before_upsample.0.weight" in state:
    return "pixelshuffle", state.subpixel_scale("upsample", WIDTH)
  if "upsample.0.weight" in state:
    return "pixelshuffledirect", state.subpixel_scale("upsample", channels)
  return "", 1

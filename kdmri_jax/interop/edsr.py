"""Networks that the published PyTorch code of EDSR trained."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from kdmri_jax.interop import torch_file
from kdmri_jax.interop.state_dict import StateDict
from kdmri_jax.models.edsr import EDSR

_KEYS = "head.0, body.K.body.0 and .2, body.K, tail.0.K, tail.1, with .weight and .bias"
_PARTS = ("weight", "bias")


def load_edsr_checkpoint(
  path: str | os.PathLike, *, res_scale: float | None = None
) -> tuple[EDSR, dict]:
  """Reads an EDSR from a checkpoint of the published code.

  Args:
    path: .pt file with a state dict.
    res_scale: see `from_edsr_state_dict`.

  Returns:
    The model and its variables, as `from_edsr_state_dict` gives them.

  Raises:
    UserError: no readable checkpoint, an unsafe one, or no EDSR in it.
  """
  return _convert(torch_file.read(path), res_scale, path)


def from_edsr_state_dict(
  state: Mapping[str, Any], *, res_scale: float | None = None
) -> tuple[EDSR, dict]:
  """Builds an EDSR from its weights.

  Blocks, features, scale and channels follow from names and shapes. Published networks
  are for colour images in 0..255, whose mean is in `sub_mean` and `add_mean`. For a
  grey network the published code creates these two and cannot apply them; they are
  dropped.

  Args:
    state: PyTorch's names -> arrays; a prefix `module.` is dropped.
    res_scale: factor of each block's residue, which the weights do not contain. None
      takes the published one: 0.1 with 256 features, else 1.

  Returns:
    The model and its variables; `model.apply(variables, image).image` is the
    original's output.

  Raises:
    UserError: keys are missing or unknown, or a weight does not fit; lists them.
  """
  return _convert(state, res_scale, "state dict")


def _convert(state: Any, res_scale: float | None, where: Any) -> tuple[EDSR, dict]:
  state = StateDict(state, where, "the published EDSR", _KEYS)
  features, channels, *_ = state.shape("head.0.weight", "O, I, 3, 3")
  numbers = state.indices(r"body\.(\d+)\.body\.\d\.(?:weight|bias)")
  blocks = 1 + max((k for k, *_ in numbers), default=0)
  if res_scale is None:
    res_scale = 0.1 if features == 256 else 1.0
  settings = dict(
    blocks=blocks,
    features=features,
    res_scale=res_scale,
    scale=state.subpixel_scale("tail.0", features),
    channels=channels,
    mean=_pop_mean(state, channels),
  )
  rules = (
    (r"^block_(\d+)/conv_1", lambda m: f"body.{int(m[1]) - 1}.body.0"),
    (r"^block_(\d+)/conv_2", lambda m: f"body.{int(m[1]) - 1}.body.2"),
    (r"^upsampler/conv_(\d+)", lambda m: f"tail.0.{2 * int(m[1]) - 2}"),
    ("^conv_first", "head.0"),
    ("^conv_body", f"body.{blocks}"),
    ("^conv_last", "tail.1"),
  )
  return state.build(EDSR, settings, rules)


def _pop_mean(state: StateDict, channels: int) -> tuple[float, ...]:
  """Takes the 1x1 convolutions that shift the channels out of the state dict."""
  names = [f"{way}_mean.{part}" for way in ("sub", "add") for part in _PARTS]
  if not any(name in state for name in names):
    return ()
  arrays = [np.asarray(state.pop(name, None)) for name in names]
  subtract, minus, add, plus = arrays
  colours = minus.size
  unit = np.eye(colours)[:, :, None, None]
  good = all(a.dtype.kind == "f" and np.isfinite(a).all() for a in arrays)
  good = good and all(np.array_equal(weight, unit) for weight in (subtract, add))
  good = good and plus.shape == (colours,) and np.array_equal(plus, -minus)
  if not good or channels not in (1, colours):
    raise state.refusal(f"{', '.join(names)} that are no mean of {channels} channels")
  return tuple(plus.tolist()) if colours == channels and plus.any() else ()

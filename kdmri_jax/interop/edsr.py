"""Networks that the published PyTorch code of EDSR trained."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from kdmri_jax.interop import state_dict, torch_file
from kdmri_jax.models.edsr import EDSR

_KIND = state_dict.Kind(
  "keys head.0, body.K.body.0 and .2, body.K, tail.0.K and tail.1, each with .weight "
  "and .bias",
  "Use a checkpoint of the published EDSR.",
)


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
  state = _KIND.plain(state, where)
  features, channels, *_ = _KIND.shape(state, "head.0.weight", "O, I, 3, 3", where)
  numbers = state_dict.indices(state, r"body\.(\d+)\.body\.\d\.(?:weight|bias)")
  blocks = 1 + max((k for k, *_ in numbers), default=0)
  if res_scale is None:
    res_scale = 0.1 if features == 256 else 1.0
  settings = dict(
    blocks=blocks,
    features=features,
    res_scale=res_scale,
    scale=state_dict.subpixel_scale(state, "tail.0", features),
    channels=channels,
    mean=_pop_mean(state, channels, where),
  )
  rules = (
    (r"^block_(\d+)/conv_1", lambda m: f"body.{int(m[1]) - 1}.body.0"),
    (r"^block_(\d+)/conv_2", lambda m: f"body.{int(m[1]) - 1}.body.2"),
    (r"^upsampler/conv_(\d+)", lambda m: f"tail.0.{2 * int(m[1]) - 2}"),
    ("^conv_first", "head.0"),
    ("^conv_body", f"body.{blocks}"),
    ("^conv_last", "tail.1"),
  )
  return _KIND.build(state, EDSR, settings, rules, where)


def _pop_mean(state: dict[str, Any], channels: int, where: Any) -> tuple[float, ...]:
  """Takes the 1x1 convolutions that shift the channels out of the state dict."""
  names = [
    f"{way}_mean.{part}" for way in ("sub", "add") for part in ("weight", "bias")
  ]
  if not any(name in state for name in names):
    return ()
  arrays = [np.asarray(state.pop(name, None)) for name in names]
  subtract, minus, add, plus = arrays
  colours = minus.size
  unit = np.eye(colours)[:, :, None, None]
  if not (
    all(array.dtype.kind == "f" and np.isfinite(array).all() for array in arrays)
    and all(np.array_equal(weight, unit) for weight in (subtract, add))
    and plus.shape == (colours,)
    and np.array_equal(plus, -minus)
    and (colours == channels or channels == 1)
  ):
    found = f"{', '.join(names)} that are no mean of {channels} channels"
    raise _KIND.refusal(where, found)
  return tuple(plus.tolist()) if colours == channels and plus.any() else ()

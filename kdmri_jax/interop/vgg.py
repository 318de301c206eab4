"""Weights of a VGG network, as torchvision saves them, for the perceptual loss."""

import os
import re

import numpy as np

from kdmri_jax.interop import torch_file
from kdmri_jax.interop.state_dict import StateDict

_SOURCE = "torchvision's vgg11, vgg13, vgg16 or vgg19"
_KEYS = "features.N.weight and .bias of 3x3 convolutions, without batch normalisation"
_KEY = re.compile(r"(?:features\.)?(\d+)\.weight")


def load_vgg(path: str | os.PathLike) -> tuple:
  """Reads the convolutions of VGG-11, 13, 16 or 19 without batch normalisation.

  Args:
    path: torchvision's state dict (.pth), such as vgg16-397923af.pth: the keys
      `features.N.weight`, float [O, I, 3, 3], and `features.N.bias`, float [O]; others,
      such as those of the classifier, are not read.

  Returns:
    The blocks between two poolings: for each a tuple of (kernel [3, 3, I, O], bias
    [O]), float32.

  Raises:
    UserError: no readable checkpoint, or no such convolutions in it.
  """
  state = StateDict(torch_file.read(path), path, _SOURCE, _KEYS)
  matches = [
    m for key in state if (m := _KEY.fullmatch(key)) and np.ndim(state[key]) == 4
  ]
  indices = sorted(int(match[1]) for match in matches)
  prefix = "features." if f"features.{(indices or [0])[0]}.weight" in state else ""
  if not indices or indices[0]:
    raise state.refusal("no features.0.weight [O, 3, 3, 3]")
  blocks, inputs = [], 3
  for before, index in zip([None, *indices], indices, strict=False):
    weight = np.asarray(state[f"{prefix}{index}.weight"])
    bias = np.asarray(state.get(f"{prefix}{index}.bias", ()))
    if weight.shape[1:] != (inputs, 3, 3) or bias.shape != weight.shape[:1]:
      shapes = f"{weight.shape} and {bias.shape}"
      raise state.refusal(f"features.{index}, weight and bias of shape {shapes}")
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
      raise state.refusal(f"features.{index} with NaN or infinite values")
    # A convolution and its ReLU take two places, a pooling one more.
    step = 3 if before is None else index - before
    if step not in (2, 3):
      raise state.refusal(f"features.{index} after features.{before}")
    if step == 3:
      blocks.append([])
    kernel = np.ascontiguousarray(weight.transpose(2, 3, 1, 0), np.float32)
    blocks[-1].append((kernel, bias.astype(np.float32)))
    inputs = len(weight)
  return tuple(map(tuple, blocks))

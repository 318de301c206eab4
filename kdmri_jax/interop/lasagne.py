"""DC-CNNs that their authors' code in Theano and Lasagne trained."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from kdmri_jax.interop.state_dict import StateDict
from kdmri_jax.io import numpy_files
from kdmri_jax.models.dccnn import DCCNN

_KEYS = (
  "arr_0, arr_1 ..: kernel and bias of each convolution, several in each cascade, with "
  "more channels inside than the images have"
)


def is_checkpoint(path: str | os.PathLike) -> bool:
  """Whether it is an .npz file with arrays that have numbers and no names."""
  path = pathlib.Path(path)
  if path.suffix.lower() != ".npz":
    return False
  with numpy_files.opened_npz(path) as file:
    return "arr_0" in file.files


def load_lasagne_checkpoint(
  path: str | os.PathLike, *, flipped: bool = True
) -> tuple[DCCNN, dict]:
  """Reads a DC-CNN of Deep-MRI-Reconstruction, such as its d5_c5.npz.

  Args:
    path: .npz file of `lasagne.layers.get_all_param_values`.
    flipped: see `from_lasagne_arrays`.

  Returns:
    The model and its variables, as `from_lasagne_arrays` gives them.

  Raises:
    UserError: the file cannot be read, or there is no such network in it.
  """
  path = pathlib.Path(path)
  with numpy_files.opened_npz(path) as file:
    arrays = {key: numpy_files.npz_array(file, key) for key in file.files}
  return _convert(arrays, flipped, path)


def from_lasagne_arrays(
  arrays: Mapping[str, Any], *, flipped: bool = True
) -> tuple[DCCNN, dict]:
  """Builds a DC-CNN from its weights.

  Cascades, convolutions, features and channels follow from the shapes. Its cascades add
  their input, and measured k-space replaces that of the network.

  Args:
    arrays: `arr_0`, the kernel of the first convolution, float [O, I, 3, 3], `arr_1`,
      its bias, float [O], and so on.
    flipped: whether the kernels are those of a convolution, turned by 180 degrees
      against those of a correlation. True for Lasagne's `Conv2DLayer`; False for its
      `Conv2DDNNLayer`, which that code takes on a GPU. The wrong choice gives the
      network for images that are turned by 180 degrees.

  Returns:
    The model and its variables; `model.apply(variables, zero_filled,
    measurement).image` is the original's output.

  Raises:
    UserError: arrays are missing or unknown, or a shape does not fit; lists them.

  Source: Schlemper et al. 2017 (arXiv 1703.00555).
  """
  return _convert(arrays, flipped, "arrays")


def _convert(arrays: Any, flipped: bool, where: Any) -> tuple[DCCNN, dict]:
  state = StateDict(arrays, where, "Deep-MRI-Reconstruction's DC-CNN", _KEYS)
  features, channels, *_ = state.shape("arr_0", "O, I, 3, 3")
  kernels = [2 * k for k in range((len(state) + 1) // 2)]
  last = [k for k in kernels if np.shape(state.get(f"arr_{k}"))[:1] == (channels,)]
  convolutions = last[0] // 2 + 1 if last else 0
  if channels not in (1, 2) or convolutions < 2:
    raise state.refusal("no cascade of two convolutions for images of 1 or 2 channels")
  if flipped:
    for key, array in state.items():
      state[key] = array[..., ::-1, ::-1] if np.ndim(array) == 4 else array
  settings = dict(
    cascades=-(-len(kernels) // convolutions),
    convolutions=convolutions,
    features=features,
    channels=channels,
    variant="paper",
  )

  def name(match):
    layer = (int(match[1]) - 1) * convolutions + int(match[2]) - 1
    return f"arr_{2 * layer + (match[3] == 'bias')}"

  return state.build(DCCNN, settings, ((r"^cascade_(\d+)/conv_(\d+)/(\w+)$", name),))

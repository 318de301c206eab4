"""Networks as ONNX files, with no Fourier operator in them.

The Fourier transform is a product with a matrix of cosines and sines. For a Cartesian
mask, data consistency with w = lam/(1 + lam) is a product with one matrix per mask,

  DC(x) = (1 - w P) x + w r,   P = F^-1 M F,

which the file computes from the mask once; otherwise it transforms in every cascade.
"""

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import linen as nn

from kdmri_jax import models
from kdmri_jax.data.input_scale import BRIGHTER, LARGEST, InputScale
from kdmri_jax.errors import UserError
from kdmri_jax.interop import onnx_unet
from kdmri_jax.interop.onnx_graph import (
  SCALED_ABOVE,
  Graph,
  convolve,
  inverse_dft,
  transform,
)
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.models.edsr import EDSR
from kdmri_jax.models.subpixel import STEPS
from kdmri_jax.models.unet import UNet
from kdmri_jax.models.vdsr import VDSR
from kdmri_jax.optional import require
from kdmri_jax.physics import consistency
from kdmri_jax.saving import replacing

NETWORKS = (DCCNN, EDSR, UNet, VDSR)
_SCALING = {
  "none": "none",
  "largest": "by the largest magnitude of the batch",
  "brightness": "by the brightness of the batch to {:.4g}",
}


def save_onnx(
  path: str | os.PathLike,
  model: nn.Module,
  params: Mapping[str, Any],
  size: tuple[int, int],
  input_scale: InputScale = LARGEST,
) -> str:
  """Writes a DC-CNN, EDSR, U-Net or VDSR with its physics and scaling as an ONNX file.

  It computes `jax_bundle.whole_function`, with channels before rows. A DC-CNN takes
  `kspace`, float32 [batch, 2, H, W], real and imaginary part, and `mask`, uint8 [H, W];
  the others take `image`, float32 [batch, C, rows, columns], an EDSR and a VDSR of any
  size. The output is `reconstruction`, float32 [batch, C, rows, columns]. The batch
  size is free.

  Args:
    path: the file, which is replaced.
    model: the network.
    params: its parameters.
    size: rows and columns of the slices of a DC-CNN or U-Net.
    input_scale: see `jax_bundle.whole_function`.

  Returns:
    A message: the network written, and its inputs.

  Raises:
    UserError: another network, the package onnx is missing, or the file cannot be
      written.
  """
  if type(model) not in NETWORKS:
    found = f"a {type(model).__name__} to be written as ONNX"
    remedy = "Choose a stage with such a network, or --format=jax, which takes any."
    raise UserError(path, found, "a DC-CNN, an EDSR, a U-Net or a VDSR", remedy)
  graph = Graph(require("onnx", "export", path, "ONNX to be written"))
  channels, free = model.channels, ("batch", "rows", "columns")
  if isinstance(model, DCCNN):
    inputs = {"kspace": (np.float32, ("batch", 2, *size)), "mask": (np.uint8, size)}
    image, shape = _reconstruct(graph, model, params, size, input_scale), size
  else:
    shape = size if isinstance(model, UNet) else free[1:]
    inputs = {"image": (np.float32, (free[0], channels, *shape))}
    image = _enhance(graph, model, params, size, input_scale)
    if getattr(model, "scale", 1) > 1:
      shape = [f"{model.scale} {name}" for name in shape]
  about = {
    "network": type(model).__name__,
    "scaling": _SCALING[input_scale.statistic].format(input_scale.level),
  }
  content = graph.serialise(inputs, image, ("batch", channels, *shape), about)
  with replacing(path) as temporary:
    temporary.write_bytes(content)
  texts = [
    f"{name} {np.dtype(kind)} [{', '.join(map(str, shape))}]"
    for name, (kind, shape) in inputs.items()
  ]
  network = models.describe(model, params)
  return f"{path}: {network}\nIts inputs: {', '.join(texts)}."


def _reconstruct(graph: Graph, model: DCCNN, params, size, scale: InputScale) -> str:
  """From measured k-space to the image [B, C, H, W]."""
  channels = model.channels
  sampled = graph.cast("mask", "BOOL")
  image = graph("Where", sampled, "kspace", np.float32(0))
  for axis in (0, 1):
    image = transform(graph, image, inverse_dft(size[axis]), axis, (2, 2), size)
  image, divisor = _divided(graph, image, scale)
  measured = zero_filled = image
  if channels == 1:
    measured = graph("Slice", image, [0], [1], [1])
    zero_filled = _magnitude(graph, image)
  weight = 1.0 if math.isinf(model.lam) else model.lam / (1 + model.lam)
  measured = graph("Mul", measured, weight)
  axis = consistency.line_axis(model.consistency)
  if axis is None:
    project = _general_projection(graph, sampled, weight, channels, size)
  else:
    keep = _line_complement(graph, sampled, weight, channels, axis, size)
  x = zero_filled
  for c in range(1, model.cascades + 1):
    p = model.padding  # which the first convolution sees
    change = _cnn(graph, x, params[model.weights_of(c)], model.convolutions, p)
    change = graph("Slice", change, [p, p], [-p, -p], [2, 3]) if p else change
    x = graph("Add", x, change) if model.variant == "paper" else change
    if axis is None:
      kept = graph("Sub", x, project(x))
    else:
      kept = transform(graph, x, keep, axis, (channels, channels), size)
    x = graph("Add", kept, measured)
  if axis is not None:
    x = graph("Where", _is_cartesian(graph, sampled, axis), x, np.float32(np.nan))
  return graph("Mul", x, divisor)


def _cnn(graph: Graph, x: str, params, convolutions: int, margin: int = 0) -> str:
  for k in range(1, convolutions + 1):
    x = convolve(graph, x, params[f"conv_{k}"], margin if k == 1 else 0)
    x = graph("Relu", x) if k < convolutions else x
  return x


def _line_complement(graph: Graph, sampled, weight, channels: int, axis, size) -> str:
  """1 - w P for all channels, [C N, C N], from a mask of lines."""
  length = size[axis]
  line = graph("Slice", graph.cast(sampled, "FLOAT"), [0], [1], [1 - axis])
  line = graph("Reshape", line, [1, length])
  line = graph("Concat", line, line, axis=1)
  inverse = inverse_dft(length)[: channels * length]
  project = graph("MatMul", graph("Mul", inverse, line), inverse.T)
  return graph("Sub", np.eye(channels * length), graph("Mul", project, weight))


def _general_projection(graph: Graph, sampled, weight, channels: int, size):
  """w P: to k-space, times the mask, and back."""
  rows, columns = map(inverse_dft, size)
  weights = graph("Mul", graph.cast(sampled, "FLOAT"), weight)

  def project(x):
    forward = rows[: channels * size[0]].T
    x = transform(graph, x, forward, 0, (channels, 2), size)
    x = transform(graph, x, columns.T, 1, (2, 2), size)
    x = graph("Mul", x, weights)
    x = transform(graph, x, columns, 1, (2, 2), size)
    return transform(graph, x, forward.T, 0, (2, channels), size)

  return project


def _is_cartesian(graph: Graph, sampled: str, axis: int) -> str:
  mask, readout = graph.cast(sampled, "FLOAT"), [1 - axis]
  some = graph("ReduceMax", mask, readout)
  every = graph("ReduceMin", mask, readout)
  return graph("Less", graph("ReduceMax", graph("Sub", some, every)), 0.5)


def _enhance(graph: Graph, model, params, size, scale: InputScale) -> str:
  """From an image [B, C, H, W] to the enhanced one."""
  x = graph("Abs", "image") if model.channels == 1 else "image"
  x, divisor = _divided(graph, x, scale)
  if isinstance(model, VDSR):
    x = graph("Add", x, _cnn(graph, x, params["cnn"], model.convolutions))
  elif isinstance(model, UNet):
    x = onnx_unet.reconstruct(graph, model, params, x, size)
  else:
    x = _edsr(graph, model, params, x)
  return graph("Mul", x, divisor)


def _edsr(graph: Graph, model: EDSR, params, x: str) -> str:
  mean = np.reshape(model.mean or 0.0, (-1, 1, 1))
  head = x = convolve(graph, graph("Sub", x, mean), params["conv_first"])
  for k in range(1, model.blocks + 1):
    block = params[f"block_{k}"]
    hidden = graph("Relu", convolve(graph, x, block["conv_1"]))
    change = convolve(graph, hidden, block["conv_2"])
    x = graph("Add", x, graph("Mul", change, model.res_scale))
  x = graph("Add", head, convolve(graph, x, params["conv_body"]))
  for k, factor in enumerate(STEPS[model.scale], start=1):
    x = convolve(graph, x, params["upsampler"][f"conv_{k}"])
    x = graph("DepthToSpace", x, blocksize=factor, mode="CRD")
  return graph("Add", convolve(graph, x, params["conv_last"]), mean)


def _magnitude(graph: Graph, image: str) -> str:
  return graph("ReduceL2", image, [1], keepdims=1)


def _divided(graph: Graph, image: str, scale: InputScale) -> tuple[str, Any]:
  """The image for the network, and its divisor, see `InputScale.divisor`."""
  if scale.statistic == "none":
    return image, 1.0
  magnitude = _magnitude(graph, image)
  largest = graph("ReduceMax", magnitude, keepdims=0)
  divisor = graph("Where", _is_signal(graph, largest), largest, 1.0)
  if scale.statistic == "brightness":
    bright = _brightness(graph, magnitude)
    own = graph("Div", bright, scale.level)
    divisor = graph("Where", _is_signal(graph, bright), own, divisor)
  return graph("Div", image, divisor), divisor


def _is_signal(graph: Graph, value: str) -> str:
  return graph("Greater", value, graph.named(SCALED_ABOVE, np.float32(0)))


def _brightness(graph: Graph, magnitude: str) -> str:
  """`data.input_scale.brightness` of [B, 1, H, W]."""
  flat = graph("Flatten", magnitude)
  pixels = graph("Slice", graph("Shape", flat), [1], [2])
  brightest = graph("Add", graph("Div", pixels, np.int64(BRIGHTER)), [1])
  each = graph("ReduceMin", graph.largest(flat, brightest), [1], keepdims=0)
  total = graph("ReduceSum", each, keepdims=0)
  count = graph("ReduceSum", graph("Sign", each), keepdims=0)
  return graph("Div", total, graph("Max", count, 1.0))

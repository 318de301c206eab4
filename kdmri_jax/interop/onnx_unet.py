"""A U-Net as operators of ONNX."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from kdmri_jax.interop.onnx_graph import Graph, Pair, convolve
from kdmri_jax.models import unet
from kdmri_jax.models.unet import UNet


def reconstruct(
  graph: Graph, model: UNet, params: Mapping[str, Any], image: str, size: Pair
) -> str:
  """The network's image.

  Args:
    graph: gets the operators.
    model: the network.
    params: its parameters.
    image: [B, C, H, W].
    size: H and W.

  Returns:
    [B, C, H, W].
  """
  x, mean, deviation = image, np.float32(0), np.float32(1)
  if model.standardised:
    x, mean, deviation = _standardise(graph, image, model.channels * math.prod(size))
  skips, sizes, levels = [], [], range(1, model.levels + 1)
  halves = {"kernel_shape": [2, 2], "strides": [2, 2]}
  for k in levels:
    x = _block(graph, x, params[f"down_{k}"])
    skips.append(x)
    sizes.append(size)
    x, size = graph("AveragePool", x, **halves), (size[0] // 2, size[1] // 2)
  x = _block(graph, x, params["bottom"])
  for k, skip, size in zip(levels, skips[::-1], sizes[::-1], strict=True):
    x = _doubling(graph, x, params[f"double_{k}"]["transposed"]["kernel"])
    odd = [0, 0, size[0] % 2, size[1] % 2]
    x = graph("Pad", x, [0, 0, 0, 0, *odd], mode="reflect") if any(odd) else x
    x = _block(graph, graph("Concat", x, skip, axis=1), params[f"up_{k}"])
  x = convolve(graph, x, params["conv_last"])
  return graph("Add", graph("Mul", x, deviation), mean)


def _standardise(graph: Graph, image: str, count: int) -> tuple[str, str, str]:
  """The image for the network, its mean and its standard deviation."""
  each = [1, 2, 3]
  mean = graph("ReduceMean", image, each, keepdims=1)
  offset = graph("Sub", image, mean)
  variance = graph("Div", graph("ReduceSumSquare", offset, each), float(count - 1))
  deviation = graph("Add", graph("Sqrt", variance), unet.SMALLEST)
  limits = np.float32(-unet.LARGEST), np.float32(unet.LARGEST)
  return graph("Clip", graph("Div", offset, deviation), *limits), mean, deviation


def _block(graph: Graph, x: str, params) -> str:
  for k in (1, 2):
    kernel = params[f"conv_{k}"]["kernel"]
    bias = np.zeros(kernel.shape[-1], np.float32)
    x = convolve(graph, x, {"kernel": kernel, "bias": bias})
    x = _activate(graph, x, kernel.shape[-1])
  return x


def _doubling(graph: Graph, x: str, kernel) -> str:
  transposed = np.ascontiguousarray(np.asarray(kernel).transpose(3, 2, 0, 1))
  x = graph("ConvTranspose", x, transposed, strides=[2, 2])
  return _activate(graph, x, kernel.shape[2])


def _activate(graph: Graph, x: str, features: int) -> str:
  scale, offset = np.ones(features, np.float32), np.zeros(features, np.float32)
  x = graph("InstanceNormalization", x, scale, offset, epsilon=unet.EPSILON)
  return graph("LeakyRelu", x, alpha=unet.SLOPE)

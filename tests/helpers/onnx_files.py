"""Small networks as ONNX files, written with the package onnx."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TYPES = {"f4": TensorProto.FLOAT, "f8": TensorProto.DOUBLE, "f2": TensorProto.FLOAT16}
TYPES |= {"u1": TensorProto.UINT8}


def save(path, inputs, nodes, output, kind="f4", weights=(), gives=""):
  """A file with these inputs, name -> shape, and the named output of its nodes.

  Inputs are of the type `kind`, the output of `gives`, or of `kind`, too.
  """
  of = TYPES[kind]
  graph = helper.make_graph(
    nodes,
    "network",
    [helper.make_tensor_value_info(n, of, shape) for n, shape in inputs.items()],
    [helper.make_tensor_value_info(output, TYPES[gives or kind], None)],
    [numpy_helper.from_array(array, name) for name, array in weights],
  )
  opset = [helper.make_operatorsetid("", 18)]
  model = helper.make_model(graph, opset_imports=opset, ir_version=8)
  path.write_bytes(model.SerializeToString())
  return path


def with_outputs(path, nodes, kind="f4"):
  """The file with more nodes, of each of which the result is another output."""
  model = onnx.load(path)
  for node in nodes:
    model.graph.node.append(node)
    value = helper.make_tensor_value_info(node.output[0], TYPES[kind], None)
    model.graph.output.append(value)
  onnx.save(model, path)
  return path


def save_blur(path, shape=("b", 1, "h", "w"), kind="f4", last=False, channels=1):
  """y = 3x3 convolution of x with `blur_kernel`, its channels first or last."""
  kernel = np.zeros((channels, channels, 3, 3), "f8")
  for k in range(channels):
    kernel[k, k] = blur_kernel()
  nodes = [helper.make_node("Conv", ["x", "kernel"], ["y"], pads=[1, 1, 1, 1])]
  if last:
    nodes = [
      helper.make_node("Transpose", ["x"], ["first"], perm=[0, 3, 1, 2]),
      helper.make_node("Conv", ["first", "kernel"], ["blurred"], pads=[1, 1, 1, 1]),
      helper.make_node("Transpose", ["blurred"], ["y"], perm=[0, 2, 3, 1]),
    ]
  return save(path, {"x": shape}, nodes, "y", kind, [("kernel", kernel.astype(kind))])


def blur_kernel():
  """[3, 3], asymmetric, so that an exchange of the axes shows."""
  return np.array([[0.0, 0.1, 0.2], [0.0, 0.5, 0.1], [0.0, 0.1, 0.0]])


def blurred(images):
  """The images [B, H, W, C] as `save_blur` computes them, in double precision."""
  padded = np.pad(np.asarray(images, "f8"), ((0, 0), (1, 1), (1, 1), (0, 0)))
  rows, columns = images.shape[1:3]
  return sum(
    weight * padded[:, i : i + rows, j : j + columns]
    for (i, j), weight in np.ndenumerate(blur_kernel())
  )

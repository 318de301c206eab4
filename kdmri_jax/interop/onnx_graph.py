"""Building blocks of the ONNX files of all networks."""

import math
import types
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# The operator set and file format of ONNX 1.13, supported by runtimes of 2023.
OPSET, IR_VERSION = 18, 8
PRODUCER = "kdmri_jax"
SCALED_ABOVE = "scaled_above"  # constant: the largest intensity that is not scaled


Pair = tuple[int, int]


class Graph:
  """Operators in the order of computation; arrays are referred to by name.

  Args:
    onnx: the package.
  """

  def __init__(self, onnx: types.ModuleType):
    self._onnx, self._nodes = onnx, []
    self._constants: dict[Any, Any] = {}

  def __call__(self, operator: str, *inputs: Any, **attributes: Any) -> str:
    """Adds an operator with one output and returns the name of the output.

    Args:
      operator: its name in ONNX.
      *inputs: names of arrays, or arrays and numbers, which become constants.
      **attributes: of the operator.
    """
    names = [each if isinstance(each, str) else self._constant(each) for each in inputs]
    output = f"{operator}_{len(self._nodes)}"
    node = self._onnx.helper.make_node(operator, names, [output], output, **attributes)
    self._nodes.append(node)
    return output

  def largest(self, x: str, count: str) -> str:
    """The largest numbers along the last axis; `count` holds how many, int64 [1]."""
    output = f"TopK_{len(self._nodes)}"
    places = f"{output}_places"  # which the operator must return, too
    node = self._onnx.helper.make_node("TopK", [x, count], [output, places])
    self._nodes.append(node)
    return output

  def cast(self, x: str, kind: str) -> str:
    """The values as "FLOAT", or as "BOOL": whether each is not 0."""
    return self("Cast", x, to=self._onnx.TensorProto.DataType.Value(kind))

  def named(self, name: str, array: np.ndarray) -> str:
    """Adds a constant with a name of its own, so that a program can replace it."""
    self._constants[name] = self._onnx.numpy_helper.from_array(array, name)
    return name

  def serialise(
    self,
    inputs: Mapping[str, tuple[type, Sequence[int | str]]],
    image: str,
    shape: Sequence[int | str],
    about: Mapping[str, str],
  ) -> bytes:
    """The bytes of the file.

    Args:
      inputs: name -> type and shape; a name in a shape is a free size.
      image: the array to return, which gets the name "reconstruction".
      shape: its shape.
      about: metadata of the file.

    Raises:
      onnx.checker.ValidationError: the graph is not valid.
    """
    helper = self._onnx.helper
    self._nodes.append(
      helper.make_node("Identity", [image], ["reconstruction"], "output")
    )
    value = helper.make_tensor_value_info
    types = helper.np_dtype_to_tensor_dtype
    given = [value(n, types(np.dtype(t)), s) for n, (t, s) in inputs.items()]
    returned = [value("reconstruction", self._onnx.TensorProto.FLOAT, shape)]
    graph = helper.make_graph(
      self._nodes, "reconstruction", given, returned, list(self._constants.values())
    )
    opset = [helper.make_operatorsetid("", OPSET)]
    model = helper.make_model(
      graph, producer_name=PRODUCER, opset_imports=opset, ir_version=IR_VERSION
    )
    helper.set_model_props(model, dict(about))
    self._onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)

  def _constant(self, array: Any) -> str:
    array = np.asarray(array)
    if array.dtype == np.float64:
      array = array.astype(np.float32)
    key = array.dtype, array.shape, array.tobytes()
    if key not in self._constants:
      name = f"constant_{len(self._constants)}"
      self._constants[key] = self._onnx.numpy_helper.from_array(array, name)
    return self._constants[key].name


def convolve(graph: Graph, x: str, weights: Mapping[str, Any], margin: int = 0) -> str:
  """A convolution, zero-padded to the same size and by a margin.

  Args:
    graph: gets the operator.
    x: [B, I, H, W].
    weights: "kernel" [K, K, I, O], K odd, and "bias" [O].
    margin: pixels by which the result is larger on each side.

  Returns:
    [B, O, H + 2 margin, W + 2 margin].
  """
  kernel = np.asarray(weights["kernel"]).transpose(3, 2, 0, 1)
  pads = [kernel.shape[-1] // 2 + margin] * 4
  kernel = np.ascontiguousarray(kernel)
  return graph("Conv", x, kernel, np.asarray(weights["bias"]), pads=pads)


def transform(
  graph: Graph, x: str, matrix: str | np.ndarray, axis: int, channels: Pair, size: Pair
) -> str:
  """Multiplies an image by a matrix along an axis, all channels at once.

  Args:
    graph: gets the operators.
    x: [B, I, H, W].
    matrix: [O N, I N] for the N rows (axis 0) or columns (axis 1) of the image.
    axis: 0 or 1.
    channels: I and O.
    size: H and W.

  Returns:
    [B, O, H, W].
  """
  before, after = channels
  size = size if axis == 0 else size[::-1]
  swapped = {"perm": [0, 1, 3, 2]}
  x = x if axis == 0 else graph("Transpose", x, **swapped)
  if channels != (1, 1):
    x = graph("Reshape", x, np.array([-1, before * size[0], size[1]]))
  x = graph("MatMul", matrix, x)
  if channels != (1, 1):
    x = graph("Reshape", x, np.array([-1, after, *size]))
  return x if axis == 0 else graph("Transpose", x, **swapped)


def inverse_dft(length: int) -> np.ndarray:
  """The orthonormal inverse discrete Fourier transform of complex numbers.

  Returns:
    [[C, -S], [S, C]], [2 N, 2 N], for the real parts of a vector above its imaginary
    ones; its transpose is the transform itself.
  """
  angle = 2 * np.pi * (np.outer(np.arange(length), np.arange(length)) % length) / length
  cosine, sine = np.cos(angle), np.sin(angle)
  return np.block([[cosine, -sine], [sine, cosine]]) / math.sqrt(length)

"""Networks of other programs in ONNX files, computed by onnxruntime."""

import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from kdmri_jax.data import digests
from kdmri_jax.errors import UserError
from kdmri_jax.interop.onnx_graph import PRODUCER, SCALED_ABOVE
from kdmri_jax.io.reading import reading
from kdmri_jax.optional import require

_TYPES = {
  "tensor(float)": np.float32,
  "tensor(float16)": np.float16,
  "tensor(double)": np.float64,
  "tensor(uint8)": np.uint8,
  "tensor(int32)": np.int32,
  "tensor(int64)": np.int64,
  "tensor(bool)": np.bool_,
}
_FLOATS = (1, 10, 11, 16)  # float, float16, double and bfloat16 in ONNX
# Operations on integers that stand for numbers: which of their inputs can be trained
# arrays. The others are scales and zero points.
_QUANTISED = {
  "QuantizeLinear": (0,),
  "DequantizeLinear": (0,),
  "QLinearConv": (0, 3, 8),
  "QLinearMatMul": (0, 3),
  "ConvInteger": (0, 1),
  "MatMulInteger": (0, 1),
}
IMAGE = "image"  # as input and first output it may have any name in the file
_KSPACE, _MASK = "kspace", "mask"
_EXPECTED = (
  "one image, [batch, {0}, rows, columns] or [batch, rows, columns, {0}], or `kspace` "
  "[batch, 2, rows, columns], or both, of floating point; and `mask` [rows, columns] "
  "or no mask"
)


class _Input(NamedTuple):
  """An input: its name, type and shape, None for a free size."""

  name: str
  dtype: type | None
  shape: tuple[int | None, ...]


class OnnxNetwork:
  """A network in an ONNX file.

  An input `kspace` is the measured k-space, real and imaginary part, zero frequency at
  [0, 0]; `mask` the sampling mask. The other one is the zero-filled image. The first
  output is the image, its channels where those of the input image are. Every other
  output is a layer of its name.

  A file of `kdmri export` scales the images that it is given at once by their largest
  magnitude; here this is turned off, because the images of a run are scaled.

  Args:
    path: the file.
    channels: of the images, 1 or 2 (real and imaginary part).

  Raises:
    UserError: onnx or onnxruntime is missing, the file is damaged, its inputs are
      others, or another output than the first is named `image`; names them.

  Attributes:
    path: the file.
    hidden: the names of its outputs without the first.
    parameters: number of its weights: values of floating point, or integers that stand
      for them, that are stored as arrays; None where there are none.
    digest: of the file and its weights.
  """

  def __init__(self, path: str | os.PathLike, channels: int):
    self.path, self._channels = pathlib.Path(path), channels
    purpose = "a network in an ONNX file"
    onnx, runtime = (
      require(name, "onnx", path, purpose) for name in ("onnx", "onnxruntime")
    )
    with reading(path):
      model = onnx.load(path)
      options = runtime.SessionOptions()
      options.log_severity_level = 3  # errors alone
      self._kept = _unscaled(path, model, runtime, options)
      on = ["CPUExecutionProvider"]
      self._session = runtime.InferenceSession(os.fspath(path), options, providers=on)
      weights = [onnx.numpy_helper.to_array(each) for each in _weights(model)]
    self.parameters = sum(array.size for array in weights) or None
    arrays = map(np.ascontiguousarray, weights)
    self.digest = digests.digest(
      [self.path.read_bytes(), *(a.view("u1") for a in arrays)]
    )
    self._inputs = self._understood()
    self._first, *others = (each.name for each in self._session.get_outputs())
    self.hidden = tuple(others)
    if IMAGE in self.hidden:
      found = f"the outputs {self._first}, {', '.join(others)}"
      raise UserError(path, found, f"{IMAGE} as the first, or no output of that name")
    image = self._inputs.get(IMAGE)
    self._channels_last = (
      image is not None and image.shape[1] != channels == image.shape[3]
    )
    self._batch = (image or self._inputs[_KSPACE]).shape[0]

  def __call__(
    self, zero_filled: np.ndarray, kspace: np.ndarray, mask: np.ndarray
  ) -> np.ndarray:
    """Computes the images of a batch; arguments and errors as `layers`.

    Returns:
      float32 [B, H, W, C].
    """
    return self.layers((), zero_filled, kspace, mask)[IMAGE]

  def layers(
    self,
    hidden: Sequence[str],
    zero_filled: np.ndarray,
    kspace: np.ndarray,
    mask: np.ndarray,
  ) -> dict[str, np.ndarray]:
    """Computes the images of a batch, and other layers.

    Args:
      hidden: names of other layers.
      zero_filled: float32 [B, H, W, C].
      kspace: measured k-space, complex64 [B, H, W], or of several coils [B, C, H, W].
      mask: the sampling mask, [H, W] or [B, H, W].

    Returns:
      `image`, float32 [B, H, W, C], and the other layers, float32 [B, ...]; of four
      axes their channels are last, too.

    Raises:
      UserError: the network takes other shapes or the k-space of one coil, fails, or
        gives an image of another shape, layers without an entry for each image, or
        values that are not finite.
    """
    if kspace.ndim == 4 and _KSPACE in self._inputs:
      found = "a network that takes the k-space of one coil, in a run of several coils"
      expected = "one that takes the zero-filled image, [batch, 2, rows, columns]"
      raise UserError(self.path, found, expected, "Or give a folder of its images.")
    masks = np.broadcast_to(mask, zero_filled.shape[:3])
    computed: dict[str, np.ndarray] = {}
    for rows in self._groups(masks):
      image = zero_filled[rows]
      parts = np.stack([kspace[rows].real, kspace[rows].imag], axis=1)
      feed = {
        IMAGE: image if self._channels_last else np.moveaxis(image, -1, 1),
        _KSPACE: parts,
        _MASK: masks[rows[0]],
      }
      for name, layer in self._run(feed, image.shape, hidden).items():
        shape = len(masks), *layer.shape[1:]
        computed.setdefault(name, np.empty(shape, np.float32))[rows] = layer
    return computed

  def _understood(self) -> dict[str, _Input]:
    """The inputs by what they are."""
    found, there, channels = {}, self._session.get_inputs(), self._channels
    for each in there:
      kind = each.name if each.name in (_KSPACE, _MASK) else IMAGE
      sizes = (
        size if isinstance(size, int) and size > 0 else None for size in each.shape
      )
      found[kind] = _Input(each.name, _TYPES.get(each.type), tuple(sizes))
    shapes = {kind: one.shape for kind, one in found.items()}
    image, kspace = (
      shapes.get(IMAGE, (1, None, 1, 1)),
      shapes.get(_KSPACE, (1, 2, 1, 1)),
    )
    fits = (
      len(found) == len(there)
      and bool(found.keys() - {_MASK})
      and all(one.dtype for one in found.values())
      and all(np.dtype(found[k].dtype).kind == "f" for k in found.keys() - {_MASK})
      and len(image) == len(kspace) == 4
      and (image[1] in (None, channels) or image[3] == channels)
      and kspace[1] in (None, 2)
      and len(shapes.get(_MASK, (1, 1))) == 2
    )
    if not fits:
      listed = (f"{i.name} {i.type.removeprefix('tensor')} {i.shape}" for i in there)
      text = ", ".join(listed) or "none"
      raise UserError(self.path, f"the inputs {text}", _EXPECTED.format(channels))
    return found

  def _groups(self, masks: np.ndarray) -> Iterator[np.ndarray]:
    """The rows that are computed at once: of one mask, as many as the file takes."""
    groups = [np.arange(len(masks))]
    if _MASK in self._inputs:
      flat = masks.reshape(len(masks), -1)
      _, which = np.unique(flat, axis=0, return_inverse=True)
      groups = [np.flatnonzero(which == k) for k in range(which.max() + 1)]
    for rows in groups:
      most = self._batch or len(rows)
      yield from (rows[k : k + most] for k in range(0, len(rows), most))

  def _run(
    self,
    feed: dict[str, np.ndarray],
    shape: tuple[int, ...],
    hidden: Sequence[str],
  ) -> dict[str, np.ndarray]:
    arrays, count = {}, shape[0]
    for kind, one in self._inputs.items():
      array = feed[kind]
      if kind != _MASK:  # filled up where the file has a batch size
        array = array[np.arange(self._batch or count) % count]
      sizes = zip(one.shape, array.shape, strict=False)
      if len(one.shape) != array.ndim or any(n not in (None, m) for n, m in sizes):
        found = f"the input {one.name} {list(one.shape)}, None for any size"
        expected = f"one that takes {list(array.shape)}, the images of this run"
        remedy = "Export the network with free sizes, or for this one."
        raise UserError(self.path, found, expected, remedy)
      arrays[one.name] = np.ascontiguousarray(array, one.dtype)
    try:
      computed = self._session.run([self._first, *hidden], arrays)
    except Exception as error:  # onnxruntime has a class for each of its codes
      found = f"a network that fails on images of shape {shape} ({error})"
      raise UserError(self.path, found, "one that takes them") from error
    found = {}
    for name, array in zip((IMAGE, *hidden), computed, strict=True):
      found[name] = self._checked(name, np.atleast_1d(array)[:count], count)
    if found[IMAGE].shape != shape:
      there = f"an image {list(found[IMAGE].shape)} for {list(shape)}, [B, H, W, C]"
      raise UserError(self.path, there, "an image of the shape of its input")
    return found

  def _checked(self, name: str, layer: np.ndarray, count: int) -> np.ndarray:
    """A layer with its channels last."""
    if layer.dtype.kind != "f":
      found = f"the output {name} of type {layer.dtype}"
      raise UserError(self.path, found, "one of floating point")
    if len(layer) != count:
      found = f"the output {name} with {len(layer)} entries for {count} images"
      raise UserError(self.path, found, "one for each")
    if not np.isfinite(layer).all():
      found, expected = f"NaN or infinite values in the output {name}", "finite values"
      remedy = (
        "A DC-CNN that was exported for lines of k-space gives NaN for other masks."
      )
      raise UserError(self.path, found, expected, remedy)
    is_first = layer.ndim == 4 and not self._channels_last
    return np.moveaxis(layer, 1, -1) if is_first else layer


def _unscaled(path, model, runtime, options) -> Any:
  """Turns off the scaling of a file of `kdmri export`; the value must be kept."""
  about = {entry.key: entry.value for entry in model.metadata_props}
  if model.producer_name != PRODUCER or about.get("scaling", "none") == "none":
    return None
  if SCALED_ABOVE not in {each.name for each in model.graph.initializer}:
    found = "a file of an earlier version, whose scaling cannot be turned off"
    raise UserError(path, found, "a file of this version", "Export it again.")
  never = runtime.OrtValue.ortvalue_from_numpy(np.array(np.inf, np.float32))
  options.add_initializer(SCALED_ABOVE, never)
  return never


def _weights(model) -> Iterator[Any]:
  """The trained arrays, those of quantised networks included.

  All of the files of `kdmri export` belong to convolutions.
  """
  nodes = model.graph.node
  stored = {each.name: each for each in model.graph.initializer}
  for node in nodes:
    if node.op_type == "Constant":
      value = next((each.t for each in node.attribute if each.name == "value"), None)
      stored |= {} if value is None else {node.output[0]: value}
  if model.producer_name == PRODUCER:
    names = {n for node in nodes if node.op_type == "Conv" for n in node.input[1:]}
  else:
    inputs = [
      (name, k in _QUANTISED[node.op_type])
      for node in nodes
      if node.op_type in _QUANTISED
      for k, name in enumerate(node.input)
    ]
    names = {name for name, each in stored.items() if each.data_type in _FLOATS}
    names -= {name for name, is_trained in inputs if not is_trained}
    names |= {name for name, is_trained in inputs if is_trained}
  for name, each in stored.items():
    if name in names and each.dims:
      yield each

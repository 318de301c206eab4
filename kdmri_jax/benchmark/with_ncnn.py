"""The same networks in ncnn, for inference from the zero-filled image on.

ncnn's converter, pnnx, does not take the exported ONNX file: it refuses the largest
value of a mask over the batch, and leaves out types. So the network is written in
ncnn's own format, one image at a time, with data consistency as a product with a matrix
and without the Fourier transform of the measured k-space, which it is given.
"""

import pathlib
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import ncnn
import numpy as np

from kdmri_jax import config as config_lib
from kdmri_jax.benchmark.case import Case, Problem, Runner, load
from kdmri_jax.config import ExperimentConfig
from kdmri_jax.physics.masks.describe import phase_encode_axis
from kdmri_jax.training import parallel

_MAGIC = "7767517"  # of its format
_FLOAT32 = bytes(4)  # before the weights of a convolution
_config: ExperimentConfig


def start(config: dict) -> dict:
  """The version of ncnn."""
  global _config
  _config = config_lib.parse(config)
  return {"version": ncnn.__version__}


def prepare(case: Case, file: pathlib.Path) -> Mapping[str, Callable[[], Runner]]:
  """Runs the problem's network on every core, in float32, with a Cartesian mask."""
  if case.what != "inference" or case.precision not in ("", "float32"):
    return {}
  if phase_encode_axis(load(file).mask) is None:
    return {}
  return {"ncnn": lambda: _inference(case, load(file))}


def _inference(case: Case, problem: Problem):
  role = _config.models[_config.stages[case.stage].model]
  params = problem.params[_config.stages[case.stage].model]
  net = _network(params, role.settings["variant"] == "paper", problem.mask)
  measured = np.fft.ifft2(problem.kspace, norm="ortho").real.astype(np.float32)
  images = [np.moveaxis(problem.zero_filled, -1, 1), measured[:, None]]
  given = [tuple(map(_mat, pair)) for pair in zip(*images, strict=True)]

  def one(image, measured):
    extractor = net.create_extractor()
    extractor.input("image", image)
    extractor.input("measured", measured)
    return extractor.extract("result")[1]

  def run():
    return [one(*each) for each in given]

  images = np.stack([np.array(image)[0] for image in run()])[..., None]
  return Runner(run, float(np.abs(images - problem.expected).max()))


def _mat(image: np.ndarray) -> ncnn.Mat:
  return ncnn.Mat(np.ascontiguousarray(image)).clone()  # else it keeps no reference


def _network(params: Mapping[str, Any], residual: bool, mask: np.ndarray) -> ncnn.Net:
  axis = phase_encode_axis(mask)
  line = np.take(np.asarray(mask, np.float64), 0, 1 - axis)
  turns = np.subtract.outer(np.arange(len(line)), np.arange(len(line)))
  keep = np.fft.ifft(1 - line).real[turns % len(line)].astype(np.float32)
  layers, blobs, data = [], ["image", "measured", "keep"], [keep.tobytes()]

  def add(kind, inputs, output, settings=""):
    blobs.append(output)
    names = " ".join((*inputs, output))
    layers.append(f"{kind} {output} {len(inputs)} 1 {names} {settings}")

  image = "image"
  for c in range(1, len(params) + 1):
    x, convolutions = image, params[f"cascade_{c}"]
    for k in range(1, len(convolutions) + 1):
      weights, name = convolutions[f"conv_{k}"], f"c{c}_{k}"
      kernel = np.ascontiguousarray(np.transpose(weights["kernel"], (3, 2, 0, 1)))
      settings = f"0={len(kernel)} 1=3 4=1 5=1 6={kernel.size}"
      add("Convolution", [x], name, settings + " 9=1" * (k < len(convolutions)))
      data += [_FLOAT32, kernel.tobytes(), np.asarray(weights["bias"]).tobytes()]
      x = name
    if residual:
      add("BinaryOp", [image, x], f"sum{c}", "0=0")
      x = f"sum{c}"
    add("MatMul", ["keep", x] if axis == 0 else [x, "keep"], f"kept{c}")
    image = "result" if c == len(params) else f"image{c}"
    add("BinaryOp", [f"kept{c}", "measured"], image, "0=0")
  layers = [
    *("Input image 0 1 image", "Input measured 0 1 measured"),
    f"MemoryData keep 0 1 keep 0={len(keep)} 1={len(keep)}",
    *_with_splits(layers),
  ]
  return _load(layers, b"".join(data))


def _with_splits(layers):
  """ncnn lets every value be read once: copies of those that are read again."""
  parsed = [line.split() for line in layers]
  reads: dict[str, int] = {}
  for words in parsed:
    for name in words[4 : 4 + int(words[2])]:
      reads[name] = reads.get(name, 0) + 1
  left = dict.fromkeys(reads, 0)

  def split(name):
    copies = " ".join(f"{name}_{k}" for k in range(reads[name]))
    return f"Split split_{name} 1 {reads[name]} {name} {copies}"

  again = {name for name, count in reads.items() if count > 1}
  found = [split(name) for name in ("image", "measured", "keep") if name in again]
  for words in parsed:
    for at in range(4, 4 + int(words[2])):
      if (name := words[at]) in again:
        words[at] = f"{name}_{left[name]}"
        left[name] += 1
    found.append(" ".join(words))
    if words[1] in again:
      found.append(split(words[1]))
  return found


def _load(layers: list[str], data: bytes) -> ncnn.Net:
  blobs = sum(int(line.split()[3]) for line in layers)
  net = ncnn.Net()
  net.opt.num_threads = parallel.cores()
  for half in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
    setattr(net.opt, f"use_{half}", False)
  with tempfile.TemporaryDirectory() as folder:
    text, weights = pathlib.Path(folder, "param"), pathlib.Path(folder, "bin")
    text.write_text("\n".join([_MAGIC, f"{len(layers)} {blobs}", *layers, ""]))
    weights.write_bytes(data)
    if net.load_param(str(text)) or net.load_model(str(weights)):
      raise RuntimeError("ncnn refuses the network")
  return net

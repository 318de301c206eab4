"""The exported ONNX file in OpenVINO, for inference."""

import importlib.util
import pathlib
from collections.abc import Callable, Mapping

import numpy as np
import openvino

from kdmri_jax.benchmark.case import Case, Problem, Runner, load, onnx_inputs

_TYPES = {"": "f32", "float32": "f32", "bfloat16": "bf16"}


def start(config: dict) -> dict:
  """The version of OpenVINO."""
  del config
  return {"version": openvino.get_version()}


def prepare(case: Case, file: pathlib.Path) -> Mapping[str, Callable[[], Runner]]:
  """Runs the file that JAX wrote beside the problem, on every core of the CPU.

  Beside bfloat16, and with its tolerance, runs int8 where NNCF is installed. Training
  is not supported.
  """
  if case.what != "inference" or case.precision not in _TYPES:
    return {}
  ways = {"openvino": lambda: _inference(file, case, _read)}
  if case.precision == "bfloat16" and importlib.util.find_spec("nncf"):
    ways["openvino, int8"] = lambda: _inference(file, case, _quantised)
  return ways


def _inference(file: pathlib.Path, case: Case, read) -> Runner:
  problem = load(file)
  hints = {"INFERENCE_PRECISION_HINT": _TYPES[case.precision]}
  hints["PERFORMANCE_HINT"] = "LATENCY"
  model = read(file.with_suffix(".onnx"), problem)
  model.reshape({"kspace": [case.batch, 2, case.height, case.width]})
  request = openvino.compile_model(model, "CPU", hints).create_infer_request()
  inputs = onnx_inputs(problem)

  def run():
    return request.infer(inputs)[0]

  image = run().transpose(0, 2, 3, 1)
  return Runner(run, float(np.abs(image - problem.expected).max()))


def _read(path: pathlib.Path, problem: Problem):
  del problem
  return openvino.Core().read_model(path)


def _quantised(path: pathlib.Path, problem: Problem):
  """Convolutions of 8 bits, their ranges from the problem's own slices.

  The Fourier transforms, which are products with matrices, stay as they are.
  """
  import nncf

  count = len(problem.kspace)
  slices = [onnx_inputs(problem, slice(k, k + 1)) for k in range(count)]
  fourier = nncf.IgnoredScope(types=["MatMul"])
  data = nncf.Dataset(slices)
  return nncf.quantize(_read(path, problem), data, ignored_scope=fourier)

"""The exported ONNX file in onnxruntime, for inference."""

import os
import pathlib
from collections.abc import Callable, Mapping

import numpy as np
import onnxruntime

from kdmri_jax.benchmark.case import Case, Runner, load, onnx_inputs


def start(config: dict) -> dict:
  """The version of onnxruntime."""
  del config
  return {"version": onnxruntime.__version__}


def prepare(case: Case, file: pathlib.Path) -> Mapping[str, Callable[[], Runner]]:
  """Runs the file that JAX wrote beside the problem, on every core.

  Training is not supported; it computes in float32 alone.
  """
  if case.what != "inference" or case.precision not in ("", "float32"):
    return {}
  return {"onnxruntime": lambda: _inference(file)}


def _inference(file: pathlib.Path):
  problem = load(file)
  options = onnxruntime.SessionOptions()
  if hasattr(os, "sched_getaffinity"):
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
  providers = [("CUDAExecutionProvider", {"use_tf32": 0}), "CPUExecutionProvider"]
  on_cpu = "CUDAExecutionProvider" not in onnxruntime.get_available_providers()
  session = onnxruntime.InferenceSession(
    str(file.with_suffix(".onnx")), options, providers=providers[on_cpu:]
  )
  inputs = onnx_inputs(problem)

  def run():
    return session.run(None, inputs)[0]

  image = run().transpose(0, 2, 3, 1)
  deviation = float(np.abs(image - problem.expected).max())
  return Runner(run, deviation, on_cpu=on_cpu)

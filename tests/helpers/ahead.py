"""Programs for an H100, compiled ahead of time: no GPU is needed, JAX's plugin is."""

import collections
import contextlib
import pathlib
import re
import shutil
import subprocess
import tempfile

import jax
import jax.experimental.topologies
import numpy as np
import pytest

from kdmri_jax import config as config_lib
from kdmri_jax import models as models_lib
from kdmri_jax.experiments import base
from kdmri_jax.physics.acquisition import build
from kdmri_jax.physics.undersample import undersample
from kdmri_jax.training.optimiser import make_optimiser
from kdmri_jax.training.stage_networks import Networks, Teacher
from kdmri_jax.training.stage_shapes import fit_terms
from kdmri_jax.training.step import init_state, make_steps
from kdmri_jax.training.terms import resolve
from kdmri_jax.types import Slices

_H100 = """
gpu_device_info {
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 84942979072
  shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
_NO_KERNELS = {"parameter", "constant", "get-tuple-element", "tuple", "bitcast"}


def h100():
  """A device to compile for; skips the test where JAX has no plugin for it."""
  plugin = None
  for version in ("13", "12"):
    with contextlib.suppress(ImportError):
      plugin = plugin or __import__(f"jax_plugins.xla_cuda{version}")
  if plugin is None:
    pytest.skip("needs JAX's plugin for CUDA, not a GPU: pip install jax-cuda12-plugin")
  jax.devices()  # which registers the plugin
  topology = jax.experimental.topologies.get_topology_desc(
    "h100", "cuda", target_config=_H100, topology="1x1x1"
  )
  return topology.devices[0]


def compile_for(device, function, *shapes, dtype):
  """A function of arrays of these shapes, lowered for the device."""
  there = jax.sharding.SingleDeviceSharding(device)
  given = [jax.ShapeDtypeStruct(shape, dtype, sharding=there) for shape in shapes]
  return jax.jit(function).trace(*given).lower(lowering_platforms=("cuda",))


def assembled(lowered):
  """The compiled program, and kernel of this package -> registers, bytes spilled.

  Skips the test where there is no assembler for NVIDIA's GPUs.
  """
  if not (assembler := shutil.which("ptxas")):
    pytest.skip("needs ptxas, of NVIDIA's CUDA toolkit")
  found = {}
  with tempfile.TemporaryDirectory() as folder:
    compiled = lowered.compile(compiler_options={"xla_dump_to": folder})
    for path in pathlib.Path(folder).glob("*.ptx"):
      text = path.read_text()
      if name := re.search(r"\.entry (kdmri_\w+)", text):
        run = [assembler, "-v", "-arch=sm_90a", "-o", "/dev/null", str(path)]
        said = subprocess.run(run, capture_output=True, text=True, check=True).stderr
        spilled = sum(map(int, re.findall(r"(\d+) bytes spill", said)))
        found[name[1]] = int(re.search(r"Used (\d+) registers", said)[1]), spilled
  return compiled, found


def train_many(stage_name, precision, device):
  """The compiled loop of 30 steps of 4 images of 240x240, as training has it."""
  config = config_lib.parse(base.get_config())
  stage = config.stages[stage_name]
  slices = Slices(np.zeros((4, 240, 240, 1), np.float32))
  acquisition = build(config.all_tasks, (240, 240))
  networks = {
    role: models_lib.build(each, acquisition.masks).clone(precision=precision)
    for role, each in config.models.items()
  }
  zero_filled, measurement = undersample(slices.target, acquisition.masks[0])
  params = {
    role: jax.eval_shape(network.init, jax.random.key(0), zero_filled, measurement)
    for role, network in networks.items()
  }
  params = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), params)
  roles = [config.stages[name].model for name in stage.all_teachers]
  parts = Networks(
    networks[stage.model], resolve(stage), tuple(networks[role] for role in roles)
  )
  parts = parts._replace(terms=fit_terms(parts, slices, acquisition, stage_name))
  optimiser = make_optimiser(stage, steps_per_epoch=60)
  steps = make_steps(parts, optimiser, jax.devices()[:1])
  teacher = Teacher(tuple(params[role]["params"] for role in roles), np.float32(1))
  slices = slices._replace(zero_filled=zero_filled, kspace=measurement.kspace)
  if roles:
    hints = jax.eval_shape(steps.teach, teacher, slices, acquisition)
    slices = slices._replace(hints=hints)
  state = jax.eval_shape(
    lambda: init_state(params[stage.model]["params"], {}, optimiser)
  )
  arguments = state, teacher, slices, np.zeros((30, 4), np.int32), acquisition
  there = jax.sharding.SingleDeviceSharding(device)
  given = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype, sharding=there), arguments
  )
  lowered = steps.train_many.trace(*given).lower(lowering_platforms=("cuda",))
  return lowered.compile().as_text()


def kernels(text):
  """How many kernels of each kind one step of a compiled loop starts."""
  bodies = {}
  for block in re.split(r"\n(?=%|ENTRY )", text):
    bodies[re.match(r"(?:ENTRY )?%?([\w.\-]+)", block)[1]] = block.splitlines()[1:]
  loops = re.findall(r" while\(.*?body=%?([\w.\-]+)", text)
  body = max((bodies[name] for name in loops), key=len)
  found = collections.Counter()
  for line in body:
    operation = re.match(r" +(?:ROOT )?%?[\w.\-]+ = (?:\(.*?\)|\S+) ([\w\-]+)\(", line)
    if operation and operation[1] not in _NO_KERNELS:
      found[operation[1]] += 1
  return found

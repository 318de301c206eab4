"""This project's networks and training steps, as stages run them."""

import contextlib
import functools
import importlib.util
import io
import pathlib
import tempfile
from collections.abc import Callable, Mapping

import jax
import jax.export
import numpy as np

from kdmri_jax import config as config_lib
from kdmri_jax import interop, memory, models
from kdmri_jax.benchmark import kernels, machine
from kdmri_jax.benchmark.case import Case, Problem, Runner, load, save
from kdmri_jax.config import ExperimentConfig
from kdmri_jax.data.input_scale import UNSCALED
from kdmri_jax.physics.acquisition import build
from kdmri_jax.physics.undersample import undersample
from kdmri_jax.training import batches, log, parallel, processes, seeds
from kdmri_jax.training.experiment import Experiment
from kdmri_jax.training.optimiser import make_optimiser
from kdmri_jax.training.stage_networks import Networks, Teacher
from kdmri_jax.training.stage_shapes import fit_terms
from kdmri_jax.training.step import init_state, make_predict, make_steps
from kdmri_jax.training.terms import resolve
from kdmri_jax.types import Acquisition, Slices

_config: ExperimentConfig
_count: int
_machine_too: bool
_name: str
_exports: bool

# Seconds that a process waits for the other: a loaded machine may be slow.
_PATIENCE = 1800


def start(
  config: dict,
  devices: int = 0,
  address: str = "",
  process: int = 0,
  machine_too: bool = False,
  name: str = "jax",
  exports: bool = True,
) -> dict:
  """Creates the devices.

  Args:
    config: the experiment.
    devices: number of devices of this process, on a CPU host devices; 0 for as many as
      the scripts use.
    address: of the coordinator of two processes, "" for one process.
    process: number of this process.
    machine_too: whether to time the machine itself beside each case.
    name: of its way to run a case; where it is not "jax", its numbers are compared with
      those of the problem that "jax" wrote.
    exports: whether it also runs its exported bundle.
  """
  global _config, _count, _machine_too, _name, _exports
  _name, _exports = name, exports
  _config, _count = config_lib.parse(config), devices
  _machine_too = machine_too
  memory.keep_freed()
  parallel.use_cores()
  if devices:
    jax.config.update("jax_num_cpu_devices", devices)
  if address:
    processes.connect(address, processes=2, process=process, patience=_PATIENCE)
  about = {"version": jax.__version__, "devices": jax.device_count()}
  return about | machine.describe()


def connect() -> dict:
  """Opens the connections of all processes, which must call it at the same time."""
  processes.open_connections(jax.devices())
  return {"devices": jax.device_count()}


def prepare(case: Case, file: pathlib.Path) -> Mapping[str, Callable[[], Runner]]:
  """Writes the problem to `file` and runs it; "jax, exported" runs its bundle."""
  run = _training if case.what == "training" else _inference
  ways = {_name: functools.partial(run, case, file)}
  if _exports and case.what == "inference" and importlib.util.find_spec("onnx"):
    ways["jax, exported"] = functools.partial(_exported, case, file)
  return ways | (machine.prepare(case) if _machine_too else {})


def train(stages: list[str]) -> dict[str, list[float]]:
  """Trains stages of the experiment; stage -> seconds of each epoch."""
  found = {}
  with (
    tempfile.TemporaryDirectory() as folder,
    contextlib.redirect_stderr(io.StringIO()),  # no bar within the benchmark's own
  ):
    for_seeds = seeds.train(Experiment(_config, pathlib.Path(folder)), stages)
    for stage in stages:
      logs = [log.read(x.workdir.stage(stage) / "metrics.jsonl") for x in for_seeds]
      until = [
        [line["seconds"] for line in lines if line["event"] == "epoch"]
        for lines in logs
      ]
      # Side by side the slowest seed counts.
      found[stage] = np.diff(until, axis=1, prepend=0).max(axis=0).tolist()
  return found


def most_memory() -> dict:
  """The most bytes of the accelerator that were in use at once; None if unknown."""
  found = jax.devices()[0].memory_stats() or {}
  return {"bytes": found.get("peak_bytes_in_use")}


def kernel(
  way: str, what: str, channels: tuple[int, int], images: tuple[int, int, int]
) -> dict:
  """Times one convolution, or gradients of it, see `kernels.seconds`."""
  return {"seconds": kernels.seconds(way, what, tuple(channels), tuple(images))}


def _inference(case: Case, file: pathlib.Path):
  slices, acquisition, networks, params = _problem(case)
  role = _config.stages[case.stage].model
  devices = _devices(case)
  predict = make_predict(networks[role], devices)
  slices = _measured(slices, acquisition)
  weights = parallel.replicate(params[role], devices)
  given = parallel.keep(slices, devices), parallel.keep(acquisition, devices)

  def run():
    return jax.block_until_ready(predict(weights, *given))[1]

  deviation = _save(file, networks, params, slices, acquisition, np.asarray(run()))
  return Runner(run, deviation, on_cpu=_on_cpu())


def _exported(case: Case, file: pathlib.Path):
  """Writes the network's ONNX file and bundle beside the problem; runs the bundle."""
  _, _, networks, params = _problem(case)
  role, size = _config.stages[case.stage].model, (case.height, case.width)
  export = networks[role], params[role], size, UNSCALED
  interop.save_onnx(file.with_suffix(".onnx"), *export)
  bundle = file.with_suffix(".jaxexport")
  interop.save_jax_bundle(bundle, *export)
  reconstruct = jax.jit(jax.export.deserialize(bytearray(bundle.read_bytes())).call)
  problem = load(file)
  given = problem.kspace, problem.mask.astype(np.uint8)
  given = parallel.keep(given, jax.devices()[:1])

  def run():
    return jax.block_until_ready(reconstruct(*given))

  deviation = float(np.abs(run() - problem.expected).max())
  return Runner(run, deviation, on_cpu=_on_cpu())


def _training(case: Case, file: pathlib.Path):
  slices, acquisition, networks, params = _problem(case)
  stage = _config.stages[case.stage]
  roles = [_config.stages[name].model for name in stage.all_teachers]
  teaching = tuple(networks[role] for role in roles)
  parts = Networks(networks[stage.model], resolve(stage), teaching)
  parts = parts._replace(terms=fit_terms(parts, slices, acquisition, case.stage))
  devices = _devices(case)
  optimiser = make_optimiser(stage, steps_per_epoch=100)
  steps = make_steps(parts, optimiser, devices)
  teacher = Teacher(tuple(params[role] for role in roles), np.float32(1))
  own = processes.share(np.arange(case.batch))
  slices = batches.take(slices, own)
  if case.cached:
    hints = jax.device_get(steps.teach(teacher, slices, acquisition))
    slices = slices._replace(hints=jax.tree.map(lambda x: x[own], hints))
  slices = _measured(slices, acquisition)
  measured = slices._replace(hints=None)
  teacher = parallel.replicate(teacher, devices)
  acquisition_there = parallel.replicate(acquisition, devices)
  state = parallel.replicate(init_state(params[stage.model], {}, optimiser), devices)
  slices = parallel.keep(slices, devices)
  times = parallel.at_once(_config.steps_per_dispatch, slices, devices, count=32)
  rows = np.tile(np.arange(len(own)), (times, 1))

  def run():
    nonlocal state
    if times > 1:
      given = teacher, slices, rows, acquisition_there
      state, values = steps.train_many(state, *given)
    else:
      state, values = steps.train(state, teacher, slices, acquisition_there)
    return np.ravel(values["loss"])

  losses = np.concatenate([run(), run()])[:2]
  deviation = _save(file, networks, params, measured, acquisition, losses, times)
  return Runner(run, deviation, times, on_cpu=_on_cpu())


def _devices(case: Case):
  """The devices of all processes, or the requested number of this one's.

  Without a request: one accelerator, or the host devices that divide a batch.
  """
  if jax.process_count() > 1:
    return jax.devices()
  return parallel.choose_devices(_count or (0 if _on_cpu() else 1), case.batch)


def _on_cpu() -> bool:
  return jax.default_backend() == "cpu"


def _problem(case: Case):
  """Random images, the mask, and networks with random weights."""
  rng = np.random.default_rng(0)
  target = rng.random((case.batch, case.height, case.width, 1), np.float32)
  acquisition = build(_config.all_tasks, target.shape[1:3])
  networks = {}
  for key, model in _config.models.items():
    network = models.build(model, acquisition.masks)
    if case.precision and hasattr(network, "precision"):
      network = network.clone(precision=case.precision)
    networks[key] = network
  slices = Slices(target)
  one = _measured(Slices(target[:1]), acquisition)
  measurement = undersample(one.target, acquisition.masks[0])[1]
  params = {
    key: network.init(jax.random.key(k), one.zero_filled, measurement)["params"]
    for k, (key, network) in enumerate(networks.items())
  }
  return slices, acquisition, networks, jax.device_get(params)


def _measured(slices: Slices, acquisition: Acquisition) -> Slices:
  """The same slices with their k-space."""
  zero_filled, measurement = undersample(slices.target, acquisition.masks[0])
  kspace = np.asarray(measurement.kspace)
  return slices._replace(kspace=kspace, zero_filled=np.asarray(zero_filled))


def _save(file, networks, params, slices, acquisition, expected, times=1) -> float:
  """Writes the problem, or returns how far its results are from the written ones."""
  if _name != "jax":
    others = load(file).expected
    apart = expected - others if expected.ndim > 1 else expected / others - 1
    return float(np.abs(apart).max())
  params = {key: _by_cascade(networks[key], weights) for key, weights in params.items()}
  mask = np.asarray(acquisition.masks[0])
  arrays = slices.target, slices.kspace, mask, slices.zero_filled, expected
  save(file, Problem(params, *arrays, times))
  return 0.0


def _by_cascade(model, params):
  """The weights of each cascade; those of one object are shared."""
  if not getattr(model, "shared", False):
    return params
  numbers = range(1, model.cascades + 1)
  return {f"cascade_{c}": params[model.weights_of(c)] for c in numbers}

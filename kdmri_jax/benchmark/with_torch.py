"""The same networks and training steps in plain PyTorch, the reference for speed.

Written as a PyTorch user would write them: `nn.functional.conv2d` and Adam, data
consistency by a real 1-D FFT where the mask is Cartesian, half precision by
`torch.autocast`. Each case is run in eager mode, with channels-last memory and
compiled; the best of them counts.
"""

import functools
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from kdmri_jax import config as config_lib
from kdmri_jax.benchmark.case import Case, Problem, Runner, load
from kdmri_jax.config import ExperimentConfig
from kdmri_jax.errors import ArgumentError
from kdmri_jax.physics.masks.describe import phase_encode_axis

_DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
_config: ExperimentConfig
_compiles: bool


def start(config: dict, compiles: bool = True) -> dict:
  """Uses every core.

  Args:
    config: the experiment.
    compiles: whether training steps are compiled, too.
  """
  global _config, _compiles
  _compiles = compiles
  _config = config_lib.parse(config)
  if hasattr(os, "sched_getaffinity"):
    torch.set_num_threads(len(os.sched_getaffinity(0)))
  return {"version": torch.__version__, "threads": torch.get_num_threads()}


def prepare(case: Case, file: pathlib.Path) -> Mapping[str, Callable[[], Runner]]:
  """The ways to run a case; on a GPU inference also with CUDA graphs."""
  make = _inference if case.what == "inference" else _training
  problem = load(file)
  for part in (torch.backends.cudnn.conv, torch.backends.cudnn.rnn):
    part.fp32_precision = "tf32" if case.precision == "tensorfloat32" else "ieee"
  torch.compiler.reset()  # otherwise it stops compiling after eight networks
  ways = {
    "torch": functools.partial(make, case, problem),
    "torch, channels last": functools.partial(make, case, problem, last=True),
  }
  compiled = functools.partial(make, case, problem, last=True)
  if _compiles or case.what == "inference":
    ways["torch, compiled"] = functools.partial(compiled, whole="default")
  if _DEVICE == "cuda" and case.what == "inference":
    ways["torch, CUDA graphs"] = functools.partial(compiled, whole="reduce-overhead")
  return ways


def most_memory() -> dict:
  """The most bytes of the GPU that were in use at once; None on a CPU."""
  return {"bytes": torch.cuda.max_memory_allocated() if _DEVICE == "cuda" else None}


class DCCNN(torch.nn.Module):
  """A DC-CNN for real images, with the weights of ours.

  Args:
    params: cascade -> convolution -> kernel and bias; one object for all cascades that
      share their weights.
    residual: whether a cascade's input is added to its CNN.
    rounds: whether the CNNs compute in bfloat16 (rounded inputs and weights).
    mask: the sampling mask, [H, W].
  """

  def __init__(self, params: Any, residual: bool, rounds: bool, mask: np.ndarray):
    super().__init__()
    self._residual, self._rounds = residual, rounds
    self._cascades = torch.nn.ModuleList()
    for c in range(1, len(params) + 1):
      layers = params[f"cascade_{c}"]
      if c > 1 and layers is params["cascade_1"]:
        self._cascades.append(self._cascades[0])
        continue
      convolutions = [layers[f"conv_{k}"] for k in range(1, len(layers) + 1)]
      self._cascades.append(torch.nn.ModuleList(map(_convolution, convolutions)))
    axis = phase_encode_axis(mask)
    self._axes = (2, 3) if axis is None else (2 + axis,)
    mask = np.asarray(mask, np.float32)
    even = (mask + np.roll(mask[::-1, ::-1], (1, 1), (0, 1))) / 2
    rows, columns = (length // 2 + 1 for length in mask.shape)
    half = even[:rows, :1] if axis == 0 else even[: 1 if axis else None, :columns]
    self.register_buffer("_half", torch.tensor(half, dtype=torch.float32))

  def forward(self, image: torch.Tensor, measured: torch.Tensor) -> torch.Tensor:
    """[B, 1, H, W], real part of the measured image -> image, layers by cascade."""
    layers = []
    for cascade in self._cascades:
      x, activations = image, []
      with torch.autocast(_DEVICE, torch.bfloat16, enabled=self._rounds):
        for convolution in cascade[:-1]:
          x = torch.relu(convolution(x))
          activations.append(x)
        x = cascade[-1](x)
      image = image + x if self._residual else x.float()
      image = image - self._sampled_part(image) + measured
      layers.append(activations)
    return image, layers

  def _sampled_part(self, image):
    kspace = self._half * torch.fft.rfftn(image, dim=self._axes)
    size = [image.shape[axis] for axis in self._axes]
    return torch.fft.irfftn(kspace, s=size, dim=self._axes)


def _convolution(weights):
  kernel = torch.tensor(weights["kernel"]).permute(3, 2, 0, 1)
  layer = torch.nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1)
  with torch.no_grad():
    layer.weight.copy_(kernel)
    layer.bias.copy_(torch.tensor(weights["bias"]))
  return layer


def _network(role: str, case: Case, problem: Problem, last: bool, whole: str):
  residual = _config.models[role].settings["variant"] == "paper"
  rounds = case.precision == "bfloat16"
  network = DCCNN(problem.params[role], residual, rounds, problem.mask)
  network = network.to(_DEVICE, memory_format=_memory_format(last))
  return torch.compile(network, mode=whole) if whole else network


def _inference(case: Case, problem: Problem, last=False, whole=""):
  role = _config.stages[case.stage].model
  network = _network(role, case, problem, last, whole).eval()
  kspace = torch.tensor(problem.kspace, device=_DEVICE)
  zero_filled = _images(problem.zero_filled, last)

  def run():
    with torch.inference_mode():
      image = network(zero_filled, _measured(kspace, last))[0]
      if _DEVICE == "cuda":
        torch.cuda.synchronize()
      return image

  image = run().permute(0, 2, 3, 1).cpu().numpy()
  deviation = float(np.abs(image - problem.expected).max())
  return Runner(run, deviation, on_cpu=_DEVICE == "cpu")


def _training(case: Case, problem: Problem, last=False, whole=""):
  stage = _config.stages[case.stage]
  network = _network(stage.model, case, problem, last, whole)
  optimiser = torch.optim.Adam(network.parameters(), lr=stage.learning_rate)
  teach = None
  if stage.teacher:
    role = _config.stages[stage.teacher].model
    teach = _network(role, case, problem, last, whole)
  kspace = torch.tensor(problem.kspace, device=_DEVICE)
  target = _images(problem.target, last)
  zero_filled = _images(problem.zero_filled, last)

  def hints(measured):
    with torch.no_grad():
      image, layers = teach(zero_filled, measured)
      return image, _attention(layers, stage, "hint")

  cached = hints(_measured(kspace, last)) if case.cached else None

  def step():
    measured, taught = _measured(kspace, last), cached
    if teach is not None and cached is None:
      taught = hints(measured)
    image, layers = network(zero_filled, measured)
    loss = _loss(stage, image, layers, target, taught)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return loss.detach()

  def run():
    for _ in range(problem.times):
      loss = step()
    return float(loss)

  losses = np.array([float(step()), float(step())])
  deviation = float(np.abs(losses / problem.expected - 1).max())
  return Runner(run, deviation, problem.times, on_cpu=_DEVICE == "cpu")


def _loss(stage, image, layers, target, taught):
  total = 0.0
  for term in stage.terms.values():
    if term.loss == "l1":
      value = (image - target).abs().mean()
    elif term.loss == "imitation":
      value = (image - taught[0]).abs().mean()
    elif term.loss == "attention_transfer" and term.variant == "paper":
      maps = zip(_attention(layers, stage, "guided"), taught[1], strict=True)
      value = sum((s - t).norm(dim=(1, 2)).mean() for s, t in maps)
    else:
      found = f"torch, for a stage with the loss {term.loss} ({term.variant})"
      expected = "stages whose losses are l1, imitation or attention_transfer (paper)"
      remedy = "Name others with --stages, or omit torch."
      raise ArgumentError("frameworks", found, expected, remedy)
    total = total + term.weight * value
  return total


def _attention(layers, stage, side: str):
  """Normalised attention maps of the layers that the stage's term reads."""
  maps = []
  for term in stage.terms.values():
    if term.loss == "attention_transfer":
      for name in getattr(term, side):  # cascade_C/activation_K
        c, k = (int(part.rpartition("_")[2]) - 1 for part in name.split("/"))
        maps.append(layers[c][k].float().square().sum(1))
  return [x / x.norm(dim=(1, 2), keepdim=True) for x in maps]


def _memory_format(last: bool):
  return torch.channels_last if last else torch.contiguous_format


def _images(images: np.ndarray, last: bool):
  return _as(torch.tensor(images, device=_DEVICE).permute(0, 3, 1, 2), last)


def _measured(kspace, last: bool):
  """The real part of the measured image, [B, 1, H, W]."""
  return _as(torch.fft.ifft2(kspace, norm="ortho").real[:, None], last)


def _as(images, last: bool):
  return images.contiguous(memory_format=_memory_format(last))

"""A training step's program for a GPU, compiled ahead of time: how much it starts."""

import re

import jax
import jax.numpy as jnp
import pytest
from helpers import ahead

from kdmri_jax.ops import convolution, layer, pallas, trial

CHANNELS = [(a, b) for a in (1, 2, 32, 64) for b in (1, 2, 32, 64) if max(a, b) > 2]


@pytest.mark.slow
@pytest.mark.parametrize(
  ("stage", "precision", "way", "most"),
  [
    ("student", "tensorfloat32", "pallas", 110),
    ("student", "float32", "pallas", 110),
    ("student", "bfloat16", "pallas", 200),
    ("student", "tensorfloat32", "xla", 120),
    ("kd", "tensorfloat32", "pallas", 110),
    ("kd", "tensorfloat32", "xla", 125),
    ("teacher", "tensorfloat32", "pallas", 150),
    ("teacher", "tensorfloat32", "xla", 185),
  ],
)
def test_a_step_starts_few_kernels(stage, precision, way, most, monkeypatch):
  device = ahead.h100()
  monkeypatch.setenv(convolution.GPU, way)
  text = ahead.train_many(stage, precision, device)
  found = ahead.kernels(text)
  # Each convolution in each of 5 cascades: forward, and its gradients of kernel and
  # image, but for the first image.
  convolutions = 5 * (5 if stage == "teacher" else 3)
  assert found["custom-call"] == 3 * convolutions - 1
  assert found["fft"] <= 2  # r, and the matrix of the data consistency
  assert found.total() <= most, found
  if way == "xla":  # with each ReLU's mask a sum over rows, of 240 x 32 columns
    sums = re.findall(r"= \(f32\[7680\]\S* f32\[4,240,240,32\]\S* fusion", text)
    assert len(sums) == convolutions - 5


@pytest.mark.slow
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("precision", ["float32", "tensorfloat32", "bfloat16"])
def test_kernels_keep_their_values_in_registers(channels, precision):
  """Nothing is spilled, and no activation is copied."""
  inputs, outputs = channels
  device, images = ahead.h100(), (4, 240, 240)
  products = jax.lax.Precision.HIGH if precision == "tensorfloat32" else None
  products = products or jax.lax.Precision.HIGHEST

  def compute(x, kernel, bias, y, cotangent):
    found = layer.forward_by_pallas(x, kernel, bias, True, products)
    return found, layer.backward_by_pallas(cotangent, x, kernel, y, products)

  shapes = (*images, inputs), (3, 3, inputs, outputs), (outputs,)
  shapes += (*images, outputs), (*images, outputs)
  dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
  lowered = ahead.compile_for(device, compute, *shapes, dtype=dtype)
  program, found = ahead.assembled(lowered)
  assert len(found) == 3
  assert all(0 < registers <= 255 for registers, _ in found.values()), found
  assert not any(spilled for _, spilled in found.values()), found
  activation = dtype.dtype.itemsize * 4 * 240 * 240 * max(channels)
  sums = 4 * pallas._PROGRAMS * 10 * inputs * outputs  # of kernel and bias
  assert program.memory_analysis().temp_size_in_bytes < activation / 2 + sums


@pytest.mark.slow
@pytest.mark.parametrize("by_pallas", [{(32, 32)}, {(1, 32), (32, 1)}])
def test_a_trial_may_choose_pallas_for_some_of_the_layers(by_pallas, monkeypatch):
  def faster(_, kernel, *__, **___):
    return kernel.shape[2:] in by_pallas

  device = ahead.h100()
  monkeypatch.setattr(trial, "faster", faster)
  found = ahead.kernels(ahead.train_many("student", "tensorfloat32", device))
  assert found["custom-call"] == 15 + 15 + 14
  assert found["fft"] <= 2
  assert found.total() <= 130, found

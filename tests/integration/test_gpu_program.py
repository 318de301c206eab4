"""A training step's program for a GPU, compiled ahead of time: how much it starts."""

import pytest
from helpers import ahead

from kdmri_jax.ops import convolution, trial


@pytest.mark.slow
@pytest.mark.parametrize(
  ("stage", "way", "most"),
  [("student", "pallas", 110), ("student", "xla", 120), ("kd", "xla", 125)],
)
def test_a_step_starts_few_kernels(stage, way, most, monkeypatch):
  device = ahead.h100()
  monkeypatch.setenv(convolution.GPU, way)
  found = ahead.kernels(ahead.train_many(stage, "tensorfloat32", device))
  # 3 convolutions in each of 5 cascades: forward, and their gradients of kernel and
  # image, but for the first image.
  assert found["custom-call"] == 15 + 15 + 14
  assert found["fft"] <= 2  # r, and the matrix of the data consistency
  assert found.total() <= most


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

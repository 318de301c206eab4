"""Measurements that are simulated once for all steps."""

import jax
import numpy as np
import pytest
from helpers.small_step import make, small_problem, small_stage

from kdmri_jax.training import measurements
from kdmri_jax.types import Slices


def kept(parts, acquisition):
  return measurements.keep(parts, {(16, 12): acquisition})


def test_training_has_the_bits_of_measurements_in_every_step():
  slices, acquisition, models, params = small_problem()
  [measured] = kept([slices], acquisition)
  assert measured.kspace.shape == (8, 16, 12) and measured.kspace.dtype == np.complex64
  assert measured.zero_filled.shape == slices.target.shape
  found = []
  for given in (slices, measured):
    stage, device = small_stage("paper", "student"), jax.devices()[:1]
    steps, state, teacher = make(stage, models, params, slices, acquisition, device)
    state, values = steps.train(state, teacher, given, acquisition)
    found.append(jax.device_get((state.params, values)))
  jax.tree.map(np.testing.assert_array_equal, *found)


@pytest.mark.parametrize("at_once", [1, 3, 8, 9])
def test_parts_of_other_shapes(at_once, monkeypatch):
  monkeypatch.setattr(measurements, "_AT_ONCE", at_once * 16 * 12)
  slices, acquisition, *_ = small_problem()
  parts = kept([Slices(slices.target[:5]), Slices(slices.target[5:])], acquisition)
  [whole] = kept([slices], acquisition)
  for name in ("zero_filled", "kspace"):
    together = np.concatenate([getattr(part, name) for part in parts])
    np.testing.assert_array_equal(together, getattr(whole, name))


def test_what_stays_as_it_is(monkeypatch):
  slices, acquisition, *_ = small_problem()
  measured = slices._replace(kspace=np.zeros((8, 16, 12), np.complex64))
  several = slices._replace(task=np.zeros(8, np.int32))
  for part in (measured, several):
    assert kept([part], acquisition) == (part,)
  monkeypatch.setattr(measurements, "_MOST", 8 * 16 * 12 * (8 + 4) - 1)
  assert kept([slices], acquisition) == (slices,)
  monkeypatch.setattr(measurements, "_MOST", 8 * 16 * 12 * (8 + 4))
  assert kept([slices], acquisition)[0].kspace is not None

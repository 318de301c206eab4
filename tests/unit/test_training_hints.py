"""The frozen teacher is run as often as it must be, and no oftener."""

import jax
import numpy as np
import pytest
from helpers.small_step import make, small_problem, small_stage

from kdmri_jax.errors import UserError
from kdmri_jax.training import hints
from kdmri_jax.types import Slices

COUNT, BATCH = 7, 3
IMAGE = 4 * 5 * 4  # bytes of one hint


@pytest.fixture
def slices():
  values = np.random.default_rng(0).normal(size=(COUNT, 4, 5, 1))
  return Slices(target=values.astype(np.float32))


class CountingTeacher:
  """Teaches each image itself, with its largest value as the error."""

  def __init__(self):
    self.batches = 0

  def __call__(self, batch):
    self.batches += 1
    error = batch.target.max(axis=(1, 2, 3))
    return {"imitation": batch.target, hints.TEACHER_ERROR: error}


def collect(teacher, slices, budget, needs_errors=False, kind="float32"):
  return hints.collect(
    teacher, [slices], BATCH, budget, kind, needs_errors, lambda: None
  )


def true_range(slices):
  return np.ptp(slices.target.max(axis=(1, 2, 3)))


@pytest.mark.parametrize("needs_errors", [False, True])
def test_hints_that_fit_are_kept(slices, needs_errors):
  teacher = CountingTeacher()
  needed = COUNT * (IMAGE + 4)
  taught = collect(teacher, slices, needed, needs_errors)
  np.testing.assert_array_equal(taught.hints[0]["imitation"], slices.target)
  assert taught.error_range == pytest.approx(true_range(slices))
  assert taught.needed == needed
  assert teacher.batches == 3


def test_hints_that_do_not_fit_cost_one_batch(slices):
  teacher = CountingTeacher()
  taught = collect(teacher, slices, COUNT * IMAGE, needs_errors=False)
  assert taught.hints is None
  assert teacher.batches == 1


def test_the_range_of_the_errors_takes_all_slices(slices):
  teacher = CountingTeacher()
  taught = collect(teacher, slices, COUNT * IMAGE, needs_errors=True)
  assert taught.hints is None
  assert taught.error_range == pytest.approx(true_range(slices))
  assert teacher.batches == 3


def test_parts_are_taught_one_after_the_other(slices):
  other = Slices(3 * slices.target[:2, :3])
  teacher = CountingTeacher()
  taught = hints.collect(
    teacher, [slices, other], BATCH, 10**6, "float32", False, lambda: None
  )
  for part, found in zip([slices, other], taught.hints, strict=True):
    np.testing.assert_array_equal(found["imitation"], part.target)
  errors = [part.target.max(axis=(1, 2, 3)) for part in (slices, other)]
  assert taught.error_range == pytest.approx(np.ptp(np.concatenate(errors)))
  assert taught.needed == COUNT * (IMAGE + 4) + 2 * (3 * 5 * 4 + 4)
  assert teacher.batches == 4


def test_half_precision_takes_half_the_memory(slices):
  needed = COUNT * (IMAGE // 2 + 4)
  taught = collect(CountingTeacher(), slices, needed, kind="float16")
  (found,) = taught.hints
  assert found["imitation"].dtype == np.float16
  np.testing.assert_allclose(found["imitation"], slices.target, rtol=2**-11)
  np.testing.assert_array_equal(
    found[hints.TEACHER_ERROR], slices.target.max(axis=(1, 2, 3))
  )
  assert taught.needed == needed


def test_a_hint_too_large_for_half_precision_is_refused(slices):
  slices.target[5] = 1e5
  with pytest.raises(UserError, match="hint of 1e\\+05 for the term imitation"):
    collect(CountingTeacher(), slices, 10**6, kind="float16")


def test_hints_that_are_not_kept_are_rounded_likewise():
  rng = np.random.default_rng(0)
  near = 2.0**-14 * (1 + np.array([-1, -0.5, 0, 0.5, 1]) * 2.0**-11)  # least normal one
  drawn = rng.choice([-1, 1], 10**4) * 10.0 ** rng.uniform(-9, 4.8, 10**4)
  hint = np.concatenate([near, drawn, [0, 65504, 65519]]).astype(np.float32)
  given = {"imitation": hint, "indices": np.arange(3), hints.TEACHER_ERROR: hint}
  found = jax.jit(hints.rounded)(given)
  half = hint.astype(np.float16).astype(np.float32)
  np.testing.assert_array_equal(found["imitation"], half)
  np.testing.assert_array_equal(found["indices"], given["indices"])
  np.testing.assert_array_equal(found[hints.TEACHER_ERROR], hint)


@pytest.mark.usefixtures("quick_compilation")
def test_a_step_does_not_depend_on_whether_rounded_hints_are_kept():
  slices, acquisition, *networks = small_problem(batch=2)
  problem = small_stage("paper", "kd"), *networks, slices, acquisition
  devices = jax.devices()[:1]

  def errors(kept, rounds):
    steps, state, teacher = make(*problem, devices, rounds_hints=rounds)
    given = slices
    if kept:
      found = jax.device_get(steps.teach(teacher, slices, acquisition))
      half = np.float16(found["imitation"])
      given = slices._replace(hints={**found, "imitation": half})
    values = steps.validate(state, teacher, given, acquisition)[1]
    return float(values["imitation"])

  expected = errors(kept=True, rounds=True)
  assert errors(kept=False, rounds=True) == pytest.approx(expected, rel=1e-6)
  assert errors(kept=False, rounds=False) != pytest.approx(expected, rel=1e-6)

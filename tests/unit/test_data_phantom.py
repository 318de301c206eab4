"""The synthetic subjects."""

import dataclasses
import time

import numpy as np
import pytest
from helpers.data_files import config

from kdmri_jax.data.anatomy import shapes
from kdmri_jax.data.sources.phantom import FAMILIES, volumes
from kdmri_jax.errors import UserError


def blank(*shape):
  return shapes.blank(*shape, np.random.default_rng(0))


def phantoms(**changes):
  base = config().phantom
  return list(volumes(config(phantom=dataclasses.replace(base, **changes))))


@pytest.mark.parametrize("family", FAMILIES)
def test_values_are_in_range_and_slices_change_smoothly(family):
  for volume in phantoms(family=family, subjects=2, slices=16, size=(64, 64)):
    image = volume.target
    assert image.dtype == np.float32
    assert (image.min() >= 0, image.max()) == (True, 1.0)
    assert np.unique(image).size > 1000
    step = np.abs(np.diff(image, axis=0)).mean()
    apart = np.abs(image[0] - image[-1]).mean()
    assert 0 < 1.2 * step < apart


def test_families_take_turns():
  names = [volume.name for volume in phantoms(subjects=4)]
  assert names == ["brain_000", "cardiac_001", "knee_002", "brain_003"]


def test_a_subject_depends_on_the_seed_and_its_number_only():
  few, many = phantoms(family="brain", subjects=2), phantoms(family="brain", subjects=5)
  np.testing.assert_array_equal(few[1].target, many[1].target)
  other = phantoms(family="brain", subjects=2, seed=1)
  assert np.abs(few[1].target - other[1].target).mean() > 0.01
  assert np.abs(many[1].target - many[2].target).mean() > 0.01


def test_phase_changes_no_magnitude():
  plain, complex_ = phantoms(subjects=3), phantoms(subjects=3, phase=True)
  for a, b in zip(plain, complex_, strict=True):
    assert b.target.dtype == np.complex64
    np.testing.assert_allclose(np.abs(b.target), a.target, atol=1e-6)
    inside = a.target > 0.2
    assert np.angle(b.target[inside]).std() > 0.1


@pytest.mark.parametrize("size", [(24, 20), (64, 37)])
def test_small_and_oblong_pictures(size):
  for volume in phantoms(subjects=3, slices=1, size=size):
    assert volume.target.shape == (1, *size)
    assert volume.target.std() > 0.05


def test_64_slices_are_drawn_within_a_second_or_so():
  """Typically 0.5 s; a busy machine may take longer, a loop over pixels far longer."""
  start = time.process_time()
  phantoms(family="cardiac", subjects=1, slices=64, size=(128, 128))
  assert time.process_time() - start < 3


def test_an_ellipse_has_its_area():
  canvas = blank(2, 200, 160)
  mask = canvas.ellipse(0.1, -0.2, 0.5, 0.3, angle=0.4)
  assert mask[0].sum() * canvas.pixel**2 == pytest.approx(np.pi * 0.5 * 0.3, rel=0.01)


def test_a_vanishing_ellipse_leaves_no_trace():
  canvas = blank(1, 65, 65)
  assert canvas.ellipse(0, 0, 0.0, 0.2).max() == 0
  assert canvas.capsule((0, -1), (0, 1), 0.0).max() == 0


def test_a_field_is_standardised_and_smooth():
  field = blank(8, 64, 64).field(0.3)
  assert field.mean() == pytest.approx(0, abs=1e-4)
  assert field.std() == pytest.approx(1, abs=1e-4)
  assert np.diff(field, axis=1).std() < 0.5


@pytest.mark.parametrize(
  ("key", "value"),
  [
    ("family", "spine"),
    ("subjects", 0),
    ("slices", 0),
    ("size", (0, 32)),
    ("seed", -1),
  ],
)
def test_refuses(key, value):
  with pytest.raises(UserError, match=rf"^(phantom\.)?{key}: found"):
    phantoms(**{key: value})

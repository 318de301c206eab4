"""Methods of the reconstructed image, and of trust in the teacher, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.distilling import close, double, make_context, value

from kdmri_jax.distillation.methods import attentive
from kdmri_jax.physics import consistency, fourier
from kdmri_jax.types import Measurement

pytestmark = pytest.mark.usefixtures("quick_compilation")


def images(channels=1, size=(10, 7), batch=3):
  rng = np.random.default_rng(3)
  shape = (3, batch, *size, channels)
  target, student, teacher = rng.random(shape, np.float32)
  return jnp.asarray(target), jnp.asarray(student), jnp.asarray(teacher)


def dft(length):
  """Orthonormal Fourier matrix."""
  k = np.arange(length)
  return np.exp(-2j * np.pi * np.outer(k, k) / length) / np.sqrt(length)


@pytest.mark.parametrize("followed", [1, 2])
def test_imitation_of_one_image_or_of_each(followed):
  first, second, third = images()
  student, teacher = (first, second), (third, first + third)[:followed]
  pairs = [(first, third), (second, teacher[-1])]
  expected = np.mean([np.abs(double(s) - double(t)).mean() for s, t in pairs])
  close(value("imitation", "paper", student, teacher), expected)
  with pytest.raises(ValueError, match="zip"):
    value("imitation", "paper", (first,), teacher * 2)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("own_masks", [False, True])
def test_kspace_imitation_in_float64(channels, own_masks):
  target, student, teacher = images(channels)
  rng = np.random.default_rng(4)
  shape = target.shape[:3] if own_masks else target.shape[1:3]
  mask = (rng.random(shape) < 0.4).astype(np.float32)
  context = make_context(target, mask)
  expected = {"l1": 0.0, "l2": 0.0}
  for b in range(3):
    difference = double(student[b]) - double(teacher[b])
    difference = difference @ [1, 1j][:channels]
    kspace = dft(10) @ difference @ dft(7)
    unsampled = np.abs(kspace[(mask[b] if own_masks else mask) == 0])
    expected["l1"] += unsampled.mean() / 3
    expected["l2"] += np.square(unsampled).mean() / 3
  for variant, number in expected.items():
    measured = value("kspace_imitation", variant, (student,), (teacher,), context)
    close(measured, number)


@pytest.mark.parametrize("variant", ["l1", "l2"])
def test_kspace_imitation_ignores_what_was_measured(variant):
  target, student, _ = images()
  rows = jnp.zeros(10).at[jnp.array([0, 1, 9])].set(1)  # Symmetric under k -> -k.
  mask = jnp.broadcast_to(rows[:, None], (10, 7))
  change = fourier.ifft2(mask * fourier.fft2(target[..., 0])).real[..., None]
  context = make_context(target, mask)

  def imitation(teacher):
    return value("kspace_imitation", variant, (student,), (teacher,), context)

  assert jnp.abs(change).max() > 0.1
  assert imitation(student + change) == pytest.approx(0, abs=1e-6)
  assert imitation(student + target - change) > 1e-3


def test_kspace_imitation_sees_all_that_consistency_leaves_free():
  """Real images, a mask without symmetry: sampled k differ, but as their mirrors."""
  target, student, teacher = images()
  rows = jnp.zeros(10).at[jnp.array([0, 1, 2, 7])].set(1)
  mask = jnp.broadcast_to(rows[:, None], (10, 7))
  measurement = Measurement(mask * fourier.fft2(target[..., 0]), mask)
  make_consistent = consistency.make(measurement, channels=1)
  student, teacher = make_consistent(student), make_consistent(teacher)
  square = np.square(np.abs(np.fft.fft2(double(student - teacher)[..., 0])) / 70**0.5)
  sampled = square[:, [0, 1, 2, 7]].mean((0, 2))
  np.testing.assert_allclose(sampled[:1], 0, atol=1e-10)
  assert (sampled[1:] > 1e-3).all()
  flipped = np.roll(np.flip(mask), (1, 1), (0, 1))
  free = square * (1 - (np.asarray(mask) + flipped) / 2)
  expected = free.sum((1, 2)).mean() / np.sum(np.asarray(mask) == 0)
  context = make_context(target, mask)
  measured = value("kspace_imitation", "l2", (student,), (teacher,), context)
  close(measured, expected, rel=1e-4)


def test_kspace_imitation_of_a_full_mask_is_zero():
  target, student, teacher = images()
  context = make_context(target, np.ones((10, 7), bool))
  for variant in ("l1", "l2"):
    measured, gradient = jax.value_and_grad(
      lambda s, v=variant: value("kspace_imitation", v, (s,), (teacher,), context)
    )(student)
    assert measured == 0
    assert (gradient == 0).all()


def test_kspace_imitation_refuses_three_channels():
  target, student, teacher = images(3)
  with pytest.raises(ValueError, match="1 or 2 channels, not 3"):
    value("kspace_imitation", "l1", (student,), (teacher,), make_context(target))


@pytest.mark.parametrize("channels", [1, 2])
def test_teacher_bounded_in_float64(channels):
  target, student, teacher = images(channels)
  student = student.at[0].set(target[0] + 0.01)
  student = student.at[1].set(target[1] - 3)
  context = make_context(target)
  x, s, t = map(double, (target, student, teacher))
  expected = {"paper": 0.0, "image": 0.0, "pixel": 0.0}
  for b in range(3):
    if np.square(s[b] - x[b]).sum() > np.square(t[b] - x[b]).sum():
      expected["paper"] += np.square(s[b] - x[b]).mean() / 3
      expected["image"] += np.square(s[b] - t[b]).mean() / 3
    for h, w in np.ndindex(10, 7):
      pixels = x[b, h, w], s[b, h, w], t[b, h, w]
      if (
        np.square(pixels[1] - pixels[0]).sum() > np.square(pixels[2] - pixels[0]).sum()
      ):
        expected["pixel"] += np.square(pixels[1] - pixels[2]).sum() / s.size
  for variant, number in expected.items():
    close(value("teacher_bounded", variant, (student,), (teacher,), context), number)


@pytest.mark.parametrize("variant", ["paper", "image", "pixel"])
def test_a_student_better_than_its_teacher_is_left_alone(variant):
  target, _, teacher = images()
  context = make_context(target)
  better = target + 0.5 * (teacher - target)
  gradient = jax.grad(
    lambda s: value("teacher_bounded", variant, (s,), (teacher,), context)
  )(better)
  assert (gradient == 0).all()


@pytest.mark.parametrize("name", ["attentive_imitation", "attentive_hint"])
def test_attentive_in_float64(name):
  target, student, teacher = images()
  context = make_context(target, error=[0.1, 0.25, 0.45], error_range=0.4)
  phi = [0.75, 0.375, 0.0]
  squares = [
    np.square(double(s) - double(t)).mean()
    for s, t in zip(student, teacher, strict=True)
  ]
  expected = np.dot(phi, squares) / 3
  close(value(name, "paper", (student,), (teacher,), context), expected)
  layers = (student, 2 * student), (teacher, 2 * teacher)
  close(value(name, "paper", *layers, context), 5 * expected)


def test_trust_stays_within_0_and_1():
  error = jnp.array([0.0, 0.2, 0.5, 3.0])
  np.testing.assert_allclose(attentive.trust(error, 0.5), [1, 0.6, 0, 0], atol=1e-7)
  np.testing.assert_array_equal(attentive.trust(error, 0.0), np.ones(4))

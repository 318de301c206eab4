"""Every registered method keeps the contract; the numbers are the golden ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from kdmri_jax.distillation import METHODS
from kdmri_jax.distillation import attention_transfer as at

ALL = [(name, variant) for name, variants in METHODS.items() for variant in variants]


def layers(name, seed, batch=3):
  rng = np.random.default_rng(seed)
  if name == "imitation":
    return (jnp.asarray(rng.random((batch, 7, 6, 1), np.float32)),)
  return tuple(
    jax.nn.relu(jnp.asarray(rng.normal(size=(batch, 7, 6, 4)).astype(np.float32)))
    for _ in range(2)
  )


@pytest.mark.parametrize(("name", "variant"), ALL)
class TestContract:
  def test_is_a_scalar_and_the_same_under_jit(self, name, variant):
    method = METHODS[name][variant]
    student, teacher = layers(name, 0), layers(name, 1)
    value = method(student, teacher)
    assert value.shape == ()
    assert value > 0
    np.testing.assert_allclose(jax.jit(method.__call__)(student, teacher), value, 1e-6)

  def test_is_zero_with_finite_gradient_when_the_student_equals_the_teacher(
    self, name, variant
  ):
    same = layers(name, 0)
    method = METHODS[name][variant]
    value, gradient = jax.value_and_grad(lambda s: method(s, same))(same)
    assert value == pytest.approx(0, abs=1e-6)
    assert all(np.isfinite(g).all() for g in gradient)

  def test_gradient_matches_finite_differences(self, name, variant):
    method = METHODS[name][variant]
    with jax.enable_x64(True):
      student, teacher = jax.tree.map(
        lambda x: x.astype(jnp.float64), (layers(name, 0), layers(name, 1))
      )
      check_grads(lambda s: method(s, teacher), (student,), order=1, modes="rev")

  def test_silent_layers_have_a_finite_gradient(self, name, variant):
    silent = jax.tree.map(jnp.zeros_like, layers(name, 0))
    gradient = jax.grad(lambda s: METHODS[name][variant](s, layers(name, 1)))(silent)
    assert all(np.isfinite(g).all() for g in gradient)

  def test_a_single_image(self, name, variant):
    value = METHODS[name][variant](layers(name, 0, batch=1), layers(name, 1, batch=1))
    assert np.isfinite(value)

  def test_representation_is_image_by_image(self, name, variant):
    represent = METHODS[name][variant].represent
    features = layers(name, 0)
    whole = represent(features)
    part = represent(tuple(f[1:2] for f in features))
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(part), strict=True):
      np.testing.assert_allclose(a[1:2], b, 1e-6)

  def test_the_mean_over_images_unless_it_couples_them(self, name, variant):
    method = METHODS[name][variant]
    student, teacher = layers(name, 0), layers(name, 1)
    one_by_one = np.mean(
      [
        method(
          tuple(s[i : i + 1] for s in student), tuple(t[i : i + 1] for t in teacher)
        )
        for i in range(3)
      ]
    )
    whole = float(method(student, teacher))
    assert (whole == pytest.approx(one_by_one, rel=1e-5)) != method.couples_batch

  def test_a_shape_mismatch_is_refused(self, name, variant):
    teacher = tuple(t[:, :-1] for t in layers(name, 1))
    with pytest.raises(AssertionError):
      METHODS[name][variant](layers(name, 0), teacher)


def test_attention_transfer_of_the_paper_in_float64():
  student, teacher = layers("attention_transfer", 0), layers("attention_transfer", 1)
  expected = 0.0
  for s, t in zip(student, teacher, strict=True):
    for i in range(3):
      q_s = np.square(np.asarray(s[i], np.float64)).sum(-1).ravel()
      q_t = np.square(np.asarray(t[i], np.float64)).sum(-1).ravel()
      unit = q_s / np.linalg.norm(q_s) - q_t / np.linalg.norm(q_t)
      expected += np.linalg.norm(unit) / 3
  value = METHODS["attention_transfer"]["paper"](student, teacher)
  assert value == pytest.approx(expected, rel=1e-6)


def test_attention_transfer_of_the_paper_ignores_scale():
  student = layers("attention_transfer", 0)
  teacher = tuple(3.7 * s for s in student)
  method = METHODS["attention_transfer"]["paper"]
  assert method(student, teacher) == pytest.approx(0, abs=1e-6)


def test_the_reference_attention_of_one_image_is_zero():
  one = (
    layers("attention_transfer", 0, batch=1),
    layers("attention_transfer", 1, batch=1),
  )
  active = [np.asarray(at.attention_map(s)) > 0 for s in one[0] + one[1]]
  assert all(a.mean() > 0.8 for a in active)
  value = METHODS["attention_transfer"]["reference"](*one)
  both = [(s > 0) == (t > 0) for s, t in zip(active[:2], active[2:], strict=True)]
  assert value == pytest.approx(1 - np.mean([b.mean() for b in both]), abs=1e-6)


@pytest.mark.parametrize("name", ["recon_48x40_rows", "recon_36x50_cols"])
def test_golden_losses(golden, name):
  numbers = golden(name)
  maps = {
    role: tuple(jnp.asarray(numbers[f"attn_{role}_{c}"]) for c in range(1, 6))
    for role in ("student", "teacher")
  }
  student, teacher = (
    (jnp.asarray(numbers[f"out_{role}"])[..., None],) for role in ("student", "teacher")
  )
  attention, imitation = METHODS["attention_transfer"], METHODS["imitation"]
  measured = {
    "at_paper": attention["paper"].distance(maps["student"], maps["teacher"]),
    "at_reference": attention["reference"].distance(maps["student"], maps["teacher"]),
    "imitation_l1": imitation["paper"](student, teacher),
    "imitation_reference": imitation["reference"](student, teacher),
  }
  for key, value in measured.items():
    assert float(value) == pytest.approx(float(numbers[f"loss_{key}"]), abs=3e-7), key

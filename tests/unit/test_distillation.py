"""Every registered method keeps the contract; the numbers are the golden ones."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import distilling
from jax.test_util import check_grads

from kdmri_jax.distillation import METHODS
from kdmri_jax.distillation.adapter import AdaptedMethod, fit

pytestmark = pytest.mark.usefixtures("quick_compilation")

# Methods that compare images; the others compare feature maps.
IMAGE = {
  name
  for name, variants in METHODS.items()
  if any(method.reads_image for method in variants.values())
}

# Methods that are not 0 when the student equals the teacher, and why.
_OWN_WEIGHTS = "its trained weights do not start as the identity"
NOT_ZERO = {
  "fitnets": _OWN_WEIGHTS,
  "vid": "a log-likelihood, of either sign",
  "activation_boundary": "activations within the margin cost something",
  "factor_transfer": "paraphraser and translator have weights of their own",
  "masked_generative": "half of the student's pixels are hidden",
  "review": _OWN_WEIGHTS,
}

# Methods without a derivative where activations are 0, and why.
NOT_SMOOTH = {
  "correlation_congruence": "|s - t| has a corner where both are silent",
  "feature_affinity": "a pixel silent in all channels has no direction",
}

SIZE = (8, 6)


def layers(name, seed, batch=3, channels=4, size=SIZE):
  """Two layers, or an image."""
  if name in IMAGE:
    rng = np.random.default_rng(seed)
    return (jnp.asarray(rng.random((batch, *size, 1), np.float32)),)
  return distilling.layers(seed, channels, batch=batch, size=size)


def make_context(batch, size):
  rng = np.random.default_rng(5)
  target, image = jnp.asarray(rng.random((2, batch, *size, 1), np.float32))
  mask = jnp.zeros(size).at[::2].set(1)
  error = rng.random(batch, np.float32)
  return distilling.make_context(target, mask, error, 1.5)._replace(image=image)


class Bound:
  """A method with its weights, as a stage would use it."""

  def __init__(self, name, variant, student, teacher):
    method = METHODS[name][variant]
    self.adapted = AdaptedMethod(method, *fit(method, student, teacher))
    self.context = make_context(len(student[0]), student[0].shape[1:3])

    def init(student, teacher):
      hints = self.adapted.represent_teacher(teacher)
      return self.adapted.init(jax.random.key(0), student, hints, self.context)

    def value(student, teacher, context, params):
      hints = self.adapted.represent_teacher(teacher)
      return self.adapted.apply(params, student, hints, context)

    self.params = jax.jit(init)(student, teacher)
    self.eager, self.jitted = value, jax.jit(value)
    self._differentiate = jax.jit(jax.value_and_grad(value, (0, 3)))

  def __call__(self, student, teacher, context=None):
    context = self.context if context is None else context
    return self.jitted(student, teacher, context, self.params)

  def gradients(self, student, teacher):
    """The value, and its gradients in the student's layers and in the weights."""
    value, found = self._differentiate(student, teacher, self.context, self.params)
    return value, *found


@functools.cache
def bound(name, variant):
  """The method on the usual layers."""
  return Bound(name, variant, layers(name, 0), layers(name, 1))


@pytest.mark.parametrize(("name", "variant"), distilling.ALL)
class TestContract:
  @pytest.fixture(autouse=True)
  def _bind(self, name, variant):
    self.student, self.teacher = layers(name, 0), layers(name, 1)
    self.method = METHODS[name][variant]
    self.value = bound(name, variant)

  @pytest.mark.slow
  def test_is_a_scalar_and_the_same_under_jit(self, name, variant):
    value = self.value.eager(
      self.student, self.teacher, self.value.context, self.value.params
    )
    assert value.shape == ()
    assert np.isfinite(value)
    jitted = self.value(self.student, self.teacher)
    np.testing.assert_allclose(jitted, value, rtol=2e-6, atol=1e-7)

  def test_the_gradient_is_finite_when_the_student_equals_the_teacher(
    self, name, variant
  ):
    same = self.student
    value, gradient, _ = self.value.gradients(same, same)
    assert (name in NOT_ZERO) or value == pytest.approx(0, abs=1e-6)
    assert all(np.isfinite(g).all() for g in gradient)

  def test_the_student_is_moved(self, name, variant):
    _, gradient, _ = self.value.gradients(self.student, self.teacher)
    assert any(np.abs(g).max() > 0 for g in gradient)

  def test_own_weights_are_trained(self, name, variant):
    params = self.value.params
    if not self.method.owns_weights:
      assert not params
      return
    *_, gradient = self.value.gradients(self.student, self.teacher)
    leaves = jax.tree.leaves(gradient)
    assert all(np.isfinite(g).all() for g in leaves)
    assert any(np.abs(g).max() > 0 for g in leaves)

  @pytest.mark.slow
  def test_gradient_matches_finite_differences(self, name, variant):
    with jax.enable_x64(True):
      arrays = (self.student, self.teacher, self.value.context, self.value.params)
      student, teacher, context, params = jax.tree.map(
        lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x, arrays
      )
      # Biases of 0 put a silent pixel on the kink of a ReLU, long steps cross one.
      params = jax.tree.map(lambda x: x + 0.01, params)
      if name in NOT_SMOOTH:
        student = jax.tree.map(lambda s: s + 0.1, student)
      check_grads(
        lambda s: self.value.jitted(s, teacher, context, params),
        (student,),
        order=1,
        modes="rev",
        rtol=2e-3,
        eps=1e-6,
      )

  def test_silent_layers_have_a_finite_gradient(self, name, variant):
    silent = jax.tree.map(jnp.zeros_like, self.student)
    for teacher in (self.teacher, silent):
      _, gradient, _ = self.value.gradients(silent, teacher)
      assert all(np.isfinite(g).all() for g in gradient)

  def test_a_single_image_of_odd_size_and_other_channels(self, name, variant):
    one = {"batch": 1, "size": (9, 7)}
    student = layers(name, 0, **one)
    teacher = layers(name, 1, **one, channels=6)  # images have the same channels
    bound = Bound(name, variant, student, teacher)
    assert np.isfinite(bound(student, teacher))
    adapters = {k for k in bound.params.get("params", {}) if k.startswith("adapter")}
    needed = self.method.matches in ("shape", "channels") and name not in IMAGE
    assert adapters == ({"adapter_1", "adapter_2"} if needed else set())

  def test_representation_is_image_by_image(self, name, variant):
    whole = self.method.represent(self.student)
    part = self.method.represent(tuple(f[1:2] for f in self.student))
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(part), strict=True):
      np.testing.assert_allclose(a[1:2], b, rtol=1e-5, atol=1e-6)

  def test_the_mean_over_images_unless_it_couples_them(self, name, variant):
    context = self.value.context

    def one(i):
      part = slice(i, i + 1)
      alone = context._replace(
        target=context.target[part],
        image=context.image[part],
        teacher_error=context.teacher_error[part],
        draws=context.draws[part],
      )
      student = tuple(s[part] for s in self.student)
      return self.value(student, tuple(t[part] for t in self.teacher), alone)

    one_by_one = np.mean([one(i) for i in range(3)])
    whole = float(self.value.gradients(self.student, self.teacher)[0])
    is_mean = whole == pytest.approx(one_by_one, rel=1e-4, abs=1e-7)
    assert is_mean != self.method.couples_batch


def having(condition):
  """The names and variants of the methods for which it is true."""
  return [
    (name, variant)
    for name, variants in METHODS.items()
    for variant, method in variants.items()
    if condition(name, method)
  ]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "variant"), having(lambda name, _: name not in IMAGE))
def test_maps_of_another_size_are_pooled_to_the_smaller(name, variant):
  student, other = layers(name, 0), layers(name, 1, size=(16, 5))
  assert np.isfinite(Bound(name, variant, student, other)(student, other))


@pytest.mark.parametrize(
  ("name", "variant"), having(lambda _, method: method.matches == "shape")
)
def test_a_shape_mismatch_is_refused(name, variant):
  method, student, teacher = METHODS[name][variant], layers(name, 0), layers(name, 1)
  hints = method.represent(tuple(t[:, :-1] for t in teacher))
  context = make_context(len(student[0]), SIZE)
  with pytest.raises((AssertionError, ValueError, TypeError)):
    AdaptedMethod(method).init(jax.random.key(0), student, hints, context)


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

  def measure(maps, student, teacher):
    attention, imitation = METHODS["attention_transfer"], METHODS["imitation"]
    maps = maps["student"], maps["teacher"]
    return {
      "at_paper": attention["paper"].distance(*maps),
      "at_reference": attention["reference"].distance(*maps),
      "imitation_l1": imitation["paper"].distance(student, teacher),
      "imitation_reference": imitation["reference"].distance(student, teacher),
    }

  for key, value in jax.jit(measure)(maps, student, teacher).items():
    assert float(value) == pytest.approx(float(numbers[f"loss_{key}"]), abs=3e-7), key

"""Data consistency: every form against NumPy in double precision, and its laws."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdmri_jax.errors import UserError
from kdmri_jax.physics import consistency
from kdmri_jax.physics.masks import recipes
from kdmri_jax.types import Measurement

pytestmark = pytest.mark.usefixtures("quick_compilation")

FORMS = {
  (0, 1): ["fft", "rfft", "line0", "matrix0"],
  (1, 1): ["fft", "rfft", "line1", "matrix1"],
  (None, 1): ["fft", "rfft"],
  (0, 2): ["fft", "line0", "matrix0"],
  (1, 2): ["fft", "line1", "matrix1"],
  (None, 2): ["fft"],
}
CASES = [
  (axis, channels, form) for (axis, channels), fs in FORMS.items() for form in fs
]
each_form = pytest.mark.parametrize(("axis", "channels", "form"), CASES)


def make_mask(shape, axis, seed=0):
  if axis is None:
    return recipes.gaussian2d(shape, 2.5, 2, seed)
  return recipes.cartesian(shape, 2, 2, axis, seed)


def make_image(shape, channels, seed):
  rng = np.random.default_rng(seed)
  return rng.standard_normal((3, *shape, channels)).astype(np.float32)


def as_complex(image):
  image = np.asarray(image, np.float64)
  return image[..., 0] + (1j * image[..., 1] if image.shape[-1] == 2 else 0)


def as_channels(image, channels):
  return np.stack([image.real, image.imag][:channels], -1)


def oracle(image, kspace, mask, lam):
  """Eq. 2, sample by sample, in double precision."""
  guess = np.fft.fft2(as_complex(image), norm="ortho")
  mixed = kspace if math.isinf(lam) else (guess + lam * kspace) / (1 + lam)
  mixed = np.where(np.broadcast_to(mask, guess.shape) != 0, mixed, guess)
  return as_channels(np.fft.ifft2(mixed, norm="ortho"), image.shape[-1])


def measure(truth, mask):
  kspace = mask * np.fft.fft2(as_complex(truth), norm="ortho")
  return Measurement(kspace.astype(np.complex64), mask)


def apply(measurement, *images, **settings):
  """The operator on each image, compiled once, with a mask that jit does not trace."""

  @jax.jit
  def run(kspace, images):
    operator = consistency.make(Measurement(kspace, measurement.mask), **settings)
    return [operator(image) for image in images]

  values = run(measurement.kspace, images)
  return values if len(values) > 1 else values[0]


@pytest.mark.parametrize(("shape", "lam"), [((8, 9), math.inf), ((9, 8), 0.7)])
@each_form
def test_value_and_gradient_equal_the_oracle(axis, channels, form, shape, lam):
  mask = make_mask(shape, axis)
  kspace = measure(make_image(shape, channels, 1), mask).kspace
  image, cotangent = make_image(shape, channels, 2), make_image(shape, channels, 3)

  @jax.jit
  def value_and_transpose(kspace, image, cotangent):
    measurement = Measurement(kspace, mask)
    operator = consistency.make(measurement, channels=channels, lam=lam, form=form)
    value, transpose = jax.vjp(operator, image)
    return value, *transpose(cotangent)

  value, transpose = value_and_transpose(kspace, image, cotangent)
  assert value.dtype == np.float32
  np.testing.assert_allclose(value, oracle(image, kspace, mask, lam), atol=3e-6)
  # The linear part, I - w P, is symmetric: it is its own transpose.
  expected = oracle(cotangent, np.zeros(kspace.shape), mask, lam)
  np.testing.assert_allclose(transpose, expected, atol=3e-6)


@each_form
def test_a_mask_for_each_sample_traced_by_jit(axis, channels, form):
  mask = np.stack([make_mask((9, 10), axis, seed) for seed in range(3)])
  measurement = measure(make_image((9, 10), channels, 1), mask)
  image = make_image((9, 10), channels, 2)

  @jax.jit
  def run(measurement, image):
    return consistency.make(measurement, channels=channels, form=form)(image)

  expected = oracle(image, measurement.kspace, mask, math.inf)
  np.testing.assert_allclose(run(measurement, image), expected, atol=3e-6)


@each_form
def test_projection_is_symmetric_and_keeps_the_true_image(axis, channels, form):
  truth, a, b = (make_image((10, 9), channels, seed) for seed in range(3))
  measurement = measure(truth, make_mask((10, 9), axis))
  images = (truth, np.zeros_like(truth), a, b)
  of_truth, zero, of_a, of_b = apply(measurement, *images, channels=channels, form=form)
  np.testing.assert_allclose(of_truth, truth, atol=3e-6)
  left, right = np.vdot(of_a - zero, b), np.vdot(a, of_b - zero)
  np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("axis", "channels", "form"), [c for c in CASES if c[1] == 2])
def test_hard_consistency_of_complex_images(axis, channels, form):
  mask = make_mask((9, 8), axis)
  measurement = measure(make_image((9, 8), channels, 1), mask)
  settings = {"channels": channels, "form": form}
  once = apply(measurement, make_image((9, 8), channels, 2), **settings)
  np.testing.assert_allclose(apply(measurement, once, **settings), once, atol=3e-6)
  kspace = mask * np.fft.fft2(as_complex(once), norm="ortho")
  np.testing.assert_allclose(kspace, measurement.kspace, atol=3e-6)


@pytest.mark.parametrize("form", FORMS[0, 1])
def test_weight_zero_changes_nothing(form):
  measurement = measure(make_image((8, 9), 1, 1), make_mask((8, 9), 0))
  image = make_image((8, 9), 1, 2)
  unchanged = apply(measurement, image, channels=1, lam=0.0, form=form)
  np.testing.assert_allclose(unchanged, image, atol=2e-6)


@pytest.mark.parametrize("form", FORMS[0, 1])
@pytest.mark.parametrize("dtype", [bool, np.float64])
def test_mask_type_and_kspace_outside_the_mask_do_not_matter(form, dtype):
  mask = make_mask((8, 9), 0)
  clean = measure(make_image((8, 9), 1, 1), mask)
  dirty = Measurement(clean.kspace + (1 - mask) * (3 + 2j), mask.astype(dtype))
  image = make_image((8, 9), 1, 2)
  expected = oracle(image, clean.kspace, mask, math.inf)
  value = apply(dirty, image, channels=1, form=form)
  np.testing.assert_allclose(value, expected, atol=3e-6)


@pytest.mark.parametrize(
  ("axis", "channels", "form"),
  [
    (0, 1, "line0"),
    (1, 1, "line1"),
    (0, 2, "line0"),
    (1, 2, "line1"),
    (None, 1, "rfft"),
    (None, 2, "fft"),
  ],
)
def test_auto_takes_the_fastest_form_for_a_concrete_mask(axis, channels, form):
  mask = make_mask((8, 9), axis)
  assert consistency.choose_form(mask, channels) == form
  each = np.stack([mask, make_mask((8, 9), axis, 1), mask])
  assert consistency.choose_form(each, channels) == form
  measurement = measure(make_image((8, 9), channels, 1), mask)
  image = make_image((8, 9), channels, 2)
  auto = consistency.make(measurement, channels=channels)
  named = consistency.make(measurement, channels=channels, form=form)
  assert str(jax.make_jaxpr(auto)(image)) == str(jax.make_jaxpr(named)(image))


@pytest.mark.parametrize(("channels", "form"), [(1, "rfft"), (2, "fft")])
def test_auto_takes_a_general_form_for_a_traced_mask(channels, form):
  measurement = measure(make_image((8, 9), channels, 1), make_mask((8, 9), 0))
  image = make_image((8, 9), channels, 2)

  def program(form):
    def apply(measurement):
      return consistency.make(measurement, channels=channels, form=form)(image)

    return str(jax.make_jaxpr(apply)(measurement))

  assert program("auto") == program(form) != program("line0")


def test_masks_of_different_axes_have_no_line_form():
  mask = np.stack([make_mask((8, 8), 0), make_mask((8, 8), 1)])
  assert consistency.choose_form(mask, 1) == "rfft"


def test_a_mask_on_the_device_and_no_jit():
  mask = jnp.asarray(make_mask((8, 9), 0))
  measurement = measure(make_image((8, 9), 1, 1), np.asarray(mask))._replace(mask=mask)
  image = make_image((8, 9), 1, 2)
  expected = oracle(image, measurement.kspace, mask, math.inf)
  value = consistency.make(measurement, channels=1)(image)
  np.testing.assert_allclose(value, expected, atol=3e-6)


@pytest.mark.parametrize(
  ("form", "axis", "channels", "found"),
  [
    ("matrix0", None, 1, "varies along its readout axis"),
    ("line1", 0, 1, "varies along its readout axis"),
    ("line0", 1, 2, "varies along its readout axis"),
    ("rfft", 0, 2, "2 channels"),
    ("matrix", 0, 1, "one of fft, rfft"),
  ],
)
def test_a_form_that_does_not_fit_is_refused(form, axis, channels, found):
  mask = make_mask((8, 9), axis)
  measurement = measure(make_image((8, 9), channels, 1), mask)
  with pytest.raises(UserError, match=found) as caught:
    consistency.make(measurement, channels=channels, form=form)
  assert caught.value.where == "form"


@pytest.mark.parametrize("lam", [-1.0, math.nan])
def test_a_bad_weight_is_refused(lam):
  measurement = measure(make_image((8, 9), 1, 1), make_mask((8, 9), 0))
  with pytest.raises(UserError, match="lam: found"):
    consistency.make(measurement, channels=1, lam=lam)


def test_shapes_that_do_not_fit_are_refused():
  measurement = measure(make_image((8, 9), 1, 1), make_mask((8, 9), 0))
  with pytest.raises(AssertionError):
    consistency.make(measurement._replace(mask=np.ones((9, 8))), channels=1)
  with pytest.raises(AssertionError):
    consistency.make(measurement, channels=1)(make_image((9, 8), 1, 2))
  with pytest.raises(AssertionError):
    consistency.make(measurement, channels=1)(make_image((8, 9), 2, 2))


def test_a_missing_measurement_is_told():
  with pytest.raises(UserError, match="measurement: found None; expected the k-space"):
    consistency.make(None, channels=1)

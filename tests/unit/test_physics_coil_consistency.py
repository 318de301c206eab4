"""Data consistency of several coils: against matrices in double precision, its laws."""

import functools
import math

import jax
import numpy as np
import pytest
from helpers.marks import slow
from helpers.small_step import assert_close

import kdmri_jax as kd
from kdmri_jax.errors import ArgumentError
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.physics import consistency
from kdmri_jax.types import CoilMeasurement

SHAPE = (10, 9)
MASKS = {
  "0": kd.masks.cartesian(SHAPE, 2, 2, 0),
  "1": kd.masks.cartesian(SHAPE, 2, 2, 1),
  "": kd.masks.gaussian2d(SHAPE, 2.5, 2),
}

pytestmark = pytest.mark.usefixtures("quick_compilation")


def draw(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def whole(image):
  image = np.asarray(image, np.float64)
  return image[..., 0] + 1j * image[..., 1]


def parts(image):
  return np.stack([image.real, image.imag], -1)


def measure(mask, coils=4, batch=2):
  """Noisy k-space, which no image has exactly."""
  maps = np.stack([kd.coils.simulate(SHAPE, coils, k) for k in range(batch)])
  kspace = kd.undersample(draw(batch, *SHAPE, 2), mask, maps)[1].kspace
  noise = 0.1 * whole(draw(batch, coils, *SHAPE, 2, seed=1))
  return CoilMeasurement((kspace + mask * noise).astype(np.complex64), mask, maps)


def matrices(measurement):
  """A of each image as a matrix [C H W, H W], and its k-space as a vector."""
  kspace, mask, maps = measurement
  pixels = np.eye(mask.size).reshape(-1, 1, *SHAPE)
  for y, s in zip(kspace, maps, strict=True):
    coils = mask * np.fft.fft2(s.astype(complex) * pixels, norm="ortho")
    yield coils.reshape(mask.size, -1).T, y.ravel()


def oracle(form, image, measurement, lam):
  """By dense algebra, image by image."""
  results = []
  for x, (a, y) in zip(whole(image), matrices(measurement), strict=True):
    normal, x = a.conj().T @ a, x.ravel()
    if form.startswith("gradient"):
      x = x - (1 if math.isinf(lam) else lam / (1 + lam)) * (
        normal @ x - a.conj().T @ y
      )
    else:
      x = np.linalg.solve(np.eye(len(x)) + lam * normal, x + lam * a.conj().T @ y)
    results.append(x.reshape(SHAPE))
  return parts(np.stack(results))


def apply(measurement, *images, **settings):
  @jax.jit
  def run(kspace, images):
    operator = consistency.make(measurement._replace(kspace=kspace), **settings)
    return [operator(image) for image in images]

  values = run(measurement.kspace, images)
  return values if len(values) > 1 else values[0]


@pytest.mark.parametrize("form", consistency.COIL_FORMS)
def test_value_and_gradient_equal_the_oracle(form):
  measurement = measure(MASKS[form.lstrip("gradientpoxml")])
  image, cotangent = draw(2, *SHAPE, 2, seed=2), draw(2, *SHAPE, 2, seed=3)

  @jax.jit
  def value_and_transpose(image, cotangent):
    operator = consistency.make(measurement, channels=2, lam=1.5, form=form)
    value, transpose = jax.vjp(operator, image)
    return value, *transpose(cotangent)

  value, transpose = value_and_transpose(image, cotangent)
  expected = oracle(form, image, measurement, 1.5)
  np.testing.assert_allclose(value, expected, atol=1e-4)
  # The linear part, I - w P or (I + lam P)^-1, is Hermitian: its own transpose.
  silent = measurement._replace(kspace=0 * measurement.kspace)
  expected = oracle(form, cotangent, silent, 1.5)
  np.testing.assert_allclose(transpose, expected, atol=1e-3)


@pytest.mark.parametrize("lam", [math.inf, slow(0.7)])
@pytest.mark.parametrize("axis", ["0", slow("1"), slow("")])
def test_one_coil_of_sensitivity_1_is_the_data_consistency_of_one_coil(axis, lam):
  """Bit for bit in a network, whether or not JAX knows the sensitivity; else nearly."""
  mask, image = MASKS[axis], draw(3, *SHAPE, 2)
  measured = kd.undersample(draw(3, *SHAPE, 2, seed=1), mask)[1]
  ones = np.ones((3, 1, *SHAPE), np.complex64)
  coil = CoilMeasurement(measured.kspace[:, None], mask, ones)
  for form in ("auto", f"gradient{axis}"):
    model = DCCNN(2, 2, 4, channels=2, lam=lam, consistency=form)
    params = model.init(jax.random.key(0), image, measured)

    def reconstruct(params, measurement, model=model):
      return model.apply(params, image, measurement).image

    def gradient(params, measurement, reconstruct=reconstruct):
      return jax.grad(lambda p: (reconstruct(p, measurement) ** 2).sum())(params)

    for run in (reconstruct, gradient):
      known, alone = (
        jax.jit(functools.partial(run, measurement=each))(params)
        for each in (coil, measured)
      )
      traced, alone_too = (jax.jit(run)(params, each) for each in (coil, measured))
      if run is reconstruct:
        np.testing.assert_array_equal(known, alone)
        np.testing.assert_array_equal(traced, alone_too)
      # XLA may sum gradients in another order.
      assert_close((known, traced), (alone, alone_too), 1e-5)
  expected = apply(measured, image, channels=2, lam=lam)
  nearly = coil._replace(sensitivities=ones * np.exp(1e-6j).astype(np.complex64))
  for form in (f"gradient{axis}", f"proximal{axis}"):
    found = apply(nearly, image, channels=2, lam=lam, form=form)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_hard_proximal_form_makes_the_image_consistent_and_keeps_the_true_one():
  truth, maps = draw(2, *SHAPE, 2), kd.coils.simulate(SHAPE, 4, 1)
  measurement = kd.undersample(truth, MASKS["0"], maps)[1]
  other = draw(2, *SHAPE, 2, seed=1)
  settings = {"channels": 2, "form": "proximal0"}
  of_truth, once = apply(measurement, truth, other, **settings)
  np.testing.assert_allclose(of_truth, truth, atol=1e-5)

  def residual(image):
    return np.linalg.norm(
      kd.coils.forward(whole(image), maps, MASKS["0"]) - measurement.kspace
    )

  assert residual(once) < 0.05 * residual(other)
  assert np.linalg.norm(once - truth) < np.linalg.norm(other - truth)


@pytest.mark.parametrize("form", ["gradient", "proximal"])
def test_weight_zero_changes_nothing(form):
  image = draw(2, *SHAPE, 2)
  unchanged = apply(measure(MASKS[""]), image, channels=2, lam=0.0, form=form)
  np.testing.assert_allclose(unchanged, image, atol=1e-6)


PAIRS = [("auto", "proximal0"), ("line0", "proximal0"), ("fft", "proximal")]


@pytest.mark.parametrize(("form", "coil_form"), PAIRS)
def test_a_form_for_one_coil_stands_for_the_proximal_one(form, coil_form):
  measurement, image = measure(MASKS["0"]), draw(2, *SHAPE, 2)
  found = apply(measurement, image, channels=2, form=form)
  expected = apply(measurement, image, channels=2, form=coil_form)
  np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("way", ["gradient", "proximal"])
@pytest.mark.parametrize("channels", [1, 2])
def test_both_forms_stand_for_eq_2_where_one_coil_measures(way, channels):
  measured = kd.undersample(draw(2, *SHAPE, channels), MASKS["0"])[1]
  image = draw(2, *SHAPE, channels, seed=1)
  pairs = {f"{way}0": "line0", way: "rfft" if channels == 1 else "fft"}
  for coil_form, form in pairs.items():
    found = apply(measured, image, channels=channels, form=coil_form)
    expected = apply(measured, image, channels=channels, form=form)
    np.testing.assert_array_equal(found, expected)


def test_undersampling_with_coils():
  image, maps = draw(3, *SHAPE, 2), kd.coils.simulate(SHAPE, 4)
  zero_filled, measurement = kd.undersample(image, MASKS["0"], maps)
  kspace = kd.coils.forward(whole(image), maps, MASKS["0"])
  np.testing.assert_allclose(measurement.kspace, kspace, atol=1e-5)
  expected = kd.coils.adjoint(kspace, maps, MASKS["0"])
  np.testing.assert_allclose(zero_filled, parts(expected), atol=1e-5)
  alone, single = kd.undersample(whole(image)[1], MASKS["0"], maps)
  np.testing.assert_allclose(alone, expected[1], atol=1e-5)
  assert single.kspace.shape == (4, *SHAPE)
  magnitude, _ = kd.undersample(image[..., 0], MASKS["0"], maps)
  assert magnitude.dtype == np.float32
  for wrong in (maps[0], maps[:, 1:], np.stack([maps] * 2)):
    with pytest.raises(
      ArgumentError, match=r"^sensitivities: found complex64 of shape"
    ):
      kd.undersample(image, MASKS["0"], wrong)


def test_dccnn_of_several_coils():
  """As many weights as for one coil; for S = 1 the same image; finite gradients."""
  model = kd.models.DCCNN(cascades=2, convolutions=1, features=3, channels=2)
  image, mask = draw(2, *SHAPE, 2), MASKS["1"]
  zero_filled, measured = kd.undersample(image, mask)
  again, one = kd.undersample(image, mask, np.ones((2, 1, *SHAPE), np.complex64))
  np.testing.assert_array_equal(again, zero_filled)
  aliased, coils = kd.undersample(image, mask, kd.coils.simulate(SHAPE, 4))

  @jax.jit
  def run():
    params = model.init(jax.random.key(0), zero_filled, measured)
    images = [model.apply(params, zero_filled, m).image for m in (measured, one)]

    def loss(params):
      return (model.apply(params, aliased, coils).image ** 2).sum()

    return images, jax.grad(loss)(params)

  (expected, found), gradient = run()
  np.testing.assert_allclose(found, expected, atol=1e-5)
  for leaf in jax.tree.leaves(gradient):
    assert np.isfinite(leaf).all() and (leaf != 0).any()


WRONG = [
  (1, "auto", "channels: found 1; expected 2, the real and the imaginary part"),
  (2, "lines", "form: found 'lines'; expected \"auto\" or one of fft, rfft"),
  (2, "gradient1", "form: found 'gradient1' for a mask that varies along its readout"),
]


@pytest.mark.parametrize(("channels", "form", "message"), WRONG)
def test_wrong_arguments_are_named(channels, form, message):
  with pytest.raises(ArgumentError, match=f"^{message}"):
    consistency.make(measure(MASKS["0"]), channels=channels, form=form)

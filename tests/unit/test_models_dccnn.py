"""The DC-CNN: size, names, initialisation, golden outputs, both variants."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdmri_jax import interop
from kdmri_jax.models import features
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.physics.undersample import undersample
from kdmri_jax.types import Measurement

pytestmark = pytest.mark.usefixtures("quick_compilation")


def random_batch(channels=1, shape=(2, 12, 10), seed=0):
  rng = np.random.default_rng(seed)
  target = rng.random((*shape, channels), np.float32)
  mask = (rng.random((shape[1], 1)) < 0.5) * np.ones(shape[1:], np.uint8)
  mask[0] = 1
  return undersample(jnp.asarray(target), mask)


def init(model, channels=1):
  return jax.jit(model.init)(jax.random.key(0), *random_batch(channels))["params"]


@pytest.mark.parametrize(
  ("convolutions", "channels", "expected"),
  [(5, 1, 141_765), (3, 1, 49_285), (5, 2, 144_650), (3, 2, 52_170)],
)
def test_published_parameter_counts(convolutions, channels, expected):
  model = DCCNN(convolutions=convolutions, channels=channels)
  params = jax.eval_shape(functools.partial(init, model, channels))
  assert features.count_parameters(params) == expected


def test_initialisation_is_pytorchs_default():
  params = init(DCCNN(cascades=2, features=64))["cascade_2"]["conv_3"]
  bound = 1 / math.sqrt(9 * 64)
  for name in ("kernel", "bias"):
    values = np.asarray(params[name])
    assert np.abs(values).max() <= bound
    assert np.abs(values).max() > 0.9 * bound
    assert abs(values.mean()) < 0.2 * bound
  assert params["kernel"].std() == pytest.approx(bound / math.sqrt(3), rel=0.02)


@pytest.mark.parametrize("name", ["recon_48x40_rows", "recon_36x50_cols"])
@pytest.mark.parametrize(("role", "middle"), [("teacher", 3), ("student", 2)])
def test_golden_outputs_and_attention(golden, name, role, middle):
  numbers = golden(name)
  weights = {k.split("/")[1]: v for k, v in numbers.items() if k.startswith(f"{role}/")}
  model, variables = interop.from_kdmri_state_dict(weights)
  outputs, sown = features.apply(
    model,
    variables["params"],
    numbers["zero_filled"][..., None],
    Measurement(numbers["kspace"], numbers["mask"]),
  )
  np.testing.assert_allclose(
    outputs.image[..., 0], numbers[f"out_{role}"], atol=2e-6, rtol=0
  )
  for c in range(1, 6):
    attention = np.square(sown[f"cascade_{c}/activation_{middle}"]).sum(-1)
    golden_map = numbers[f"attn_{role}_{c}"]
    np.testing.assert_allclose(attention, golden_map, atol=1e-5 * golden_map.max())


def test_every_activation_is_sown():
  model = DCCNN(cascades=2, convolutions=3, features=4)
  _, sown = features.apply(model, init(model), *random_batch())
  names = {f"cascade_{c}/activation_{k}" for c in (1, 2) for k in (1, 2, 3)}
  assert set(sown) == names | {"consistency_1", "consistency_2", "image"}
  assert sown["cascade_1/activation_1"].min() == 0  # after ReLU
  assert sown["cascade_1/activation_3"].min() < 0  # the last has none
  np.testing.assert_array_equal(sown["image"], sown["consistency_2"])


def test_the_paper_variant_adds_the_input():
  zero_filled, measurement = random_batch()
  paper = DCCNN(cascades=1, convolutions=2, features=3, variant="paper", lam=0.0)
  reference = paper.clone(variant="reference")
  params = {"params": init(paper)}
  difference = (
    paper.apply(params, zero_filled, measurement).image
    - reference.apply(params, zero_filled, measurement).image
  )
  np.testing.assert_allclose(difference, zero_filled, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2])
def test_the_network_ends_consistent_with_the_measurement(channels):
  zero_filled, measurement = random_batch(channels)
  model = DCCNN(cascades=2, convolutions=2, features=3, channels=channels)
  image = model.apply({"params": init(model, channels)}, zero_filled, measurement).image
  image = np.asarray(image, np.float64)
  mask = np.asarray(measurement.mask)
  if channels == 2:
    kspace = np.fft.fft2(image[..., 0] + 1j * image[..., 1], norm="ortho")
    np.testing.assert_allclose(kspace * mask, measurement.kspace, atol=2e-6)
  else:  # the real part is taken afterwards: only the even part is fixed
    both = mask * np.roll(mask[::-1, ::-1], (1, 1), (0, 1))
    kspace = np.fft.fft2(image[..., 0], norm="ortho")
    np.testing.assert_allclose(kspace * both, measurement.kspace * both, atol=2e-6)


def test_a_wrong_number_of_channels_is_refused():
  zero_filled, measurement = random_batch(2)
  with pytest.raises(ValueError, match=r"expected \[B, H, W, 1\]"):
    DCCNN().init(jax.random.key(0), zero_filled, measurement)


@pytest.mark.parametrize(("lam", "sampled"), [(math.inf, 1), (math.inf, 0), (1.0, 1)])
def test_a_bias_without_effect_has_no_gradient(lam, sampled):
  zero_filled, measurement = random_batch()
  mask = np.array(measurement.mask)
  mask[0] = sampled
  measurement = Measurement(measurement.kspace * mask, mask)
  model = DCCNN(cascades=1, convolutions=2, features=3, lam=lam)

  @jax.jit
  def loss(params):
    image = model.apply({"params": params}, zero_filled, measurement).image
    return jnp.square(image - 1).sum()

  params = init(model)
  gradient = jax.grad(loss)(params)["cascade_1"]["conv_2"]["bias"]
  moved = jax.tree.map(jnp.copy, params)
  moved["cascade_1"]["conv_2"]["bias"] += 1e-2
  idle = sampled == 1 and math.isinf(lam)
  assert (gradient == 0) == idle
  assert (abs(loss(moved) - loss(params)) < 1e-3) == idle


def test_an_unknown_variant_is_refused():
  with pytest.raises(ValueError, match="variant: found 'papers'"):
    init(DCCNN(variant="papers"))


@pytest.mark.slow
def test_half_precision_stays_close_and_leaves_what_is_outside_alone():
  rng = np.random.default_rng(0)
  target = rng.random((2, 20, 18, 1), np.float32)
  mask = np.zeros((20, 18), np.uint8)
  mask[::2] = 1
  zero_filled, measurement = undersample(jnp.asarray(target), mask)
  whole = DCCNN(2, 3, 8)
  half = DCCNN(2, 3, 8, precision="bfloat16")
  params = whole.init(jax.random.key(0), zero_filled, measurement)["params"]

  def loss(params, model):
    outputs, layers = features.apply(model, params, zero_filled, measurement)
    return jnp.square(outputs.image - target).mean(), (outputs.image, layers)

  gradient = jax.jit(jax.value_and_grad(loss, has_aux=True), static_argnums=1)
  (_, (image, layers)), exact = gradient(params, whole)
  (_, (rounded, rough)), found = gradient(params, half)
  assert 0 < np.abs(rounded - image).max() < 0.02 * np.abs(image).max()
  assert {layer.dtype for layer in rough.values()} == {np.dtype(np.float32)}
  assert rough.keys() == layers.keys()
  kspace = np.fft.fft2(rounded[..., 0], norm="ortho")
  np.testing.assert_allclose(
    kspace[:, mask == 1].real, measurement.kspace[:, mask == 1].real, atol=1e-4
  )
  a, b = (
    np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])
    for tree in (exact, found)
  )
  assert b.dtype == np.float32
  assert a @ b > 0.99 * np.linalg.norm(a) * np.linalg.norm(b)


def test_an_unknown_precision_is_refused():
  image = jnp.zeros((1, 8, 8, 1))
  measurement = Measurement(jnp.zeros((1, 8, 8), jnp.complex64), np.ones((8, 8)))
  with pytest.raises(
    ValueError, match="precision: found 'half'; expected one of 'float32', "
  ):
    DCCNN(1, 2, 4, precision="half").init(jax.random.key(0), image, measurement)

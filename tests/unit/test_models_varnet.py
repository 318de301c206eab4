"""E2E-VarNet: size, names, outputs of an independent implementation, its properties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import published_networks

import kdmri_jax as kd
from kdmri_jax import interop, models
from kdmri_jax.config import ModelConfig
from kdmri_jax.errors import UserError
from kdmri_jax.models import contract, features
from kdmri_jax.models.varnet import VarNet, _centre, _on_standardised, _root, _squares
from kdmri_jax.types import CoilMeasurement, Measurement, Outputs

quick = pytest.mark.usefixtures("quick_compilation")

SMALL = dict(cascades=1, features=2, levels=1, coil_features=2, coil_levels=1)


def read(name):
  """The small network of a name, its variables, its input and the measurement."""
  settings, state, kspace, mask, maps = published_networks.varnet(name)
  channels = settings.get("channels", 1)
  model, variables = interop.from_varnet_state_dict(state, channels=channels)
  assert model == VarNet(**settings)
  measurement = Measurement(kspace, mask)
  if maps is not None:
    measurement = CoilMeasurement(kspace, mask, maps)
  image = jnp.zeros((len(kspace), *mask.shape, channels))
  return model, variables, image, measurement


def drawn(model, measurement):
  """Variables, and an image of the shape that the network takes."""
  rng, size = np.random.default_rng(0), np.shape(measurement.mask)[-2:]
  shapes = contract.parameter_shapes(model, size)
  params = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), shapes)
  image = jnp.zeros((len(measurement.kspace), *size, model.channels))
  return {"params": params}, image


def test_published_parameter_counts():
  """30 million in the paper; all cascades have equally many."""
  params = contract.parameter_shapes(VarNet(cascades=1), (320, 320))
  coils, cascade = (
    features.count_parameters(params[key]) for key in ("sensitivities", "cascade_1")
  )
  shapes = published_networks.varnet_shapes().values()
  assert sum(int(np.prod(shape)) for shape in shapes) == 29_936_966
  assert (coils, cascade) == (484_898, 2_454_339)
  assert coils + VarNet().cascades * cascade == 29_936_966
  given = VarNet(**SMALL, sensitivities="given")
  assert set(contract.parameter_shapes(given, (32, 32))) == {"cascade_1"}


@pytest.mark.parametrize("name", list(published_networks.VARNET))
def test_golden_outputs_and_features(golden, name):
  model, variables, image, measurement = read(name)
  run = jax.jit(lambda p: features.apply(model, p, image, measurement)[1])
  sown = run(variables["params"])
  for key in ("image", "consistency_1", "cascade_1/unet/up_1/activation_2"):
    expected = golden("varnet")[f"{name}/{key}"]
    atol = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(sown[key], expected, rtol=0, atol=atol, err_msg=key)
  assert len(sown) == 1 + model.cascades * (1 + 4 * model.levels + 2)
  assert all(len(each) == len(image) for each in sown.values())


@quick
def test_the_unit_of_the_kspace_and_what_was_not_measured():
  """The result has the unit of the k-space, and k-space outside the mask no effect."""
  mask, maps = kd.masks.cartesian((18, 20), 3, 4), kd.coils.simulate((18, 20), 3)
  rng = np.random.default_rng(0)
  kspace = (rng.normal(size=(2, 3, 18, 20, 2)) @ [1, 1j]).astype(np.complex64)
  measured = CoilMeasurement(kspace * mask, np.stack([mask, mask]), maps)
  model = VarNet(**SMALL, channels=2)
  variables, image = drawn(model, measured)
  run = jax.jit(lambda y: model.apply(variables, image, y).image)
  expected = run(measured)
  assert expected.shape == (2, 18, 20, 2)
  atol = 1e-5 * np.abs(expected).max()
  for factor in (1, 1e-4, 0):
    found = run(measured._replace(kspace=np.complex64(factor) * kspace))
    np.testing.assert_allclose(found, factor * expected, rtol=0, atol=factor * atol)


@quick
def test_one_coil_is_a_coil_of_sensitivity_1():
  mask = kd.masks.cartesian((18, 20), 3, 4)
  rng = np.random.default_rng(0)
  _, one = kd.undersample(rng.random((2, 18, 20, 2)), mask)
  ones = np.ones((1, 18, 20), np.complex64)
  same = CoilMeasurement(one.kspace[:, None], mask, ones)
  model = VarNet(**SMALL, channels=2, sensitivities="given")
  variables, image = drawn(model, one)

  @jax.jit
  def run(variables):
    magnitude = model.clone(channels=1).apply(variables, image[..., :1], one)
    return magnitude, *(model.apply(variables, image, y) for y in (one, same))

  magnitude, found, expected = (outputs.image for outputs in run(variables))
  np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
  norm = np.linalg.norm(found, axis=-1, keepdims=True)
  np.testing.assert_allclose(magnitude, norm, rtol=0, atol=1e-5)


@quick
def test_gradients_of_images_without_signal_are_finite():
  def total(parts):
    image = parts[..., 0] + 1j * parts[..., 1]
    found = _on_standardised(lambda x: Outputs(2 * x), image)
    return jnp.abs(found).sum() + _root(_squares(found)).sum()

  parts = jnp.zeros((2, 3, 4, 2)).at[1, 0, 0, 0].set(1)
  value, gradient = jax.jit(jax.value_and_grad(total))(parts)
  assert value > 1 and np.isfinite(gradient).all()


@quick
def test_centre_that_estimates_the_sensitivities():
  """As many frequencies below 0 as from 0 on, along the phase-encode axis."""
  line = np.zeros(12, bool)
  line[[0, 1, 2, 5, -1, -2, -3, -4]] = True
  expected = np.zeros(12, bool)
  expected[[0, 1, 2, -1, -2, -3]] = True
  rows = np.ones((8, 1), bool)
  np.testing.assert_array_equal(_centre(jnp.asarray(line & rows)), expected & rows)
  found = jax.jit(_centre)((line & rows).T[None])
  np.testing.assert_array_equal(found[0], (expected & rows).T)
  assert _centre(jnp.ones((3, 4), bool)).all()
  square = line & np.roll(np.arange(8) < 4, -2)[:, None]
  found = _centre(jnp.asarray(square))
  np.testing.assert_array_equal(np.fft.fftshift(found).nonzero()[0].max(), 5)
  np.testing.assert_array_equal(found.sum(), 16)
  one = np.zeros((5, 6), bool)
  one[0, 0] = one[2, 3] = True
  assert _centre(jnp.asarray(one)).sum() == 1


def test_a_missing_measurement_is_told():
  image = np.zeros((1, 16, 16, 1), np.float32)
  with pytest.raises(UserError, match="measurement: found None; expected the k-space"):
    VarNet(**SMALL).init(jax.random.key(0), image, None)


def test_settings_and_name():
  config = ModelConfig("varnet", dict(SMALL, channels=2, sensitivities="given"))
  assert models.build(config, None) == VarNet(1, 2, 1, 2, 1, 2, "given")
  for setting, message in (
    (dict(levels=0), "levels: found 0; expected whole numbers"),
    (dict(channels=3), "channels: found 3; expected one of 1, 2"),
    (dict(sensitivities="espirit"), "sensitivities: found 'espirit'; expected one of"),
  ):
    with pytest.raises(UserError, match=message):
      models.build(ModelConfig("varnet", setting), None)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda state: state.pop("cascades.0.dc_weight"), "missing cascades.0.dc_weight"),
    (lambda state: state.update(x=np.ones(2)), "unknown x"),
    (
      lambda state: state.update({"cascades.0.dc_weight": np.ones(2)}),
      r"cascades.0.dc_weight of shape \(2,\) instead of \(1,\)",
    ),
    (
      lambda state: state.pop("sens_net.norm_unet.unet.conv.layers.0.weight"),
      "missing sens_net.norm_unet.unet.conv.layers.0.weight",
    ),
    (lambda state: state.clear(), "no cascades.0.model.unet.down_sample_layers.0"),
  ],
)
def test_state_dicts_of_other_networks_are_refused(change, message):
  _, state, *_ = published_networks.varnet("published")
  change(state)
  with pytest.raises(UserError, match=message) as caught:
    interop.from_varnet_state_dict(state)
  assert "Use a checkpoint of fastMRI's E2E-VarNet" in str(caught.value)


def test_names_of_lightning_s_checkpoints_and_what_is_no_weight():
  settings, state, *_ = published_networks.varnet("published")
  wrapped = {f"varnet.{key}": value for key, value in state.items()}
  wrapped |= {"varnet.cascades.0.zero": np.zeros((1,) * 5), "loss.w": np.ones((7, 7))}
  model, variables = interop.from_varnet_state_dict({"state_dict": wrapped})
  assert model == VarNet(**settings)
  _, expected = interop.from_varnet_state_dict(state)
  jax.tree.map(np.testing.assert_array_equal, variables, expected)

"""All features of the published networks against PyTorch, where it is installed."""

import jax
import numpy as np
import pytest
from helpers import published_networks

from kdmri_jax import interop
from kdmri_jax.models import features
from kdmri_jax.models.swinir import SwinIR
from kdmri_jax.types import CoilMeasurement, Measurement

torch = pytest.importorskip("torch")
from helpers import torch_networks  # noqa: E402, after the line that may skip

CASES = [("swinir", name) for name in published_networks.SWINIR]
CASES += [("edsr", name) for name in published_networks.EDSR]
CASES += [("unet", name) for name in published_networks.UNET]


def converted(network, settings, state):
  if network == "swinir":
    return interop.from_swinir_state_dict(state)
  if network == "unet":
    return interop.from_unet_state_dict(state)
  res_scale = settings.get("res_scale", 1.0)
  return interop.from_edsr_state_dict(state, res_scale=res_scale)


def assert_agree(sown, expected, kept):
  """All features are PyTorch's, whose image is the one that is kept."""
  assert set(sown) == set(expected)
  for key, values in expected.items():
    atol = 1e-5 * max(1, np.abs(values).max())
    np.testing.assert_allclose(sown[key], values, rtol=0, atol=atol, err_msg=key)
  atol = 1e-6 * max(1, np.abs(kept).max())
  np.testing.assert_allclose(kept, expected["image"], rtol=0, atol=atol)


@pytest.mark.parametrize(("network", "name"), CASES)
def test_every_feature(golden, network, name):
  settings, state, image = getattr(published_networks, network)(name)
  expected = getattr(torch_networks, network)(settings, state, image)
  model, variables = converted(network, settings, state)
  run = jax.jit(lambda params: features.apply(model, params, image, None)[1])
  sown = run(variables["params"])
  file, key = (
    ("unet", name) if network == "unet" else ("enhancement", f"{network}/{name}")
  )
  assert_agree(sown, expected, golden(file)[f"{key}/image"])


def test_the_published_network_for_grey_images():
  model = SwinIR()
  image = np.random.default_rng(0).random((1, 30, 20, 1), np.float32)
  settings = dict(depths=model.depths, features=180, heads=6, window=8)
  state = published_networks.draw(published_networks.swinir_shapes(**settings))
  expected = torch_networks.swinir(settings, state, image)["image"]
  found, variables = interop.from_swinir_state_dict(state)
  assert found == model
  values = jax.jit(model.apply)(variables, image).image
  np.testing.assert_allclose(values, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("wrapper", [None, "params", "params_ema"])
def test_files_that_pytorch_writes(tmp_path, wrapper):
  settings, state, _ = published_networks.swinir("real")
  tensors = torch_networks.published_state(settings, state)
  torch.save({wrapper: tensors} if wrapper else tensors, tmp_path / "a.pth")
  model, variables = interop.load_swinir_checkpoint(tmp_path / "a.pth")
  same, same_variables = interop.from_swinir_state_dict(state)
  assert model == same
  jax.tree.map(np.testing.assert_array_equal, variables, same_variables)


def features_of_varnet(settings, state, kspace, mask, maps):
  """Those of this package, computed in the precision of the arrays."""
  channels, kind = settings.get("channels", 1), kspace.real.dtype
  model, variables = interop.from_varnet_state_dict(state, channels=channels)
  params = jax.tree.map(lambda array: np.asarray(array, kind), variables["params"])
  measured = Measurement(kspace, mask)
  if maps is not None:
    measured = CoilMeasurement(kspace, mask, maps)
  image = np.zeros((len(kspace), *mask.shape, channels), kind)
  run = jax.jit(lambda params: features.apply(model, params, image, measured)[1])
  with jax.enable_x64(kind == np.float64):
    return jax.tree.map(np.asarray, run(params))


@pytest.mark.parametrize("name", list(published_networks.VARNET))
def test_every_feature_of_varnet(golden, name):
  arguments = published_networks.varnet(name)
  expected = torch_networks.varnet(*arguments)
  sown = features_of_varnet(*arguments)
  assert_agree(sown, expected, golden("varnet")[f"{name}/image"])


# Rounding grows with every cascade: in single precision 1e-6 after the first and 2e-4
# after the twelfth. In double precision it vanishes, and a wrong layer would not.
IN_DOUBLE = [*published_networks.VARNET, pytest.param("whole", marks=pytest.mark.slow)]


@pytest.mark.parametrize("name", IN_DOUBLE)
def test_every_feature_of_varnet_in_double_precision(monkeypatch, name):
  sizes = dict(cascades=12, levels=4), (1, 3, 64, 48)
  monkeypatch.setitem(published_networks.VARNET, "whole", sizes)
  settings, state, *arrays = published_networks.varnet(name)
  state = {key: array.astype(np.float64) for key, array in state.items()}
  kspace, mask, maps = arrays
  kspace = kspace.astype(np.complex128)
  maps = None if maps is None else maps.astype(np.complex128)
  expected = torch_networks.varnet(settings, state, kspace, mask, maps)
  sown = features_of_varnet(settings, state, kspace, mask, maps)
  assert set(sown) == set(expected)
  for key, values in expected.items():
    assert sown[key].dtype == values.dtype == np.float64
    atol = 1e-9 * np.abs(values).max()
    np.testing.assert_allclose(sown[key], values, rtol=0, atol=atol, err_msg=key)

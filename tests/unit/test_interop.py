"""Published checkpoints and state dicts: the network that they describe."""

import argparse
import collections
import pathlib

import chex
import jax
import numpy as np
import pytest
from helpers import torch_files
from helpers.torch_files import both_formats, whole

from kdmri_jax import interop
from kdmri_jax.errors import UserError
from kdmri_jax.interop import torch_file
from kdmri_jax.types import Measurement

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
NAMES = ["recon_48x40_rows", "recon_36x50_cols"]


@pytest.fixture
def torch_names(monkeypatch):
  torch_files.name_torch(monkeypatch)


def state_dict(numbers, network):
  prefix = f"{network}/"
  return {k.removeprefix(prefix): v for k, v in numbers.items() if k.startswith(prefix)}


def reconstruct(model, variables, numbers):
  measurement = Measurement(numbers["kspace"], numbers["mask"])
  outputs = jax.jit(model.apply)(
    variables, numbers["zero_filled"][..., None], measurement
  )
  return outputs.image[..., 0]


@pytest.mark.parametrize("network", ["teacher", "student"])
@pytest.mark.parametrize("name", NAMES)
def test_checkpoints_and_state_dicts_reconstruct_as_the_original(golden, name, network):
  numbers, path = golden(name), GOLDEN / f"{name}_{network}.pt"
  state = state_dict(numbers, network)
  model, variables = interop.load_kdmri_checkpoint(path)
  image = reconstruct(model, variables, numbers)
  np.testing.assert_allclose(image, numbers[f"out_{network}"], atol=2e-6)
  same_model, same_variables = interop.from_kdmri_state_dict(state)
  assert model == same_model
  chex.assert_trees_all_equal(variables, same_variables)
  convolutions = 5 if network == "teacher" else 3
  assert (model.cascades, model.convolutions) == (5, convolutions)
  assert (model.features, model.channels, model.variant) == (32, 1, "reference")
  chex.assert_trees_all_equal(dict(torch_file.read(path)["model"]), state)


def test_other_sizes_two_channels_and_the_prefix_of_dataparallel():
  rng = np.random.default_rng(0)
  shapes = {1: (7, 2, 3, 3), 2: (7, 7, 3, 3), 3: (7, 7, 3, 3), 4: (2, 7, 3, 3)}
  state = {}
  for c in (1, 2):
    for k, shape in shapes.items():
      state[f"module.cascade{c}.conv{k}.weight"] = rng.standard_normal(shape)
      state[f"module.cascade{c}.conv{k}.bias"] = rng.standard_normal(shape[0])
  model, variables = interop.from_kdmri_state_dict(state)
  assert (model.cascades, model.convolutions) == (2, 4)
  assert (model.features, model.channels) == (7, 2)
  image = np.zeros((1, 8, 8, 2), np.float32)
  measurement = Measurement(np.zeros((1, 8, 8), np.complex64), np.ones((8, 8)))
  expected = jax.eval_shape(model.init, jax.random.key(0), image, measurement)
  expected = {"params": expected["params"]}
  chex.assert_trees_all_equal_shapes_and_dtypes(variables, expected)
  kernel = variables["params"]["cascade_2"]["conv_4"]["kernel"]
  weight = state["module.cascade2.conv4.weight"]
  assert kernel[0, 2, 5, 1] == np.float32(weight[1, 5, 0, 2])


@pytest.mark.parametrize(
  ("change", "found"),
  [
    ({"cascade3.conv2.bias": None}, "missing cascade3.conv2.bias"),
    ({"cascade1.conv1.weight": None}, "no cascade1.conv1.weight"),
    ({"head.weight": np.ones(3)}, "unknown head.weight"),
    ({"cascade99999999.conv1.bias": np.ones(1)}, "unknown cascade99999999"),
    ({"cascade2.conv3.bias": np.ones(2)}, "cascade2.conv3.bias of shape (2,)"),
    ({"cascade1.conv1.weight": np.ones((32, 3, 3, 3))}, "neither 1 nor 2 channels"),
    ({"cascade2.conv3.bias": np.array([np.nan])}, "NaN"),
    ({"cascade2.conv3.bias": np.array(["x"])}, "type <U1"),
  ],
)
def test_state_dicts_that_do_not_fit_are_refused(golden, change, found):
  state = state_dict(golden(NAMES[0]), "student") | change
  state = {k: v for k, v in state.items() if v is not None}
  with pytest.raises(UserError) as caught:
    interop.from_kdmri_state_dict(state)
  assert found in str(caught.value)


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.net.", ""])
@pytest.mark.parametrize("key", ["state_dict", "model_state", "model", ""])
def test_wrapped_state_dicts_are_unwrapped(golden, tmp_path, torch_names, prefix, key):
  state = state_dict(golden(NAMES[0]), "student")
  expected = interop.from_kdmri_state_dict(state)
  wrapped = {prefix + name: array for name, array in state.items()}
  if key == "model":
    wrapped = {"state_dict": wrapped, "name": "student"}
  if key:
    moments = {"0": {"exp_avg": np.ones(2, np.float32)}}
    wrapped = {key: wrapped, "epoch": 3, "best": np.ones(1, np.float32)}
    wrapped["optimizer"] = {"state": moments, "settings": {"lr": 1e-3}}
  chex.assert_trees_all_equal(interop.from_kdmri_state_dict(wrapped), expected)
  torch_file.write(tmp_path / "a.pt", wrapped)
  chex.assert_trees_all_equal(
    interop.load_kdmri_checkpoint(tmp_path / "a.pt"), expected
  )


def test_of_several_state_dicts_none_is_chosen(golden):
  state = state_dict(golden(NAMES[0]), "student")
  with pytest.raises(UserError, match=r"found several state dicts, ema, net"):
    interop.from_kdmri_state_dict({"net": state, "ema": state})


def test_what_is_no_state_dict_is_refused():
  for state in ({}, [1, 2], {"epoch": 3}):
    with pytest.raises(UserError, match="state dict: found"):
      interop.from_kdmri_state_dict(state)


@both_formats
def test_the_original_s_whole_dict(golden, tmp_path, torch_names, write):
  """With arguments, paths, a NumPy number and a state dict that has metadata."""
  numbers = golden(NAMES[0])
  state = collections.OrderedDict()
  for key, array in state_dict(numbers, "student").items():
    state[key] = whole(array)
  state._metadata = {"cascade1": {"version": 1}}
  folder = pathlib.PurePosixPath("runs/kd")
  checkpoint = {
    "epoch": 149,
    "args": argparse.Namespace(batch_size=4, exp_dir=folder),
    "model": state,
    "optimizer": {"state": {0: {"step": 3, "exp_avg": whole(np.ones(2))}}},
    "best_dev_loss": np.float64(0.25),
    "exp_dir": folder,
  }
  write(tmp_path / "best_model.pt", checkpoint)
  read = torch_file.read(tmp_path / "best_model.pt")
  assert read["epoch"] == 149
  assert type(read["args"]) is not argparse.Namespace
  assert read["args"].state["batch_size"] == 4
  assert pathlib.PurePosixPath(*read["exp_dir"].arguments) == folder
  model, variables = interop.load_kdmri_checkpoint(tmp_path / "best_model.pt")
  image = reconstruct(model, variables, numbers)
  np.testing.assert_allclose(image, numbers["out_student"], atol=2e-6)

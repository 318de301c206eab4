"""State dicts of the published SwinIR and EDSR: files, sizes, and what is refused."""

import pathlib

import chex
import numpy as np
import pytest
from helpers import published_networks

from kdmri_jax import interop
from kdmri_jax.errors import UserError
from kdmri_jax.models.edsr import EDSR
from kdmri_jax.models.swinir import SwinIR

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
BLOCK = "layers.0.residual_group.blocks.1"
TABLE = "layers.0.residual_group.blocks.0.attn.relative_position_bias_table"


def refusal(convert, state):
  with pytest.raises(UserError) as caught:
    convert(state)
  assert str(caught.value).startswith("state dict: found")
  return str(caught.value)


def test_a_checkpoint_of_swinir():
  """With the entry "params", attention masks and relative positions."""
  settings, state, _ = published_networks.swinir("denoise")
  model, variables = interop.load_swinir_checkpoint(GOLDEN / "swinir_denoise.pth")
  assert model == SwinIR(**settings)
  chex.assert_trees_all_equal(variables, interop.from_swinir_state_dict(state)[1])


def test_a_checkpoint_of_edsr():
  settings, state, _ = published_networks.edsr("double")
  path = GOLDEN / "edsr_double.pt"
  model, variables = interop.load_edsr_checkpoint(path, res_scale=0.1)
  assert model == EDSR(**settings)
  chex.assert_trees_all_equal(variables, interop.from_edsr_state_dict(state)[1])


def test_the_residues_of_the_large_edsr_are_scaled():
  large = published_networks.edsr_shapes(blocks=1, features=256)
  state = {name: np.zeros(shape) for name, shape in large.items()}
  assert interop.from_edsr_state_dict(state)[0].res_scale == 0.1
  assert interop.from_edsr_state_dict(state, res_scale=0.5)[0].res_scale == 0.5


def test_a_grey_edsr_has_no_use_for_the_mean_of_colours():
  settings, state, _ = published_networks.edsr("student")
  means = {k: v for k, v in published_networks.edsr("double")[1].items() if "mean" in k}
  model, variables = interop.from_edsr_state_dict(state | means)
  assert model == EDSR(**settings)
  chex.assert_trees_all_equal(variables, interop.from_edsr_state_dict(state)[1])


def test_the_prefix_of_dataparallel():
  for name, convert in (
    ("swinir", interop.from_swinir_state_dict),
    ("edsr", interop.from_edsr_state_dict),
  ):
    first = "denoise" if name == "swinir" else "student"
    _, state, _ = getattr(published_networks, name)(first)
    prefixed = {f"module.{key}": value for key, value in state.items()}
    chex.assert_trees_all_equal(convert(prefixed)[1], convert(state)[1])


@pytest.mark.parametrize(
  ("change", "found"),
  [
    ({f"{BLOCK}.attn.qkv.bias": None}, f"missing {BLOCK}.attn.qkv.bias"),
    ({"conv_first.weight": None}, "no conv_first.weight [O, I, 3, 3]"),
    ({TABLE: None}, f"no {TABLE}"),
    ({TABLE: np.ones((50, 2))}, f"{TABLE} of shape (50, 2) instead of (49, 2)"),
    ({TABLE: np.ones((49, 5))}, "features 12, not a multiple of 5"),
    ({"absolute_pos_embed": np.ones(3)}, "unknown absolute_pos_embed"),
    ({"layers.3.conv.bias": np.ones(12)}, "unknown layers.3.conv.bias"),
    ({"layers.1.conv.bias": np.ones(2)}, "layers.1.conv.bias of shape (2,)"),
    ({f"{BLOCK}.norm1.bias": np.full(12, np.nan)}, f"{BLOCK}.norm1.bias of type"),
    ({f"{BLOCK}.norm1.bias": np.array(["x"] * 12)}, "type <U1"),
    ({"conv_after_body.weight": None}, "missing conv_after_body.0.bias"),
    ({"upsample.0.weight": np.ones((25, 12, 3, 3))}, "scale 5, not one of 2, 3, 4"),
  ],
)
def test_a_swinir_that_does_not_fit_is_refused(change, found):
  _, state, _ = published_networks.swinir("denoise")
  state = {k: v for k, v in (state | change).items() if v is not None}
  assert found in refusal(interop.from_swinir_state_dict, state)


@pytest.mark.parametrize(
  ("change", "found"),
  [
    ({"body.1.body.2.bias": None}, "missing body.1.body.2.bias"),
    ({"head.0.weight": np.ones(3)}, "no head.0.weight [O, I, 3, 3]"),
    ({"body.7.weight": np.ones(3)}, "unknown body.7.weight"),
    ({"body.0.body.0.bias": np.ones(3)}, "body.0.body.0.bias of shape (3,)"),
    ({"tail.1.bias": np.full(3, np.inf)}, "tail.1.bias of type float64 or with NaN"),
    ({"tail.0.0.weight": np.ones((125, 5, 3, 3))}, "scale 5, not one of 1, 2, 3, 4"),
    ({"sub_mean.bias": None}, "no mean of 3 channels"),
    ({"sub_mean.bias": np.ones(3, np.float32)}, "no mean of 3 channels"),
    ({"add_mean.weight": np.array(["x"])}, "no mean of 3 channels"),
  ],
)
def test_an_edsr_that_does_not_fit_is_refused(change, found):
  _, state, _ = published_networks.edsr("double")
  state = {k: v for k, v in (state | change).items() if v is not None}
  assert found in refusal(interop.from_edsr_state_dict, state)


def test_what_is_no_state_dict_is_refused():
  for convert in (interop.from_swinir_state_dict, interop.from_edsr_state_dict):
    for state in ({}, [1, 2], {"epoch": 3}):
      assert "Use a checkpoint of the published" in refusal(convert, state)


def test_a_checkpoint_of_another_network_is_refused():
  with pytest.raises(UserError, match=r"edsr_double\.pt: found no conv_first"):
    interop.load_swinir_checkpoint(GOLDEN / "edsr_double.pt")
  with pytest.raises(UserError, match=r"swinir_denoise\.pth: found no head\.0"):
    interop.load_edsr_checkpoint(GOLDEN / "swinir_denoise.pth")

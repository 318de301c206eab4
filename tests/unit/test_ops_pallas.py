"""Convolutions for GPUs, computed operation by operation on a CPU, against float64."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import convolutions
from helpers.convolutions import (
  assert_close,
  by_definition,
  draw,
  draw_layer,
  gradients_by_definition,
  layer,
  layer_by_definition,
)
from helpers.marks import slow

from kdmri_jax.errors import UserError
from kdmri_jax.ops import convolution, pallas
from kdmri_jax.ops import layer as layer_ways

pytestmark = pytest.mark.usefixtures("quick_compilation")

CHANNELS = [
  (32, 32),
  (1, 32),
  (32, 1),
  slow(2, 32),
  slow(32, 2),
  slow(2, 64),
  slow(64, 2),
  slow(1, 64),
  slow(64, 1),
  slow(64, 64),
  slow(32, 64),
  slow(64, 32),
]
SHAPES = [(9, 7), slow((1, 1)), slow((4, 4)), slow((3, 101)), slow((77, 9))]


@pytest.fixture(autouse=True)
def interpreted(monkeypatch):
  """`convolve` computes with these kernels; few programs share the blocks."""
  code = convolutions.interpreted()
  monkeypatch.setattr(layer_ways, "pallas", lambda: code)
  monkeypatch.setattr(convolution, "_choose", lambda _, __, by, ___, *given: by(*given))
  monkeypatch.setattr(pallas, "_PROGRAMS", 3)


@pytest.mark.parametrize("relu", [True, slow(False)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("inputs", "outputs"), CHANNELS)
def test_layers(inputs, outputs, shape, relu):
  given = draw_layer(0, shape, inputs, outputs)
  exact = tuple(map(np.float64, given))
  found = jax.jit(functools.partial(layer, relu))(*given)
  plain = (
    by_definition(*exact[:2]) + exact[3],
    *gradients_by_definition(*exact[:3]),
    exact[2].sum((0, 1, 2)),
  )
  assert_close(found, layer_by_definition(*exact) if relu else plain, 1e-5)


@pytest.mark.parametrize(
  ("inputs", "outputs"),
  [slow(32, 32), (1, 32), slow(32, 1), slow(2, 32), slow(64, 2), slow(64, 64)],
)
def test_layers_in_bfloat16(inputs, outputs):
  """Against float64 of the same rounded values: the sums are in float32."""
  given = tuple(map(jnp.bfloat16, draw_layer(0, (9, 7), inputs, outputs)))
  exact = [np.asarray(part, np.float64) for part in given]
  found = jax.jit(functools.partial(layer, False))(*given)
  assert all(part.dtype == jnp.bfloat16 for part in found)
  plain = (
    by_definition(*exact[:2]) + exact[3],
    *gradients_by_definition(*exact[:3]),
    exact[2].sum((0, 1, 2)),
  )
  assert_close([np.asarray(part, np.float64) for part in found], plain, 2**-8)


@pytest.mark.slow
@pytest.mark.parametrize(("inputs", "outputs"), [(32, 32), (1, 32), (32, 1)])
def test_several_networks_at_once(inputs, outputs):
  networks = [draw_layer(seed, (9, 5), inputs, outputs) for seed in range(3)]
  given = tuple(map(np.stack, zip(*networks, strict=True)))
  found = jax.jit(jax.vmap(functools.partial(layer, True)))(*given)
  for each in range(3):
    expected = layer_by_definition(*(np.float64(part[each]) for part in given))
    assert_close([part[each] for part in found], expected, 1e-5)


@pytest.mark.parametrize(("inputs", "outputs"), [(32, 1), slow(1, 32), slow(32, 32)])
def test_no_value_that_is_not_finite_is_hidden(inputs, outputs):
  x, kernel, _ = map(np.float32, draw(0, (), (9, 7), 3, inputs, outputs))
  x[0, 4, 4, 0] = np.nan
  found = np.asarray(convolution.convolve(x, kernel, relu=True))
  assert np.isnan(found[0, 3:6, 3:6]).all() and np.isfinite(found[1]).all()


@pytest.mark.parametrize(
  ("shape", "dtype", "known"),
  [
    ((3, 3, 32, 32), "float32", True),
    ((3, 3, 64, 64), "bfloat16", True),
    ((3, 3, 2, 32), "float32", True),
    ((3, 3, 3, 32), "float32", False),
    ((3, 3, 2, 1), "float32", False),
    ((5, 5, 32, 32), "float32", False),
    ((3, 3, 96, 96), "float32", False),
    ((3, 3, 32, 32), "float16", False),
  ],
)
def test_what_is_known(shape, dtype, known):
  assert pallas.knows(jnp.zeros(shape, dtype)) == known


@pytest.mark.parametrize("setting", [None, "auto", "xla", "pallas"])
def test_they_are_used_where_the_environment_says_so(setting, monkeypatch):
  monkeypatch.undo()  # the fixture
  if setting:
    monkeypatch.setenv(convolution.GPU, setting)
  x, kernel = jnp.zeros((1, 5, 5, 32)), jnp.zeros((3, 3, 32, 32))
  for code in (contextlib.nullcontext, convolution.xla_alone):
    with code():
      text = str(jax.make_jaxpr(lambda *x: convolution.convolve(*x))(x, kernel))
    expected = setting == "pallas" and code is contextlib.nullcontext
    assert ("pallas_call" in text) == expected


def test_an_unknown_code_is_refused(monkeypatch):
  monkeypatch.setenv(convolution.GPU, "cudnn")
  with pytest.raises(UserError, match="KDMRI_GPU_CONVOLUTIONS: found 'cudnn'"):
    convolution.convolve(jnp.zeros((1, 5, 5, 32)), jnp.zeros((3, 3, 32, 32)))

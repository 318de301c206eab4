"""Convolutions and their gradients, against their definition in float64.

Channels in multiples of 16 are computed in C++, others by forms of XLA's.
"""

import concurrent.futures
import contextlib
import ctypes
import functools
import pathlib
import shutil
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.convolutions import (
  assert_close,
  by_definition,
  draw,
  draw_layer,
  gradients_by_definition,
  layer,
  layer_by_definition,
  value_and_gradients,
)
from helpers.marks import slow

from kdmri_jax.ops import convolution, native, xla
from kdmri_jax.ops.convolution import convolve

pytestmark = pytest.mark.usefixtures("quick_compilation")

CHANNELS = [(1, 3), (3, 1), (1, 1), (2, 4), (3, 2), (3, 4)]  # few to many, many to few
IN_NATIVE = [(32, 32), (64, 16), (16, 16), (32, 96), (48, 80)]
IN_NATIVE += [(1, 32), (1, 16), (2, 48), (32, 1), (16, 2), (48, 1)]
BUILT = [name for name in native.INSTRUCTIONS if native.runs(name)]


@pytest.fixture(autouse=True)
def no_image_is_small(monkeypatch):
  """Small images, which are quick to test, take the forms of large ones."""
  monkeypatch.setattr(xla, "_SMALL", 0)


@pytest.fixture(
  params=[name if name == native.instructions() else slow(name) for name in BUILT]
)
def instructions(request, monkeypatch):
  """Each library that was built and runs here."""
  monkeypatch.setattr(native, "instructions", lambda: request.param)
  jax.clear_caches()  # of layers that were traced for another one
  yield request.param
  jax.clear_caches()


@pytest.mark.parametrize("size", [1, 3, slow(5)])
@pytest.mark.parametrize(("inputs", "outputs"), CHANNELS)
def test_value_and_gradients(size, inputs, outputs):
  drawn = draw(size, (), (7, 6), size, inputs, outputs)
  found = jax.jit(value_and_gradients)(*map(np.float32, drawn))
  expected = by_definition(*drawn[:2]), *gradients_by_definition(*drawn)
  assert_close(found, expected)


@pytest.mark.parametrize("size", [3, 7])
@pytest.mark.parametrize(
  "shape", [(1, 1), (2, 1), (1, 2), (29, 130), (30, 130), (3, 4000)]
)
def test_gradients_of_images_of_any_size(shape, size):
  drawn = draw(0, (), shape, size, 3, 4)
  found = jax.jit(value_and_gradients)(*map(np.float32, drawn))
  assert_close(found[1:], gradients_by_definition(*drawn))


@pytest.mark.slow
@pytest.mark.parametrize(("inputs", "outputs"), CHANNELS)
def test_several_networks_at_once(inputs, outputs):
  drawn = draw(0, (3,), (9, 60), 3, inputs, outputs)
  found = jax.jit(jax.vmap(value_and_gradients))(*map(np.float32, drawn))
  for each in range(3):
    one = [part[each] for part in drawn]
    expected = by_definition(*one[:2]), *gradients_by_definition(*one)
    assert_close([part[each] for part in found], expected)


def test_native_code_was_built():
  """Where it could be; the tests of this file that need it do not run without."""
  if not any(map(shutil.which, ("c++", "g++", "clang++"))):
    pytest.skip("no C++ compiler was found")
  assert BUILT


@pytest.mark.parametrize(("inputs", "outputs"), IN_NATIVE)
def test_layers_in_native_code(inputs, outputs, instructions):
  for shape in ((1, 1), (4, 4), (9, 7), (3, 101), (77, 9)):
    given = draw_layer(0, shape, inputs, outputs)
    exact = tuple(map(np.float64, given))
    text = str(jax.make_jaxpr(functools.partial(layer, True))(*given))
    assert text.count(f"kdmri_convolve_{instructions}") == 2, shape
    assert text.count(f"kdmri_convolution_gradient_{instructions}") == 1, shape
    found = jax.jit(functools.partial(layer, True))(*given)
    assert_close(found, layer_by_definition(*exact), 4e-6)
    plain = (
      by_definition(*exact[:2]) + exact[3],
      *gradients_by_definition(*exact[:3]),
      exact[2].sum((0, 1, 2)),
    )
    assert_close(jax.jit(functools.partial(layer, False))(*given), plain, 4e-6)


def draw_bfloat16(shape, inputs, outputs):
  """Arguments of `layer`; no cotangent where rounding decides on the ReLU."""
  drawn = draw(0, (), shape, 3, inputs, outputs)
  rng = np.random.default_rng(0)
  given = [part.astype(jnp.bfloat16) for part in (*drawn, rng.normal(size=outputs))]
  x, kernel, _, bias = map(np.float64, given)
  value = by_definition(x, kernel) + bias
  given[2][np.abs(value) < 0.05 * np.abs(value).max()] = 0
  return given


@pytest.mark.parametrize(("inputs", "outputs"), IN_NATIVE)
def test_layers_in_bfloat16(inputs, outputs, instructions):
  """Rounded once, between many channels also in Winograd's transforms where products
  are of bfloat16, whose error F(4x4) amplifies."""
  in_products = instructions == "avx512bf16" and min(inputs, outputs) > 2
  tolerances = [0.03, 0.03, 4e-3, 4e-3] if in_products else [4e-3] * 4
  for shape in ((1, 1), (9, 7), (30, 101)):
    given = draw_bfloat16(shape, inputs, outputs)
    function = functools.partial(layer, True)
    text = str(jax.make_jaxpr(function)(*given))
    assert text.count(f"kdmri_convolve_bfloat16_{instructions}") == 2
    assert text.count(f"kdmri_convolution_gradient_bfloat16_{instructions}") == 1
    found = jax.jit(function)(*given)
    assert all(part.dtype == jnp.bfloat16 for part in found)
    expected = layer_by_definition(*map(np.float64, given))
    for each, exact, tolerance in zip(found, expected, tolerances, strict=True):
      assert_close([np.float64(each)], [exact], tolerance)


def test_bfloat16_is_rounded_to_the_nearest(instructions):
  """As JAX does, of two the even one."""
  rng = np.random.default_rng(0)
  x = (
    rng.normal(size=(1, 40, 50, 1)) * 2.0 ** rng.integers(-9, 9, (40, 50, 1))
  ).astype(jnp.bfloat16)
  bias = jnp.asarray(2.0 ** rng.integers(-9, 9, 16), jnp.bfloat16)
  kernel = np.zeros((3, 3, 1, 16), jnp.bfloat16)
  kernel[1, 1] = 1
  found = jax.jit(native.convolve, static_argnames="relu")(x, kernel, bias, relu=False)
  sums = jnp.float32(x) + jnp.float32(bias)
  np.testing.assert_array_equal(found, sums.astype(jnp.bfloat16))


needs_native = pytest.mark.skipif(not BUILT, reason="no native code was built")


@needs_native
@pytest.mark.parametrize("mapped", [jax.vmap, jax.pmap])
def test_native_code_for_several_networks(mapped):
  networks = [draw_layer(seed, (9, 20), 32, 32) for seed in range(3)]
  given = tuple(map(np.stack, zip(*networks, strict=True)))
  found = mapped(functools.partial(layer, True))(*given)
  for each in range(3):
    expected = layer_by_definition(*(np.float64(part[each]) for part in given))
    assert_close([part[each] for part in found], expected, 4e-6)


@pytest.mark.parametrize("kind", [np.float32, jnp.bfloat16])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 32), (32, 32), (32, 1)])
def test_native_code_hides_no_value_that_is_not_finite(
  inputs, outputs, kind, instructions
):
  x, kernel, _ = (part.astype(kind) for part in draw(0, (), (9, 7), 3, inputs, outputs))
  x[0, 4, 4, 0] = np.nan
  found = np.float32(convolve(x, kernel, relu=True))
  assert np.isnan(found[0, 3:6, 3:6]).all() and np.isfinite(found[1]).all()


def test_native_code_gives_the_same_bits_however_busy_the_threads_are():
  given = tuple(map(np.float32, draw(0, (), (61, 47), 3, 32, 32)))
  function = jax.jit(value_and_gradients)
  expected = jax.device_get(function(*given))
  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    for found in pool.map(lambda _: jax.device_get(function(*given)), range(40)):
      jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize(
  ("shape", "dtype"),
  [
    ((1, 1, 32, 32), "float32"),
    ((5, 5, 32, 32), "float32"),
    ((3, 3, 32, 31), "float32"),
    ((3, 3, 24, 16), "float32"),
    ((3, 3, 3, 32), "float32"),
    ((3, 3, 1, 2), "float32"),
    ((3, 3, 32, 32), "float16"),
  ],
)
def test_what_native_code_does_not_know_is_left_to_xla(shape, dtype):
  x, kernel = jnp.ones((1, 5, 5, shape[2]), dtype), jnp.ones(shape, dtype)
  assert "kdmri" not in str(jax.make_jaxpr(convolve)(x, kernel))


def test_without_a_library_xla_computes(monkeypatch):
  monkeypatch.setattr(native, "instructions", lambda: None)
  drawn = draw(0, (), (7, 6), 3, 32, 32)
  given = tuple(map(np.float32, drawn))
  function = functools.partial(value_and_gradients)  # that jit has not seen
  assert "kdmri" not in str(jax.make_jaxpr(function)(*given))
  expected = by_definition(*drawn[:2]), *gradients_by_definition(*drawn)
  assert_close(jax.jit(function)(*given), expected)


@needs_native
def test_xla_alone_agrees_with_native_code():
  given = tuple(map(np.float32, draw(0, (), (20, 33), 3, 32, 32)))
  found = {}
  for code in (contextlib.nullcontext, convolution.xla_alone):
    function = functools.partial(value_and_gradients)  # that jit has not seen
    with code():
      text = str(jax.make_jaxpr(function)(*given))
      assert ("kdmri" in text) == (code is contextlib.nullcontext)
      found[code] = jax.device_get(jax.jit(function)(*given))
  assert_close(*found.values(), 4e-6)


@pytest.mark.skipif(shutil.which("nm") is None, reason="nm lists a library's symbols")
@pytest.mark.parametrize("name", BUILT)
def test_libraries_share_no_code(name):
  """Else the one loaded first would lend its instructions to the others."""
  path = pathlib.Path(native.__file__).with_name(f"convolution.{name}.so")
  listed = subprocess.run(
    ["nm", "-D", "--defined-only", path], capture_output=True, text=True, check=True
  )
  shown = {line.split()[-1].lstrip("_") for line in listed.stdout.splitlines()}
  own = {symbol for symbol in shown if "kdmri" in symbol}
  functions = {"kdmri_convolve", "kdmri_convolution_gradient"}
  functions |= {f"{function}_bfloat16" for function in functions}
  assert own == functions | {"kdmri_has"}


@pytest.mark.skipif(not BUILT, reason="no C++ compiler was there")
def test_a_library_of_an_earlier_version_is_not_used(monkeypatch):
  load, empty = native._load, ctypes.CDLL(None)
  monkeypatch.setattr(native, "_register", native._register.__wrapped__)
  for lacking in (BUILT[0], "default"):
    monkeypatch.setattr(
      native, "_load", lambda name, old=lacking: empty if name == old else load(name)
    )
    assert not native.runs(BUILT[0])


def test_forward_mode_is_refused():
  x, kernel = jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 1))
  with pytest.raises(TypeError, match="forward-mode"):
    jax.jvp(convolve, (x, kernel), (x, kernel))


@pytest.mark.parametrize(("inputs", "outputs"), CHANNELS)
def test_gradients_as_accelerators_compute_them(inputs, outputs):
  drawn = draw(0, (), (7, 6), 3, inputs, outputs)
  x, kernel, cotangent = map(np.float32, drawn)
  for_x = xla._transposed(cotangent, kernel, xla._HIGHEST)
  for_kernel = xla._kernel_by_convolution(x, cotangent, 3, xla._HIGHEST)
  assert_close((for_x, for_kernel), gradients_by_definition(*drawn))

"""Bundles of JAX and ONNX files compute what the network computes."""

import functools
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest
from flax import linen as nn
from jax import export

from kdmri_jax import interop
from kdmri_jax.data.input_scale import LARGEST, UNSCALED, InputScale
from kdmri_jax.errors import UserError
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.models.edsr import EDSR
from kdmri_jax.models.swinir import SwinIR
from kdmri_jax.models.unet import UNet
from kdmri_jax.models.vdsr import VDSR
from kdmri_jax.physics import consistency
from kdmri_jax.types import Measurement, Outputs

pytestmark = pytest.mark.usefixtures("quick_compilation")

CASES = [
  (DCCNN(consistency="line0"), (13, 10)),
  (DCCNN(consistency="matrix1", variant="reference", padding=2), (10, 13)),
  (DCCNN(consistency="line0", channels=2, lam=3.0, padding=1), (12, 9)),
  (DCCNN(consistency="line1", channels=2, variant="reference"), (9, 11)),
  (DCCNN(lam=0.5), (11, 8)),
  (DCCNN(consistency="line0", shared=True), (13, 10)),
  (DCCNN(channels=2, consistency="fft"), (8, 7)),
]
ENHANCERS = [
  VDSR(convolutions=3, features=3),
  VDSR(convolutions=2, features=3, channels=2),
  EDSR(blocks=2, features=3, res_scale=0.3, mean=(0.2,)),
  EDSR(blocks=1, features=3, scale=2, channels=2),
]
BRIGHT = InputScale("brightness", 0.4)
BARE_UNET = UNet(features=3, levels=2, standardised=False)
SMALL = CASES[0][0].clone(cascades=1, features=2, convolutions=2)


def weights(model, size):
  image = jnp.zeros((1, *size, model.channels))
  measurement = Measurement(jnp.zeros((1, *size), complex), jnp.ones(size))
  shapes = jax.eval_shape(model.init, jax.random.key(0), image, measurement)["params"]
  rng = np.random.default_rng(1)
  return jax.tree.map(lambda x: rng.normal(0, 0.3, x.shape).astype(np.float32), shapes)


def measured(size, seed=0):
  """Complex numbers in k-space, 3 slices of them."""
  parts = 37 * np.random.default_rng(seed).normal(size=(2, 3, *size))
  return (parts[0] + 1j * parts[1]).astype(np.complex64)


@functools.cache
def apply(model):
  return jax.jit(model.apply)


def reconstructed(model, params, kspace, mask, scale=BRIGHT):
  """By the network as the library calls it, from input prepared by NumPy."""
  kspace = kspace * mask
  image = np.fft.ifft2(kspace, norm="ortho")
  scale = float(scale.divisor(np.abs(image)))
  image = image / scale
  if model.channels == 1:
    zero_filled = np.abs(image)[..., None]
  else:
    zero_filled = np.stack([image.real, image.imag], -1)
  measurement = Measurement((kspace / scale).astype(np.complex64), mask)
  zero_filled = zero_filled.astype(np.float32)
  return scale * apply(model)({"params": params}, zero_filled, measurement).image


def load_jax(path):
  bundle = export.deserialize(bytearray(path.read_bytes()))
  return jax.jit(bundle.call)


def load_onnx(path):
  """Called with channels last, as JAX has them."""
  session = onnxruntime.InferenceSession(path)

  def call(given, mask=None):
    if mask is None:
      feeds = {"image": given.transpose(0, 3, 1, 2)}
    else:
      feeds = {"kspace": np.stack([given.real, given.imag], 1), "mask": mask}
    return session.run(None, feeds)[0].transpose(0, 2, 3, 1)

  return call


LOAD = {"jax": load_jax, "onnx": load_onnx}


def assert_equal(found, expected):
  assert found.shape == expected.shape
  atol = 1e-5 * np.abs(expected).max()
  np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("form", LOAD)
@pytest.mark.parametrize(("model", "size"), CASES)
def test_a_dccnn_with_all_that_surrounds_it(tmp_path, model, size, form):
  model = model.clone(cascades=2, features=3, convolutions=3)
  params, axis = weights(model, size), consistency.line_axis(model.consistency)
  mask = (np.random.default_rng(0).random(size) < 0.5).astype(np.uint8)
  if axis is not None:
    mask[:] = mask.take([0], 1 - axis)
  text = interop.EXPORTS[form](tmp_path / "a", model, params, size, BRIGHT)
  assert "DCCNN of" in text
  assert f"mask uint8 [{size[0]}, {size[1]}]" in text
  call = LOAD[form](tmp_path / "a")
  # K-space is not 0 where nothing was sampled, and must not be read there.
  kspace = measured(size)
  assert_equal(call(kspace, mask), reconstructed(model, params, kspace, mask))
  other = mask.copy()
  other[0 if axis != 1 else slice(None), 0 if axis == 1 else slice(None)] ^= 1
  assert_equal(call(kspace, other), reconstructed(model, params, kspace, other))
  point = mask.copy()
  point[0, 0] ^= 1
  found = call(kspace, point)
  if axis is None:
    assert_equal(found, reconstructed(model, params, kspace, point))
  else:
    assert np.isnan(found).all()


@pytest.mark.parametrize("form", LOAD)
@pytest.mark.parametrize("scale", [LARGEST, UNSCALED, InputScale("brightness", 0.3)])
def test_scaling_one_slice_and_slices_without_signal(tmp_path, form, scale):
  size = (16, 15)  # the brightness is exceeded by two pixels of a slice
  params, mask, kspace = weights(SMALL, size), np.ones(size, np.uint8), measured(size)
  interop.EXPORTS[form](tmp_path / "a", SMALL, params, size, scale)
  call = LOAD[form](tmp_path / "a")

  def expected(kspace):
    return reconstructed(SMALL, params, kspace, mask, scale)

  assert_equal(call(kspace, mask), expected(kspace))
  assert_equal(call(1000 * kspace, mask), expected(1000 * kspace))
  assert_equal(call(kspace[:1], mask), expected(kspace[:1]))
  empty = kspace.copy()
  empty[1] = 0
  assert_equal(call(empty, mask), expected(empty))
  if scale is not UNSCALED:
    assert_equal(call(1000 * kspace, mask), 1000 * expected(kspace))
    np.testing.assert_allclose(call(0 * kspace, mask), 0, atol=1e-6)


@pytest.mark.parametrize("form", LOAD)
@pytest.mark.parametrize("model", ENHANCERS, ids=lambda m: type(m).__name__)
def test_networks_that_take_images_of_any_size(tmp_path, model, form):
  params = weights(model, (8, 8))
  path = tmp_path / "a"
  assert "image float32" in interop.EXPORTS[form](path, model, params, (8, 8), BRIGHT)
  call, rng = LOAD[form](path), np.random.default_rng(0)
  for shape in ((1, 9, 6), (3, 5, 7)):
    image = rng.random((*shape, model.channels), np.float32) * 400
    scale = BRIGHT.divisor(np.linalg.norm(image, axis=-1))
    expected = scale * apply(model)({"params": params}, image / scale).image
    assert_equal(call(image), expected)


@pytest.mark.parametrize("form", LOAD)
@pytest.mark.parametrize(
  "model",
  [UNet(features=4, levels=2), UNet(features=3, levels=1, channels=2), BARE_UNET],
  ids=["real", "complex", "not standardised"],
)
def test_a_unet(tmp_path, model, form):
  """Of odd sizes, whose last rows and columns are reflected on the way up."""
  params = weights(model, (11, 14))
  text = interop.EXPORTS[form](tmp_path / "a", model, params, (11, 14), BRIGHT)
  assert "UNet of" in text
  image = np.random.default_rng(0).random((3, 11, 14, model.channels), np.float32) * 400
  scale = BRIGHT.divisor(np.linalg.norm(image, axis=-1))
  expected = scale * apply(model)({"params": params}, image / scale).image
  assert_equal(LOAD[form](tmp_path / "a")(image), expected)


def test_swinir_in_a_bundle(tmp_path):
  model = SwinIR(depths=(2,), features=4, heads=2, window=4)
  params = weights(model, (9, 6))
  interop.save_jax_bundle(tmp_path / "a", model, params, (9, 6))
  image = np.random.default_rng(0).random((3, 9, 6, 1), np.float32)
  scale = image.max()
  expected = scale * apply(model)({"params": params}, image / scale).image
  assert_equal(load_jax(tmp_path / "a")(image), expected)


def test_the_bundle_runs_where_there_is_only_jax(tmp_path):
  size = (6, 5)
  params, mask, kspace = weights(SMALL, size), np.ones(size, np.uint8), measured(size)
  interop.save_jax_bundle(tmp_path / "a", SMALL, params, size)
  np.savez(tmp_path / "in.npz", kspace=kspace, mask=mask)
  code = """
import sys
for name in ("kdmri_jax", "flax", "optax", "orbax", "chex"):
  sys.modules[name] = None  # importing it fails
import jax, jax.export, numpy, pathlib
exported = jax.export.deserialize(bytearray(pathlib.Path("a").read_bytes()))
assert exported.platforms == ("cpu", "cuda", "rocm", "tpu")
given = numpy.load("in.npz")
numpy.save("out", jax.jit(exported.call)(given["kspace"], given["mask"]))
"""
  command = [sys.executable, "-P", "-c", code]
  done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  expected = reconstructed(SMALL, params, kspace, mask)
  assert_equal(np.load(tmp_path / "out.npy"), expected)


def test_the_onnx_file_knows_no_fourier_operator(tmp_path):
  params = weights(SMALL, (6, 5))
  interop.save_onnx(tmp_path / "a.onnx", SMALL, params, (6, 5))
  file = onnx.load(tmp_path / "a.onnx")
  assert {node.op_type for node in file.graph.node} <= {
    *("Add", "Cast", "Concat", "Conv", "Div", "Greater", "Identity", "Less", "MatMul"),
    *("Mul", "ReduceL2", "ReduceMax", "ReduceMin", "Relu", "Reshape", "Slice", "Sub"),
    *("Transpose", "Where"),
  }
  assert (file.ir_version, file.opset_import[0].version) == (8, 18)
  again = tmp_path / "b.onnx"
  interop.save_onnx(again, SMALL, params, (6, 5))
  assert again.read_bytes() == (tmp_path / "a.onnx").read_bytes()


@pytest.mark.parametrize(
  ("form", "package"), [("jax", "flatbuffers"), ("onnx", "onnx")]
)
def test_a_missing_package_is_named(tmp_path, monkeypatch, form, package):
  monkeypatch.setitem(sys.modules, package, None)
  with pytest.raises(UserError, match=rf"{package} is not installed.*\[export\]"):
    interop.EXPORTS[form](tmp_path / "a", VDSR(), {}, (8, 8), BRIGHT)
  assert not list(tmp_path.iterdir())


class Own(nn.Module):
  """A network of a user's, that takes a step towards the measurement."""

  @nn.compact
  def __call__(self, image, measurement):
    kspace, mask = measurement
    residue = mask * jnp.fft.fft2(image[..., 0], norm="ortho") - kspace
    step = self.param("step", nn.initializers.constant(0.3), ())
    change = jnp.fft.ifft2(residue, norm="ortho").real
    return Outputs(image - step * change[..., None])


def test_a_network_of_one_s_own(tmp_path):
  rng = np.random.default_rng(0)
  mask = (rng.random((7, 6)) < 0.5).astype(np.uint8)
  kspace = (rng.normal(size=(2, 7, 6)) * mask).astype(np.complex64)
  params = {"step": np.float32(0.3)}
  interop.save_jax_bundle(tmp_path / "a", Own(), params, (7, 6))
  image = np.abs(np.fft.ifft2(kspace, norm="ortho"))
  residue = mask * np.fft.fft2(image, norm="ortho") - kspace
  expected = image - 0.3 * np.fft.ifft2(residue, norm="ortho").real
  assert_equal(load_jax(tmp_path / "a")(kspace, mask), expected[..., None])
  with pytest.raises(UserError, match=r"found a Own to be written as ONNX.*=jax"):
    interop.save_onnx(pathlib.Path("a"), Own(), params, (7, 6))


class Counting(Own):
  """One that needs to know how many images there are."""

  def __call__(self, image, measurement):
    return super().__call__(image * np.ones(len(image))[0], measurement)


def test_a_network_that_counts_its_images_is_refused(tmp_path):
  params = {"step": np.float32(0.3)}
  with pytest.raises(UserError, match=r"Counting that cannot be traced for a batch of"):
    interop.save_jax_bundle(tmp_path / "a", Counting(), params, (7, 6))
  assert not list(tmp_path.iterdir())

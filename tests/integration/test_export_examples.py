"""The program beside an exported network runs as it stands, without this package."""

import importlib.util
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.commands import refused, run

import kdmri_jax as kd
from kdmri_jax import interop
from kdmri_jax.data.input_scale import LARGEST, UNSCALED, InputScale
from kdmri_jax.interop.jax_bundle import whole_function
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.models.edsr import EDSR
from kdmri_jax.models.vdsr import VDSR
from kdmri_jax.types import Measurement

pytestmark = pytest.mark.usefixtures("quick_compilation")

needs_torch = pytest.mark.skipif(
  not importlib.util.find_spec("torch"), reason="PyTorch is not installed"
)
FORMS = ["onnx", pytest.param("kdmri", marks=needs_torch)]
FORMS += [pytest.param("jax", marks=pytest.mark.slow)]
ENDINGS = {"jax": "jax", "onnx": "onnx", "kdmri": "pt"}
# What an environment for the exports does not have.
ABSENT = ("kdmri_jax", "flax", "optax", "orbax", "chex", "h5py")
PROGRAM = """
import runpy, sys
for name in {absent}:
  sys.modules[name] = None  # importing it fails
runpy.run_path({path!r}, run_name="__main__")
"""


def execute(path, form):
  """Runs the program in its folder."""
  absent = ABSENT if form == "jax" else ("jax", "scipy", *ABSENT)
  code = PROGRAM.format(absent=absent, path=path.name)
  command = [sys.executable, "-P", "-c", code]
  return subprocess.run(command, cwd=path.parent, capture_output=True, text=True)


def output(path, form):
  """What the program writes, channels last."""
  done = execute(path, form)
  assert done.returncode == 0, done.stderr
  assert done.stdout.startswith("reconstruction.npy: float32 (1, ")
  found = np.load(path.parent / "reconstruction.npy")
  return found if form == "jax" else found.transpose(0, 2, 3, 1)


def disc(mask):
  """The scan of the program: k-space of a disc."""
  y, x = np.indices(mask.shape) / np.reshape(mask.shape, (2, 1, 1)) - 0.5
  return mask * np.fft.fft2(np.hypot(x, y) < 0.3, norm="ortho")[None]


def assert_equal(found, expected):
  assert found.shape == expected.shape
  np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * expected.max())


@pytest.mark.parametrize("form", FORMS)
def test_a_pretrained_network(tmp_path, form):
  out = tmp_path / f"heart.{ENDINGS[form]}"
  arguments = ("export", "--workdir=pretrained:cardiac-4x-distilled", f"--out={out}")
  done = run(*arguments)
  assert done.returncode == 0, done.stderr
  program = tmp_path / f"heart_{form}_example.py"
  assert f"Beside it: heart_mask.npy; and {program.name}, which runs" in done.stdout
  network = kd.load_pretrained("cardiac-4x-distilled")
  mask = np.load(tmp_path / "heart_mask.npy")
  np.testing.assert_array_equal(mask, network.mask)
  with pytest.warns(UserWarning, match="differ in their"):  # a disc is no heart
    expected = network.reconstruct(disc(mask), mask)
  assert_equal(output(program, form)[..., 0], expected)
  np.save(tmp_path / "heart_mask.npy", mask.astype(float))
  assert_equal(output(program, form)[..., 0], expected)
  np.save(tmp_path / "heart_mask.npy", 0.5 * mask)
  done = execute(program, form)
  assert done.returncode and "the mask has the values [0.  0.5]" in done.stderr
  out.unlink()
  assert "heart_mask.npy: found a file there" in refused(*arguments)
  np.save(tmp_path / "heart_mask.npy", mask)
  assert f"{program.name}: found a file there" in refused(*arguments)
  program.unlink()
  assert run(*arguments).returncode == 0


COMPLEX = DCCNN(cascades=2, features=3, convolutions=2, channels=2, lam=3.0, padding=1)
PUBLISHED = DCCNN(cascades=1, features=3, convolutions=3, variant="reference")
VDSRS = [VDSR(convolutions=2, features=3, channels=channels) for channels in (1, 2)]
SHARPER = EDSR(blocks=1, features=3, scale=2)


@needs_torch
@pytest.mark.parametrize("scale", [UNSCALED, LARGEST, InputScale("brightness", 0.4)])
@pytest.mark.parametrize("model", [COMPLEX, PUBLISHED, *VDSRS])
def test_networks_for_pytorch(tmp_path, model, scale):
  check("kdmri", model, tmp_path, scale)


@pytest.mark.parametrize("model", [COMPLEX, *VDSRS, SHARPER])
def test_networks_for_onnx_runtime(tmp_path, model):
  check("onnx", model, tmp_path)


@pytest.mark.parametrize("model", [COMPLEX, VDSRS[1]])
def test_networks_for_jax(tmp_path, model):
  check("jax", model, tmp_path)


def check(form, model, folder, scale=LARGEST):
  """Writes a network and its program, runs this and compares."""
  size = (12, 10)
  image = jnp.zeros((1, *size, model.channels))
  measurement = Measurement(jnp.zeros((1, *size), complex), jnp.ones(size))
  shapes = jax.eval_shape(model.init, jax.random.key(0), image, measurement)["params"]
  rng = np.random.default_rng(1)
  params = jax.tree.map(lambda x: rng.normal(0, 0.3, x.shape).astype("f"), shapes)
  mask = kd.masks.gaussian2d(size, acceleration=2, centre_lines=3)
  file, program = folder / "it's.bin", folder / "example.py"
  interop.EXPORTS[form](file, model, params, size, scale)
  np.save(folder / "mask.npy", mask)
  program.write_text(interop.example(form, file, "mask.npy", model, params, scale))
  kspace = disc(mask)
  if isinstance(model, DCCNN):
    given = kspace.astype(np.complex64), mask
  else:
    zero_filled = np.fft.ifft2(kspace, norm="ortho")
    parts = [zero_filled.real, zero_filled.imag][: model.channels]
    parts = [np.abs(zero_filled)] if model.channels == 1 else parts
    given = (np.stack(parts, -1).astype(np.float32),)
  expected = whole_function(model, params, scale)(*given)
  assert_equal(output(program, form), np.asarray(expected))

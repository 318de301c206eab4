"""`kd.train`, and `kd.load` of what it trained."""

import functools
import pathlib

import h5py
import jax
import numpy as np
import pytest
from helpers.arrays import IMAGES, SHAPE
from helpers.tiny import tiny_config

import kdmri_jax as kd
from kdmri_jax import run
from kdmri_jax.errors import ArgumentError
from kdmri_jax.inference import read_scan, reconstruct

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """A work directory, and the reports of its run."""
  folder = tmp_path_factory.mktemp("face") / "run"
  settings = tiny_config(epochs=1, devices=1).to_dict()
  return str(folder), kd.train(settings, str(folder), stages="student")


def test_train(trained):
  folder, (report,) = trained
  assert str(report.path) == f"{folder}/report/index.html"
  assert report.path.is_file()
  assert "student" in report.table
  assert str(report).endswith(str(report.path))
  again = kd.train(tiny_config(epochs=1, devices=1), pathlib.Path(folder), ["student"])
  assert again[0].table == report.table  # nothing was left to train


def test_train_says_what_does_not_fit(tmp_path):
  with pytest.raises(ArgumentError, match=r"^workdir: found no folder"):
    kd.train(tiny_config(), "")
  with pytest.raises(
    ArgumentError, match=r"^stages: found none; expected some of teac"
  ):
    kd.train(tiny_config(), tmp_path, [])
  with pytest.raises(ArgumentError, match=r"^config: "):
    kd.train(tmp_path / "none.py", tmp_path)


def test_train_says_when_it_cannot_have_all_cores(monkeypatch):
  said = []
  assert jax.devices()  # JAX has been used
  monkeypatch.setattr(run.logging, "warning", lambda *text: said.append(text))
  monkeypatch.setattr(run.parallel, "cores", lambda: 1)
  run._use_cores(at_least=1)
  assert not said
  monkeypatch.setattr(run.parallel, "cores", lambda: 64)
  run._use_cores(at_least=1)
  ((text, *counts),) = said
  assert text.startswith("JAX was used before, so training has %d of %d CPU cores")
  assert counts == [jax.local_device_count(), 64]


@pytest.mark.filterwarnings("ignore:The images differ")  # noise is no phantom
def test_load_reconstructs_as_the_command_does(trained, tmp_path, caplog):
  folder, _ = trained
  net = kd.load(folder, "student")
  target = IMAGES["volume"].astype(np.float32)
  zero_filled, measured = kd.undersample(target, kd.masks.cartesian(SHAPE, 3, 4))
  with h5py.File(tmp_path / "measured.h5", "w") as file:
    file["kspace"] = measured.kspace
    np.save(tmp_path / "mask.npy", measured.mask)
  scan = read_scan.read(tmp_path / "measured.h5", net.config.data)
  by_command = functools.partial(
    reconstruct.run_scan,
    *(pathlib.Path(folder), "student", scan),
    mask_path=str(tmp_path / "mask.npy"),
  )
  with pytest.warns(UserWarning, match="trained on phantoms"):
    image = net.reconstruct(*measured)
  assert isinstance(image, np.ndarray)
  np.testing.assert_array_equal(image, by_command().images["reconstruction"])
  half = kd.load(folder, "student", precision="bfloat16")
  with pytest.warns(UserWarning, match="trained on phantoms"):
    rounded = half.reconstruct(*measured)
  assert 0 < np.abs(rounded - image).max() < 0.02 * image.max()
  result = by_command(precision="bfloat16")
  np.testing.assert_array_equal(rounded, result.images["reconstruction"])
  assert result.account.facts["network"].endswith(", computed in bfloat16")
  with pytest.warns(UserWarning, match="trained on phantoms"):
    alone = net.reconstruct(np.asarray(measured.kspace[1]), np.asarray(measured.mask))
  assert alone.shape == SHAPE
  scale = net.input_scale.divisor(np.asarray(zero_filled))
  assert net.input_scale.statistic == "brightness"
  measured = measured._replace(kspace=measured.kspace / scale)
  applied = scale * net.apply(zero_filled / scale, measured)
  np.testing.assert_allclose(applied, image, atol=2e-6)
  zeros = jax.tree.map(np.zeros_like, net.parameters)
  # Without weights the zero-filled image is returned, consistent with the k-space.
  blank = net.apply(zero_filled[1], measured._replace(kspace=measured.kspace[1]), zeros)
  assert blank.shape == SHAPE
  assert kd.models.features.count_parameters(net.parameters) == 450
  assert "read only" not in caplog.text  # of Orbax
  assert repr(net) == "<DCCNN of stage 'student', 450 parameters>"


def test_reconstruct_says_what_does_not_fit(trained):
  net = kd.load(pathlib.Path(trained[0]), "student")
  _, (kspace, mask) = kd.undersample(IMAGES["slice"], kd.masks.cartesian(SHAPE, 3, 4))
  kspace = np.asarray(kspace)
  for arguments, words in [
    ((kspace.real, mask), "^kspace: found float32 of shape"),
    ((kspace[0], mask), "^kspace: found complex64 of shape"),
    ((kspace, mask.T), r"^mask: found shape \(20, 24\)"),
    ((kspace + 1, mask), "^kspace: found k-space that has samples at"),
    ((kspace * np.exp(1j), mask), "^kspace: found k-space of a complex image"),
  ]:
    with pytest.raises(ArgumentError, match=words):
      net.reconstruct(*arguments)
  with pytest.raises(ArgumentError, match=r"^image: found complex"):
    net.apply(IMAGES["complex slice"])

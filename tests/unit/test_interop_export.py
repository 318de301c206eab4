"""Networks that go out as checkpoints of the published code."""

import pickletools
import struct
import zipfile

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdmri_jax import interop
from kdmri_jax.errors import UserError
from kdmri_jax.inference import load
from kdmri_jax.interop import torch_file
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.models.edsr import EDSR
from kdmri_jax.models.vdsr import VDSR
from kdmri_jax.types import Measurement

NETWORKS = [
  DCCNN(cascades=2, convolutions=3, features=5, variant="reference"),
  DCCNN(cascades=11, convolutions=2, features=3, channels=2, lam=4.0, padding=5),
  VDSR(convolutions=12, features=4),
]


def initial(model, seed=0):
  image = jnp.zeros((1, 6, 4, model.channels))
  measurement = Measurement(jnp.zeros((1, 6, 4), complex), jnp.ones((6, 4)))
  shapes = jax.eval_shape(model.init, jax.random.key(0), image, measurement)
  rng = np.random.default_rng(seed)
  draw = lambda x: rng.normal(size=x.shape).astype(np.float32)  # noqa: E731
  return jax.tree.map(draw, shapes["params"])


@pytest.mark.parametrize("model", NETWORKS)
def test_the_round_trip_changes_no_bit(tmp_path, model):
  params = initial(model)
  interop.EXPORTS["kdmri"](tmp_path / "a.pt", model, params)
  found, variables = interop.load_kdmri_checkpoint(tmp_path / "a.pt")
  assert found == model
  chex.assert_trees_all_equal(variables["params"], params)
  interop.save_kdmri_checkpoint(tmp_path / "b.pt", found, variables["params"])
  assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_names_axes_and_order_are_the_original_s(tmp_path):
  model = NETWORKS[0]
  params = initial(model)
  interop.save_kdmri_checkpoint(tmp_path / "a.pt", model, params)
  state = torch_file.read(tmp_path / "a.pt")["model"]
  assert list(state) == [
    f"cascade{c}.conv{k}.{kind}"
    for c in (1, 2)
    for k in (1, 2, 3)
    for kind in ("weight", "bias")
  ]
  weight, kernel = state["cascade2.conv3.weight"], params["cascade_2"]["conv_3"]
  assert weight.shape == (1, 5, 3, 3)
  assert weight[0, 4, 2, 1] == kernel["kernel"][2, 1, 4, 0]
  np.testing.assert_array_equal(state["cascade2.conv3.bias"], kernel["bias"])
  interop.save_kdmri_checkpoint(tmp_path / "b.pt", NETWORKS[2], initial(NETWORKS[2]))
  names = list(torch_file.read(tmp_path / "b.pt")["model"])
  assert names[:4] == ["conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias"]
  assert names[-2:] == ["conv12.weight", "conv12.bias"]


def test_the_file_byte_by_byte(tmp_path):
  array = np.array([[1, 2, 3], [-4, 0.5, np.inf]], np.float32)
  torch_file.write(tmp_path / "a.pt", {"x": array.T, "y": {"s": 2, "t": True}})
  with zipfile.ZipFile(tmp_path / "a.pt") as archive:
    names = ["data.pkl", "byteorder", "data/0", "version"]
    assert archive.namelist() == [f"archive/{name}" for name in names]
    assert all(i.compress_type == zipfile.ZIP_STORED for i in archive.infolist())
    assert archive.read("archive/data/0") == struct.pack("<6f", *array.T.ravel())
    assert archive.read("archive/byteorder") == b"little"
    content = archive.read("archive/data.pkl")
  codes = [(code.name, value) for code, value, _ in pickletools.genops(content)]
  names = [value for name, value in codes if name == "GLOBAL"]
  assert names == [
    "torch._utils _rebuild_tensor_v2",
    "torch FloatStorage",
    "collections OrderedDict",
  ]
  values = [value for _, value in codes if value is not None]
  storage = ("storage", names[1], "0", "cpu", 6)
  tensor = (names[0], *storage, 0, 3, 2, 2, 1, names[2])
  assert values == [2, "x", *tensor, "y", "s", 2, "t"]
  assert [name for name, _ in codes].count("BINPERSID") == 1
  read = torch_file.read(tmp_path / "a.pt")
  np.testing.assert_array_equal(read["x"], array.T)
  assert read["y"] == {"s": 2, "t": True}


@pytest.mark.parametrize("value", [np.ones(2), [1], None, np.float32(1)])
def test_what_cannot_be_written_leaves_nothing(tmp_path, value):
  with pytest.raises(TypeError, match="cannot be written"):
    torch_file.write(tmp_path / "a.pt", {"x": value})
  assert not list(tmp_path.iterdir())


def test_only_networks_of_the_published_code(tmp_path):
  with pytest.raises(UserError, match=r"a.pt: found a EDSR to be written"):
    interop.save_kdmri_checkpoint(tmp_path / "a.pt", EDSR(), {})
  assert not list(tmp_path.iterdir())


def test_the_sizes_of_a_run_s_slices(tmp_path):
  path = tmp_path / "dataset.json"
  path.write_text('{"shapes": {"24x20": {"train": 3}, "9x7": {"test": 1}}}')
  assert load.read_shapes(tmp_path) == [(24, 20), (9, 7)]
  for text in ("{", "{}"):
    path.write_text(text)
    with pytest.raises(UserError, match=r"dataset.json: found no readable record"):
      load.read_shapes(tmp_path)


@pytest.mark.parametrize(
  ("model", "words"),
  [
    (NETWORKS[0], ()),
    (DCCNN(cascades=1, features=2), ("x + CNN(x)",)),
    (NETWORKS[1], ("x + CNN(x)", "(X + lam y) / (1 + lam)", "padded with zeros")),
    (NETWORKS[2], ()),
  ],
)
def test_the_user_is_told_what_the_original_must_change(tmp_path, model, words):
  text = interop.save_kdmri_checkpoint(tmp_path / "a.pt", model, initial(model))
  assert f"{type(model).__name__} of " in text
  assert all(word in text for word in words)
  assert ("must be changed" in text) == bool(words)


@pytest.mark.parametrize(
  "settings",
  [{"variant": "papers"}, {"lam": 0.0}, {"lam": "1"}, {"padding": -1}, {"x": 1}, 3],
)
def test_settings_that_do_not_fit_are_refused(tmp_path, settings):
  model = NETWORKS[0]
  interop.save_kdmri_checkpoint(tmp_path / "a.pt", model, initial(model))
  state = dict(torch_file.read(tmp_path / "a.pt")["model"])
  torch_file.write(tmp_path / "b.pt", {"model": state, "settings": settings})
  with pytest.raises(UserError, match=r"b.pt: found the settings"):
    interop.load_kdmri_checkpoint(tmp_path / "b.pt")


def test_pytorch_reads_it(tmp_path):
  """Into modules with the attributes of the published ones."""
  torch = pytest.importorskip("torch")
  model = DCCNN(cascades=2, convolutions=3, features=5)
  params = initial(model)
  interop.save_kdmri_checkpoint(tmp_path / "a.pt", model, params)

  class Cascade(torch.nn.Module):
    def __init__(self):
      super().__init__()
      self.conv1 = torch.nn.Conv2d(1, 5, 3, padding=1)
      self.conv2 = torch.nn.Conv2d(5, 5, 3, padding=1)
      self.conv3 = torch.nn.Conv2d(5, 1, 3, padding=1)

    def forward(self, x):
      hidden = torch.relu(self.conv2(torch.relu(self.conv1(x))))
      return x + self.conv3(hidden)

  class Network(torch.nn.Module):
    def __init__(self):
      super().__init__()
      self.cascade1, self.cascade2 = Cascade(), Cascade()

  network = Network()
  checkpoint = torch.load(tmp_path / "a.pt", weights_only=True)
  network.load_state_dict(checkpoint["model"])
  assert checkpoint["settings"] == {"variant": "paper", "lam": np.inf, "padding": 0}
  image = np.random.default_rng(0).random((1, 9, 7, 1), np.float32)
  # Without any sample, data consistency changes nothing.
  nothing = Measurement(jnp.zeros((1, 9, 7), complex), jnp.zeros((9, 7)))
  expected = jax.jit(model.apply)({"params": params}, image, nothing).image
  with torch.no_grad():
    x = torch.from_numpy(image).permute(0, 3, 1, 2)
    found = network.cascade2(network.cascade1(x)).permute(0, 2, 3, 1).numpy()
  atol = 1e-5 * np.abs(expected).max()
  np.testing.assert_allclose(found, expected, rtol=0, atol=atol)

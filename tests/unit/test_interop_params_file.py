"""Weights of a Flax module of one's own, in every kind of file."""

import json

import flax
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from kdmri_jax.errors import UserError
from kdmri_jax.interop import params_file
from kdmri_jax.models import contract
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.training import given

SHAPES = contract.parameter_shapes(DCCNN(cascades=2, features=4), (8, 6))
WEIGHTS = jax.tree.map(
  lambda x: np.random.default_rng(x.size).normal(size=x.shape).astype(x.dtype), SHAPES
)
FLAT = flax.traverse_util.flatten_dict(WEIGHTS, sep="/")


def write_safetensors(path, arrays):
  """By the definition: the length of the header, the header, the bytes."""
  head, data = {"__metadata__": {"format": "flax"}}, b""
  for key, array in arrays.items():
    ends = [len(data), len(data) + array.nbytes]
    kind = {"f4": "F32", "f8": "F64", "i4": "I32"}[array.dtype.str[1:]]
    head[key] = {"dtype": kind, "shape": array.shape, "data_offsets": ends}
    data += array.tobytes()
  text = json.dumps(head).encode()
  path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def write_orbax(path, tree):
  with ocp.StandardCheckpointer() as checkpointer:
    checkpointer.save(path.absolute(), tree)


WRITE = {
  "a.msgpack": lambda path: path.write_bytes(flax.serialization.to_bytes(WEIGHTS)),
  "b.msgpack": lambda path: path.write_bytes(
    flax.serialization.to_bytes({"params": {"params": WEIGHTS}, "step": 3})
  ),
  "a.safetensors": lambda path: write_safetensors(path, FLAT),
  "b.safetensors": lambda path: write_safetensors(
    path, {f"params.{k.replace('/', '.')}": a.astype("f8") for k, a in FLAT.items()}
  ),
  "a.npz": lambda path: np.savez(path, **FLAT),
  "orbax": lambda path: write_orbax(path, {"params": WEIGHTS}),
}


@pytest.mark.parametrize("name", WRITE)
def test_every_file_gives_the_same_weights(tmp_path, name):
  WRITE[name](tmp_path / name)
  found = given.find(str(tmp_path / name), "given", None)
  weights = found.weights(42, SHAPES)
  jax.tree.map(np.testing.assert_array_equal, weights, WEIGHTS)
  assert all(x.dtype == np.float32 for x in jax.tree.leaves(weights))
  if name != "b.safetensors":  # which stores other numbers
    assert found.digest == given.Given("", "", WEIGHTS).digest


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (
      lambda flat: flat.pop("cascade_1/conv_1/bias"),
      r"no cascade_1/conv_1/bias \(4,\)",
    ),
    (lambda flat: flat.update(x=np.ones(3, "f4")), r"another network: x \(3,\)"),
    (
      lambda flat: flat.update({"cascade_1/conv_1/bias": np.ones(5, "f4")}),
      r"cascade_1/conv_1/bias \(5,\) and not \(4,\)",
    ),
    (
      lambda flat: flat.update({"cascade_1/conv_1/bias": np.full(4, np.nan, "f4")}),
      "NaN or infinite values in cascade_1/conv_1/bias",
    ),
    (lambda flat: flat.update(x=np.ones(3, "i4")), "arrays of other types"),
    (  # of which an archive keeps the bytes alone
      lambda flat: flat.update(x=np.ones(3, jnp.bfloat16)),
      "arrays of other types",
    ),
  ],
)
def test_weights_of_another_network(tmp_path, change, message):
  flat = dict(FLAT)
  change(flat)
  np.savez(tmp_path / "a.npz", **flat)
  with pytest.raises(UserError, match=message):
    given.find(str(tmp_path / "a.npz"), "given", None).weights(42, SHAPES)


@pytest.mark.parametrize(
  ("name", "content"),
  [
    ("a.msgpack", b"\x81\xa1x"),
    ("a.msgpack", b""),
    ("a.safetensors", b"\xff" * 20),
    ("a.safetensors", (10).to_bytes(8, "little") + b'{"x": {}} '),
    ("a.npz", b"PK\x03\x04"),
  ],
)
def test_damaged_files(tmp_path, name, content):
  (tmp_path / name).write_bytes(content)
  with pytest.raises(UserError, match=f"{name}: found a file that cannot be read"):
    params_file.read(tmp_path / name)

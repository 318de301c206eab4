"""Hostile pickles of checkpoints: each is refused, in little time and memory."""

import pickle
import struct

import numpy as np
import pytest
from helpers.refusing import IMAGES, refused

from kdmri_jax.interop import load_vgg, torch_file


@pytest.mark.parametrize("opcode", [b"r" + struct.pack("<I", 2**28), b"p99999999\n"])
def test_memo_of_a_pickle(tmp_path, opcode):
  path = tmp_path / "weights.pt"
  path.write_bytes(b"\x80\x02]" + opcode + b".")
  refused(torch_file.read, path, "no magic number")


def doubled(last):
  """A pickle's opcodes of 60 pairs, each of which holds the one before twice."""
  begin = {"t": b")", "l": b"]"}[last] + b"q\0"
  pair = {"t": b"h%ch%c\x86q%c", "l": b"](h%ch%ceq%c"}[last]
  return begin + b"".join(pair % (k, k, k + 1) for k in range(60))


def test_pickle_of_a_few_bytes_that_takes_years(tmp_path):
  path = tmp_path / "weights.pt"
  keys = {
    "a key of a dict": b"}h\x3cNs",
    "keys": b"}(h\x3cNu",
    "another dict": b"(h\x3cNd",
    "a set": b"\x8f(h\x3c\x90",
    "a frozen set": b"(h\x3c\x91",
    "a storage": b"(X\7\0\0\0storagectorch\nFloatStorage\nh\x3cX\3\0\0\0cpuK\1tQ",
  }
  magic = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {})]
  for key in keys.values():
    body = b"\x80\4" + doubled("t") + key + b"."
    path.write_bytes(b"".join([*magic, body]))
    refused(torch_file.read, path, "a key of type tuple")
  body = b"\x80\4" + doubled("l") + b"}X\x11\0\0\0features.0.weighth\x3cs."
  path.write_bytes(b"".join([*magic, body, pickle.dumps([], 2)]))
  refused(load_vgg, path, "no features.0.weight")


def test_tensors_of_a_checkpoint_share_their_storage(tmp_path):
  path = tmp_path / "weights.pt"
  torch_file.write(path, {"a": np.float32(IMAGES[0])})
  np.testing.assert_array_equal(torch_file.read(path)["a"], np.float32(IMAGES[0]))

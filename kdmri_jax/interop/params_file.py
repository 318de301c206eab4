"""Weights of Flax modules in files: msgpack, safetensors, npz, folders of orbax."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from flax import serialization, traverse_util

from kdmri_jax import json_text
from kdmri_jax.errors import UserError
from kdmri_jax.io.numpy_files import npz_array, opened_npz
from kdmri_jax.io.reading import reading, refuse_huge

_MOST_SHOWN = 3
_HEADER = 8  # bytes of safetensors that hold the length of its JSON
_KINDS = {
  "BF16": np.dtype(jnp.bfloat16),
  "F16": np.dtype("<f2"),
  "F32": np.dtype("<f4"),
  "F64": np.dtype("<f8"),
}


def is_checkpoint(path: str | os.PathLike) -> bool:
  """Whether a folder is a checkpoint of orbax that holds one tree of arrays."""
  return (pathlib.Path(path) / "_METADATA").is_file()


def read(path: str | os.PathLike) -> dict[str, Any]:
  """Reads weights, without pickles.

  Args:
    path: .msgpack, as `flax.serialization.to_bytes` writes; .safetensors or .npz, with
      the place of each array as its name, "conv_1/kernel" or "conv_1.kernel"; or the
      folder of a checkpoint of orbax.

  Returns:
    Nested dicts of NumPy arrays. Where there is an entry "params", as of variables and
    of a training state, its content alone.

  Raises:
    UserError: the file is damaged, or holds no arrays.
  """
  path = pathlib.Path(path)
  with reading(path):
    tree = _orbax(path) if path.is_dir() else _READERS[path.suffix.lower()](path)
    while isinstance(tree.get("params"), Mapping):
      tree = tree["params"]
    arrays = jax.tree.map(np.asarray, tree)
  kinds = {array.dtype for array in jax.tree.leaves(arrays)}
  if not kinds or not all(jnp.issubdtype(kind, jnp.floating) for kind in kinds):
    found = "no weights" if not kinds else "arrays of other types than of weights"
    raise UserError(path, found, "nested dicts of real numbers, as of a Flax module")
  return arrays


def fitted(path: str | os.PathLike, tree: Any, like: Any) -> Any:
  """Weights as the tree of a network.

  Args:
    path: their file, for the message.
    tree: from `read`.
    like: shapes and types of the network's weights.

  Returns:
    The tree, NumPy arrays of these types.

  Raises:
    UserError: the file has other arrays, or one that is not finite; names them.
  """
  flat, arrays = (traverse_util.flatten_dict(each, sep="/") for each in (like, tree))
  missing = [f"no {key} {flat[key].shape}" for key in flat if key not in arrays]
  surplus = [f"{key} {arrays[key].shape}" for key in arrays if key not in flat]
  others = [
    f"{key} {arrays[key].shape} and not {flat[key].shape}"
    for key in flat.keys() & arrays.keys()
    if arrays[key].shape != flat[key].shape
  ]
  if wrong := [*sorted(others), *missing, *surplus]:
    more = len(wrong) - _MOST_SHOWN
    found = ", ".join(wrong[:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")
    expected = f"the {len(flat)} arrays of the stage's network"
    remedy = "Choose the network and the settings with which the weights were trained."
    raise UserError(path, f"weights of another network: {found}", expected, remedy)
  found = {key: arrays[key].astype(flat[key].dtype) for key in flat}
  for key, array in found.items():
    if not np.isfinite(array).all():
      raise UserError(path, f"NaN or infinite values in {key}", "finite weights")
  return traverse_util.unflatten_dict(found, sep="/")


def _msgpack(path: pathlib.Path) -> Any:
  return serialization.msgpack_restore(path.read_bytes())


def _npz(path: pathlib.Path) -> Any:
  with opened_npz(path) as file:
    return _nested({key: npz_array(file, key) for key in file.files})


def _safetensors(path: pathlib.Path) -> Any:
  content = path.read_bytes()
  start = _HEADER + int.from_bytes(content[:_HEADER], "little")
  head, arrays = json_text.loads(content[_HEADER:start]), {}
  head.pop("__metadata__", None)
  for key, entry in head.items():
    kind, shape, (first, last) = (entry[k] for k in ("dtype", "shape", "data_offsets"))
    if kind not in _KINDS:
      raise ValueError(f"{key} of type {kind} instead of one of {', '.join(_KINDS)}")
    refuse_huge(path, shape, _KINDS[kind].itemsize)
    data = content[start + first : start + last]
    arrays[key] = np.frombuffer(data, _KINDS[kind]).reshape(shape)
  return _nested(arrays)


def _orbax(path: pathlib.Path) -> Any:
  with ocp.PyTreeCheckpointer() as checkpointer:
    tree = checkpointer.metadata(path.absolute()).item_metadata.tree
    as_numpy = ocp.RestoreArgs(restore_type=np.ndarray)
    arguments = jax.tree.map(lambda _: as_numpy, tree)
    return checkpointer.restore(path.absolute(), restore_args=arguments)


def _nested(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
  flat = {key.replace(".", "/"): array for key, array in arrays.items()}
  return traverse_util.unflatten_dict(flat, sep="/")


_READERS = {".msgpack": _msgpack, ".npz": _npz, ".safetensors": _safetensors}
ENDINGS = tuple(_READERS)

"""Helpers for PyTorch state dicts: names, shapes, axes and errors."""

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.types import Measurement

# (pattern, replacement) for re.sub; the replacement may be a function of the match.
Rules = Sequence[tuple[str, Any]]

_COMMON: Rules = ((r"/(kernel|scale)$", ".weight"), ("/", "."))


@dataclasses.dataclass(frozen=True)
class Kind:
  """A kind of state dict, and the errors for another kind.

  Attributes:
    expected: its keys, in words.
    remedy: what to use instead.
  """

  expected: str
  remedy: str

  def refusal(self, where: Any, found: str) -> UserError:
    """The error for what was found in the file or dict `where`."""
    return UserError(where, found, self.expected, self.remedy)

  def plain(self, state: Any, where: Any) -> dict[str, Any]:
    """The state dict without the prefix `module.` of PyTorch's DataParallel.

    Raises:
      UserError: it is no dict.
    """
    if not isinstance(state, Mapping):
      raise self.refusal(where, f"a {type(state).__name__}")
    return {str(key).removeprefix("module."): value for key, value in state.items()}

  def shape(self, state: Mapping[str, Any], key: str, axes: str, where: Any) -> tuple:
    """Shape of a weight that determines sizes of the network.

    Args:
      state: the state dict.
      key: the weight.
      axes: its axes, such as "O, I".
      where: the file or dict, for errors.

    Raises:
      UserError: it is missing, or has another number of axes, or is empty.
    """
    shape = np.shape(state.get(key))
    if len(shape) != len(axes.split(",")) or 0 in shape:
      raise self.refusal(where, f"no {key} [{axes}] among {some(state)}")
    return shape

  def build(
    self,
    state: Mapping[str, Any],
    network: type[nn.Module],
    settings: Mapping[str, Any],
    rules: Rules,
    where: Any,
  ) -> tuple[nn.Module, dict]:
    """The network and its variables from a state dict that must hold exactly these.

    Args:
      state: PyTorch's name -> array.
      network: its class.
      settings: its settings.
      rules: how the path of a parameter, such as "conv_1/kernel", becomes its name in
        PyTorch, "conv1.weight".
      where: the file or dict, for errors.

    Raises:
      UserError: the network refuses the settings, keys are missing or unknown, or a
        weight has another shape, another type, or is not finite; lists them.
    """
    try:
      model = network(**settings)
    except ArgumentError as error:
      found = f"{error.where} {error.found}, not {error.expected}"
      raise self.refusal(where, found) from error
    image = jnp.zeros((1, 4, 4, model.channels))
    measurement = Measurement(jnp.zeros((1, 4, 4), jnp.complex64), jnp.ones((4, 4)))
    key = jax.random.key(0)
    expected = jax.eval_shape(model.init, key, image, measurement)["params"]
    expected = traverse_util.flatten_dict(expected, sep="/")
    names = {path: _rename(path, (*rules, *_COMMON)) for path in expected}
    axes = {path: _torch_axes(path, leaf.ndim) for path, leaf in expected.items()}
    shapes = {
      names[path]: tuple(leaf.shape[a] for a in axes[path])
      for path, leaf in expected.items()
    }
    if problems := _problems(state, shapes):
      raise self.refusal(where, "; ".join(problems))
    parameters = {
      path: jnp.asarray(
        np.asarray(state[names[path]], np.float32).transpose(np.argsort(axes[path]))
      )
      for path in expected
    }
    return model, {"params": traverse_util.unflatten_dict(parameters, sep="/")}


def arrays(params: Mapping[str, Any], rules: Rules) -> dict[str, np.ndarray]:
  """The state dict of a model's parameters, the inverse of `Kind.build`.

  Args:
    params: the parameters, nested by module.
    rules: how the path of a parameter becomes its name in PyTorch.

  Returns:
    Name -> float32 array in PyTorch's order of axes; layers in the order of their
    numbers, weight before bias.
  """
  flat = traverse_util.flatten_dict(params, sep="/")
  state = {
    _rename(path, (*rules, *_COMMON)): np.ascontiguousarray(
      np.asarray(leaf, np.float32).transpose(_torch_axes(path, np.ndim(leaf)))
    )
    for path, leaf in flat.items()
  }
  return {name: state[name] for name in sorted(state, key=_in_order)}


def indices(state: Mapping[str, Any], pattern: str) -> list[tuple[int, ...]]:
  """The numbers in the keys that match; a group that does not take part counts as 0.

  A number above the count of all keys belongs to no complete network and is omitted.
  """
  matches = [m for m in (re.fullmatch(pattern, key) for key in state) if m]
  numbers = [tuple(int(group or 0) for group in m.groups()) for m in matches]
  return [n for n in numbers if max(n) <= len(state)]


def subpixel_scale(state: Mapping[str, Any], name: str, features: int) -> int:
  """The scale of an upsampler with convolutions `name.0`, `name.2` ...

  Each has factor² times as many output channels as features.
  """
  outputs = [np.shape(state.get(f"{name}.{k}.weight"))[:1] for k in (0, 2, 4)]
  return math.prod(math.isqrt(o // features) for shape in outputs for o in shape)


def some(keys: Iterable[str]) -> str:
  """The first few names and how many more there are."""
  names = sorted(keys)
  more = f" and {len(names) - 6} more" if len(names) > 6 else ""
  return ", ".join(names[:6]) + more


def _problems(
  state: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> list[str]:
  problems = []
  if missing := shapes.keys() - state.keys():
    problems.append(f"missing {some(missing)}")
  if extra := state.keys() - shapes.keys():
    problems.append(f"unknown {some(extra)}")
  for key in shapes.keys() & state.keys():
    array = np.asarray(state[key])
    if array.shape != shapes[key]:
      problems.append(f"{key} of shape {array.shape} instead of {shapes[key]}")
    elif array.dtype.kind != "f" or not np.isfinite(array).all():
      problems.append(f"{key} of type {array.dtype} or with NaN or infinite values")
  return sorted(problems)


def _in_order(name: str) -> tuple:
  layer, _, kind = name.rpartition(".")
  numbers = [int(number) for number in re.findall(r"\d+", layer)]
  return re.sub(r"\d+", "", layer), numbers, kind != "weight", kind


def _rename(path: str, rules: Rules) -> str:
  for pattern, replacement in rules:
    path = re.sub(pattern, replacement, path)
  return path


def _torch_axes(path: str, rank: int) -> tuple[int, ...]:
  """Which axis of a parameter is PyTorch's first, second ...: kernels differ."""
  if path.endswith("kernel"):
    return {2: (1, 0), 4: (3, 2, 0, 1)}[rank]
  return tuple(range(rank))

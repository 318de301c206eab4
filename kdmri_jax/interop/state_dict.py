"""PyTorch state dicts: names, shapes, axes and errors."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.models import contract

# (pattern, replacement) for re.sub; the replacement may be a function of the match.
Rules = Sequence[tuple[str, Any]]

_SIZE = (512, 512)  # large enough for any network; weights do not depend on it
_LEVELS = 3  # of dicts in a checkpoint, at most, down to its state dict

# What DataParallel, torch.compile and trainers put before all names.
_WRAPPER = re.compile(r"((module|_orig_mod|model|net|network|unet|varnet)\.)*")

_COMMON: Rules = ((r"/(kernel|scale)$", ".weight"), ("/", "."))


class StateDict(dict[str, Any]):
  """PyTorch's name -> array.

  A prefix that all names have, such as `module.` of PyTorch's DataParallel, is dropped.

  Args:
    state: the state dict, or a checkpoint with one state dict among its entries or,
      where they have none, among the entries of these.
    where: the file or dict, for errors.
    source: the networks that it may be of, such as "the published EDSR".
    keys: their names of weights, in words.
    beside: pattern of names that are no weights, which are dropped.

  Raises:
    UserError: it is no dict, or has several state dicts among its entries.
  """

  def __init__(self, state: Any, where: Any, source: str, keys: str, beside: str = ""):
    self._where, self._source, self._keys = where, source, keys
    inner = _state_dicts(state)
    if len(inner) > 1:
      raise self.refusal(f"several state dicts, {some(inner)}")
    state = next(iter(inner.values()), state)
    if not isinstance(state, Mapping):
      raise self.refusal(f"a {type(state).__name__}")
    whole = {str(key): value for key, value in state.items()}
    for key in list(whole):
      if beside and re.fullmatch(beside, key.removeprefix(_wrapper(key))):
        del whole[key]
    wrapper = min(map(_wrapper, whole), key=len, default="")
    if not all(key.startswith(wrapper) for key in whole):
      wrapper = ""
    super().__init__({k.removeprefix(wrapper): v for k, v in whole.items()})
    for key, value in self.items():
      if isinstance(value, list | tuple | Mapping):  # of any depth: not a weight
        self[key] = type(value).__name__

  def refusal(self, found: str) -> UserError:
    """The error for what was found in the file or dict."""
    remedy = f"Use a checkpoint of {self._source}."
    return UserError(self._where, found, f"keys {self._keys}", remedy)

  def shape(self, key: str, axes: str) -> tuple:
    """Shape of a weight that determines sizes of the network.

    Args:
      key: the weight.
      axes: its axes, such as "O, I".

    Raises:
      UserError: it is missing, or has another number of axes, or is empty.
    """
    shape = np.shape(self.get(key))
    if len(shape) != len(axes.split(",")) or 0 in shape:
      raise self.refusal(f"no {key} [{axes}] among {some(self)}")
    return shape

  def indices(self, pattern: str) -> list[tuple[int, ...]]:
    """The numbers in the keys that match; a group that does not take part counts as 0.

    A number above the count of all keys belongs to no complete network and is omitted.
    """
    matches = filter(None, (re.fullmatch(pattern, key) for key in self))
    numbers = [tuple(int(group or 0) for group in m.groups()) for m in matches]
    return [n for n in numbers if max(n) <= len(self)]

  def subpixel_scale(self, name: str, features: int) -> int:
    """The scale of an upsampler with convolutions `name.0`, `name.2` ...

    Each has factor² times as many output channels as features.
    """
    outputs = [np.shape(self.get(f"{name}.{k}.weight"))[:1] for k in (0, 2, 4)]
    return math.prod(math.isqrt(o // features) for shape in outputs for o in shape)

  def build(
    self, network: type[nn.Module], settings: Mapping[str, Any], rules: Rules
  ) -> tuple[nn.Module, dict]:
    """The network and its variables; the state dict must hold exactly these.

    Args:
      network: its class.
      settings: its settings.
      rules: how the path of a parameter, such as "conv_1/kernel", becomes its name in
        PyTorch, "conv1.weight".

    Raises:
      UserError: the network refuses the settings, keys are missing or unknown, or a
        weight has another shape, another type, or is not finite; lists them.
    """
    try:
      model = network(**settings)
    except ArgumentError as error:
      found = f"{error.where} {error.found}, not {error.expected}"
      raise self.refusal(found) from error
    expected = contract.parameter_shapes(model, _SIZE)
    expected = traverse_util.flatten_dict(expected, sep="/")
    names = {path: _rename(path, rules) for path in expected}
    axes = {path: _torch_axes(path, leaf.ndim) for path, leaf in expected.items()}
    shapes = {
      names[path]: tuple(leaf.shape[a] for a in axes[path])
      for path, leaf in expected.items()
    }
    if problems := self._problems(shapes):
      raise self.refusal("; ".join(problems))
    parameters = {}
    for path, order in axes.items():
      array = np.asarray(self[names[path]], np.float32).transpose(np.argsort(order))
      parameters[path] = jnp.asarray(array)
    return model, {"params": traverse_util.unflatten_dict(parameters, sep="/")}

  def _problems(self, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    problems = []
    if missing := shapes.keys() - self.keys():
      problems.append(f"missing {some(missing)}")
    if extra := self.keys() - shapes.keys():
      problems.append(f"unknown {some(extra)}")
    for key in shapes.keys() & self.keys():
      array = np.asarray(self[key])
      if array.shape != shapes[key]:
        problems.append(f"{key} of shape {array.shape} instead of {shapes[key]}")
      elif array.dtype.kind != "f" or not np.isfinite(array).all():
        problems.append(f"{key} of type {array.dtype} or with NaN or infinite values")
    return sorted(problems)


def _state_dicts(state: Any) -> dict[str, Any]:
  """Dicts of arrays below a dict, by their keys, at the first level that has any."""
  level = {"": state}
  for _ in range(_LEVELS):
    if found := {key: value for key, value in level.items() if _is_of_arrays(value)}:
      return found
    level = {
      f"{outer}.{key}".removeprefix("."): value
      for outer, entries in level.items()
      if isinstance(entries, Mapping)
      for key, value in entries.items()
    }
  return {}


def _is_of_arrays(state: Any) -> bool:
  """Whether it is a dict of arrays alone, as state dicts are."""
  return isinstance(state, Mapping) and all(
    isinstance(value, np.ndarray) for value in state.values() or [None]
  )


def _wrapper(name: str) -> str:
  return next(_WRAPPER.finditer(name)).group()


def arrays(params: Mapping[str, Any], rules: Rules) -> dict[str, np.ndarray]:
  """The state dict of a model's parameters, the inverse of `StateDict.build`.

  Args:
    params: the parameters, nested by module.
    rules: how the path of a parameter becomes its name in PyTorch.

  Returns:
    Name -> float32 array in PyTorch's order of axes; layers in the order of their
    numbers, weight before bias.
  """
  state = {
    _rename(path, rules): np.ascontiguousarray(
      np.asarray(leaf, np.float32).transpose(_torch_axes(path, np.ndim(leaf)))
    )
    for path, leaf in traverse_util.flatten_dict(params, sep="/").items()
  }
  return {name: state[name] for name in sorted(state, key=_in_order)}


def some(keys: Iterable[str]) -> str:
  """The first few names and how many more there are."""
  names = sorted(keys)
  more = f" and {len(names) - 6} more" if len(names) > 6 else ""
  return ", ".join(names[:6]) + more


def _in_order(name: str) -> tuple:
  layer, _, kind = name.rpartition(".")
  numbers = [int(number) for number in re.findall(r"\d+", layer)]
  return re.sub(r"\d+", "", layer), numbers, kind != "weight", kind


def _rename(path: str, rules: Rules) -> str:
  for pattern, replacement in (*rules, *_COMMON):
    path = re.sub(pattern, replacement, path)
  return path


def _torch_axes(path: str, rank: int) -> tuple[int, ...]:
  """Which axis of a parameter is PyTorch's first, second ...: kernels differ."""
  if path.endswith("kernel"):
    return {2: (1, 0), 4: (3, 2, 0, 1)}[rank]
  return tuple(range(rank))

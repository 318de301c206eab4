"""Kernels that are trained as several convolutions and used as one.

All parts are linear, so they merge exactly into one 3x3 kernel. The network, its speed
and its number of parameters are those of the plain network; the training alone has more
weights, and so other steps. The parts have no biases of their own: with them the zeros
outside of the image would not stay zeros.
"""

import math
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kdmri_jax.errors import ArgumentError
from kdmri_jax.types import Array

_RATE = 2  # channels of `Expanded` per channel of the merged kernel


class Parallel(NamedTuple):
  """A 3x3 and a 1x1 convolution and a scaled identity, summed.

  Attributes:
    kernel: [3, 3, I, O].
    pointwise: [1, 1, I, O].
    identity: factor of each channel, [O], where I = O; else None.

  Source: Ding et al. 2021 (RepVGG, arXiv 2101.03697), without batch normalisation.
  """

  kernel: Any
  pointwise: Any
  identity: Any

  def merged(self) -> Array:
    """The kernel [3, 3, I, O] of the sum."""
    centre = self.pointwise
    if self.identity is not None:
      centre = centre + jnp.diag(self.identity)
    return self.kernel + jnp.pad(centre, ((1, 1), (1, 1), (0, 0), (0, 0)))


class Expanded(NamedTuple):
  """A 1x1, a 3x3 and a 1x1 convolution, one after the other.

  Attributes:
    expand: [1, 1, I, rI], r = 2.
    kernel: [3, 3, rI, rO].
    squeeze: [1, 1, rO, O].

  Source: Guo, Alvarez & Salzmann 2020 (ExpandNets, arXiv 1811.10495), whose r is 4.
  """

  expand: Any
  kernel: Any
  squeeze: Any

  def merged(self) -> Array:
    """The kernel [3, 3, I, O] of the composition."""
    first, last = self.expand[0, 0], self.squeeze[0, 0]
    exact = jax.lax.Precision.HIGHEST
    return jnp.einsum("ia,hwab,bo->hwio", first, self.kernel, last, precision=exact)


def split(params: Any, form: str, seed: int) -> Any:
  """The weights to train in place of a network's parameters, on the host.

  Every 3x3 kernel becomes a `Parallel` or an `Expanded`. They merge into the kernels
  that were given: exactly if parallel, else to float32 rounding.

  Args:
    params: the network's parameters; a 3x3 kernel is a leaf "kernel" [3, 3, I, O].
    form: "plain", which changes nothing, "parallel" or "expanded".
    seed: of the expanded kernels.

  Raises:
    ArgumentError: there is no 3x3 kernel; names `kernels`.
  """
  if form == "plain":
    return params

  def parts(path, leaf):
    if not _is_3x3(path, leaf):
      return leaf
    name = jax.tree_util.keystr(path)
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return FORMS[form](np.asarray(leaf), rng)

  weights = jax.tree_util.tree_map_with_path(parts, params)
  if jax.tree.structure(weights) == jax.tree.structure(params):
    found = f"{form!r}, for a network without 3x3 kernels"
    raise ArgumentError("kernels", found, "a network that has some", "Use 'plain'.")
  return weights


def merge(weights: Any) -> Any:
  """The parameters of plain networks; trees without `split` kernels stay as they are.

  Args:
    weights: any pytree with networks' weights, from `split` or plain.
  """
  return jax.tree.map(
    lambda node: node.merged() if is_split(node) else node, weights, is_leaf=is_split
  )


def is_split(node: Any) -> bool:
  """Whether a node of a pytree is a kernel of `split`."""
  return isinstance(node, Parallel | Expanded)


def _is_3x3(path, leaf) -> bool:
  name = jax.tree_util.keystr(path[-1:], simple=True)
  return name == "kernel" and leaf.ndim == 4 and leaf.shape[:2] == (3, 3)


def _parallel(kernel: np.ndarray, rng: np.random.Generator) -> Parallel:
  """The other two begin at 0, where their gradients do not vanish."""
  del rng
  inputs, outputs = kernel.shape[2:]
  pointwise = np.zeros((1, 1, inputs, outputs), kernel.dtype)
  identity = np.zeros(outputs, kernel.dtype) if inputs == outputs else None
  return Parallel(kernel, pointwise, identity)


def _expanded(kernel: np.ndarray, rng: np.random.Generator) -> Expanded:
  """Random weights; the 3x3 ones are corrected until all merge into the kernel.

  The 1x1 kernels E and S are orthogonal: E E^T = 1 and S^T S = 1. So W + E^T (K - E W
  S) S^T merges into K. The random W has PyTorch's bound for its number of inputs.
  """
  inputs, outputs = kernel.shape[2:]
  shape = (3, 3, _RATE * inputs, _RATE * outputs)
  expand = np.linalg.qr(rng.normal(size=(shape[2], inputs)))[0].T
  squeeze = np.linalg.qr(rng.normal(size=(shape[3], outputs)))[0]
  inner = rng.uniform(-1, 1, shape) / math.sqrt(math.prod(shape[:3]))
  inner += expand.T @ (kernel - expand @ inner @ squeeze) @ squeeze.T
  parts = (expand[None, None], inner, squeeze[None, None])
  return Expanded(*(part.astype(kernel.dtype) for part in parts))


FORMS: dict[str, Callable[[np.ndarray, np.random.Generator], Any]] = {
  "parallel": _parallel,
  "expanded": _expanded,
}

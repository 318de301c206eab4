"""FSP: how one layer's features flow into the next (Yim et al. 2017)."""

from itertools import pairwise

import chex
import jax.numpy as jnp
from jax import lax

from kdmri_jax.distillation._vectors import sum_over_layers
from kdmri_jax.distillation.method import Method
from kdmri_jax.types import Array


def flow(first: Array, second: Array) -> Array:
  """FSP matrix G_ij = sum_hw F1_hwi F2_hwj / (H W).

  Args:
    first: features of a layer, float [B, H, W, C1].
    second: features of a later layer, float [B, H, W, C2].

  Returns:
    [B, C1, C2].

  Raises:
    ValueError: the maps differ in size.

  Source: Yim et al. 2017 (CVPR), the FSP matrix.
  """
  size = first.shape[1:3]
  if size != second.shape[1:3]:
    raise ValueError(
      f"FSP pairs layers of one map size, not {size} and {second.shape[1:3]}"
    )
  sums = jnp.einsum("bhwi,bhwj->bij", first, second, precision=lax.Precision.HIGHEST)
  return sums / (size[0] * size[1])


def represent(features: tuple[Array, ...]) -> tuple[Array, ...]:
  """The FSP matrix of each layer and the one listed after it.

  Raises:
    ValueError: fewer than two layers, or the maps of a pair differ in size.
  """
  if len(features) < 2:
    raise ValueError(
      f"FSP compares pairs of consecutive layers: name 2 or more, not {len(features)}"
    )
  return tuple(flow(first, second) for first, second in pairwise(features))


def distance(student: Array, teacher: Array) -> Array:
  """Mean |G_T - G_S|^2 of one pair of layers, over the matrix and the images.

  Args:
    student: FSP matrices [B, C1, C2].
    teacher: likewise.

  Returns:
    Scalar. The method sums it over the pairs of layers.

  Raises:
    AssertionError: the shapes differ.

  Source: Yim et al. 2017, the cost of the FSP matrix, lambda_i = 1/(C1 C2).
  """
  chex.assert_equal_shape([student, teacher])
  return jnp.square(student - teacher).mean()


VARIANTS = {"paper": Method(represent, sum_over_layers(distance), matches="channels")}

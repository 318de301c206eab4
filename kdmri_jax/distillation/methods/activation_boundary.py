"""Activation boundaries: the student's neurons fire where the teacher's do.

Heo et al. 2019 (arXiv 1811.03233).
"""

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from kdmri_jax.distillation._layers import Conv, SumOverLayers
from kdmri_jax.distillation.method import Method, identity
from kdmri_jax.types import Array

_MARGIN = 1.0


def boundary(student: Array, teacher: Array) -> Array:
  """| rho(t) relu(1 - s) + (1 - rho(t)) relu(1 + s) |^2, rho(t) = 1 where t > 0.

  Args:
    student: pre-activations, after the connector, [B, H, W, C].
    teacher: hint layer [B, H, W, C], before or after its ReLU: only its sign counts.

  Returns:
    Scalar, summed over pixels and channels, mean over the images; 0 when every s is
    on the teacher's side of 0 by 1 or more.

  Raises:
    AssertionError: the shapes differ.

  Source: Heo et al. 2019, margin 1.
  """
  chex.assert_equal_shape([student, teacher])
  side = jnp.where(teacher > 0, 1.0, -1.0)
  lacking = jax.nn.relu(_MARGIN - side * student)
  return jnp.square(lacking).sum(axis=(1, 2, 3)).mean()


def reference(student: tuple[Array, ...], teacher: tuple[Array, ...]) -> Array:
  """3/1000 of `boundary`, halved with each layer before the last, float [layers].

  The published code sums over pixels and channels and so grows with the image: the
  weights are 1/2 and 1 for two layers.

  Args:
    student: pre-activations [B, H, W, C], one per layer.
    teacher: hint layers [B, H, W, C].

  Raises:
    AssertionError: the shapes differ.
    ValueError: the number of layers differs.
  """
  values = [boundary(s, t) for s, t in zip(student, teacher, strict=True)]
  weights = [0.5 ** (len(values) - k) for k in range(1, len(values) + 1)]
  return 3 / 1000 * jnp.array(weights) * jnp.stack(values)


class Paper(SumOverLayers):
  """sum_layers of `boundary` after connectors, as a mean over pixels and channels.

  The connectors are 1x1 convolutions without batch normalisation. The paper sums over
  pixels and channels; the mean does not grow with the image.
  """

  def compare(self, number: int, student: Array, teacher: Array) -> Array:
    """Scalar of a guided layer [B, H, W, Cs] and its hint [B, H, W, Ct]."""
    connector = Conv(teacher.shape[-1], (1, 1), name=f"connector_{number}")
    return boundary(connector(student), teacher) / teacher[0].size


class Reference(nn.Module):
  """The sum of `reference` after connectors, as in `Paper`."""

  @nn.compact
  def __call__(self, student: tuple[Array, ...], teacher: tuple[Array, ...]) -> Array:
    """Scalar of guided layers [B, H, W, Cs] and hint layers [B, H, W, Ct]."""
    connected = tuple(
      Conv(t.shape[-1], (1, 1), name=f"connector_{k}")(s)
      for k, (s, t) in enumerate(zip(student, teacher, strict=True), 1)
    )
    return reference(connected, teacher).sum()


VARIANTS = {
  "paper": Method(identity, Paper, matches="size"),
  "reference": Method(identity, Reference, matches="size"),
}

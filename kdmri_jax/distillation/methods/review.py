"""Knowledge review: the teacher's early layers teach the student's deeper ones too.

Chen et al. 2021 (arXiv 2104.09044).
"""

import chex
import jax.numpy as jnp
from flax import linen as nn

from kdmri_jax.distillation._layers import Conv
from kdmri_jax.distillation._vectors import shrink
from kdmri_jax.distillation.method import Method, identity
from kdmri_jax.types import Array

_LEVELS = (4, 2, 1)


def hierarchical_context(student: Array, teacher: Array) -> Array:
  """Mean squares at full size and of averages over a grid of 4x4, 2x2 and 1 windows.

  Their weights are 1, 1/2, 1/4 and 1/8, divided by the sum of the weights. Windows
  overlap by a pixel where the size is not a multiple of their number.

  Args:
    student: [B, H, W, C].
    teacher: [B, H, W, C].

  Returns:
    Scalar, mean over images, pixels or windows, and channels.

  Raises:
    AssertionError: the shapes differ.

  Source: Chen et al. 2021, the hierarchical context loss (HCL).
  """
  chex.assert_equal_shape([student, teacher])
  difference = student - teacher
  levels = [difference, *(shrink(difference, (count, count)) for count in _LEVELS)]
  weights = [0.5**k for k in range(len(levels))]
  pairs = zip(weights, levels, strict=True)
  return sum(w * jnp.square(level).mean() for w, level in pairs) / sum(weights)


class Fusion(nn.Module):
  """Attention-based fusion (ABF) of a layer with the output of the deeper ones.

  Attributes:
    width: channels of the features passed to the next layer.
    channels: of the teacher's layer.
  """

  width: int
  channels: int

  @nn.compact
  def __call__(self, layer: Array, deeper: Array | None) -> tuple[Array, Array]:
    """Fuses.

    Args:
      layer: the student's layer [B, H, W, C].
      deeper: passed on by the next deeper layer [B, H, W, width]; None for the
        deepest.

    Returns:
      Features to compare with the teacher [B, H, W, channels], and features for the
      next layer [B, H, W, width].
    """
    fused = Conv(self.width, (1, 1), name="reduce")(layer)
    if deeper is not None:
      both = jnp.concatenate([fused, deeper], axis=-1)
      attention = nn.sigmoid(Conv(2, (1, 1), name="attention")(both))
      fused = attention[..., :1] * fused + attention[..., 1:] * deeper
    return Conv(self.channels, (3, 3), name="expand")(fused), fused


class Review(nn.Module):
  """sum_layers HCL(ABF(s_k, ABF(s_k+1, ...)), t_k).

  No batch normalisation, and no resizing: all layers have one height and width.
  """

  @nn.compact
  def __call__(self, student: tuple[Array, ...], teacher: tuple[Array, ...]) -> Array:
    """The value of a batch.

    Args:
      student: two or more guided layers [B, H, W, Cs], from the first on.
      teacher: as many hint layers [B, H, W, Ct].

    Returns:
      Scalar, mean over the images.

    Raises:
      AssertionError: B, H or W differ.
      ValueError: a single layer, or the number of layers differs.
    """
    if len(student) < 2:
      raise ValueError("knowledge review needs two layers or more, found one")
    chex.assert_equal_shape_prefix([*student, *teacher], 3)
    width = teacher[-1].shape[-1]
    pairs = list(enumerate(zip(student, teacher, strict=True), 1))
    value, fused = 0.0, None
    for k, (s, t) in reversed(pairs):
      fusion = Fusion(width, t.shape[-1], name=f"fusion_{k}")
      compared, fused = fusion(s, fused)
      value += hierarchical_context(compared, t)
    return value


VARIANTS = {"paper": Method(identity, Review, matches="size")}

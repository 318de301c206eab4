"""Masked generative distillation: the teacher's layer from half of the student's.

Yang et al. 2022 (arXiv 2205.01529).
"""

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from kdmri_jax.distillation._layers import Conv, SumOverLayers
from kdmri_jax.distillation.method import Context, Method, identity
from kdmri_jax.types import Array

_MASKED = 0.5


def draw_masks(draws: Array, layer: int, size: tuple[int, int]) -> Array:
  """Masks of the student's pixels: each is 0 with probability 1/2, else 1.

  Args:
    draws: a number for each image, uint32 [B]; see `Context`.
    layer: number of the layer; every layer has different masks.
    size: height and width.

  Returns:
    bool [B, H, W, 1]; the mask of an image depends only on its own number.
  """

  def draw_one(draw):
    key = jax.random.fold_in(jax.random.key(draw), layer)
    return jax.random.uniform(key, (*size, 1), jnp.float32) >= _MASKED

  return jax.vmap(draw_one)(draws)


class Generator(nn.Module):
  """3x3 convolution, ReLU, 3x3 convolution.

  Attributes:
    channels: of the teacher's layer.
  """

  channels: int

  @nn.compact
  def __call__(self, masked: Array) -> Array:
    """[B, H, W, C] -> [B, H, W, channels]."""
    x = nn.relu(Conv(self.channels, (3, 3))(masked))
    return Conv(self.channels, (3, 3))(x)


class MaskedGeneration(SumOverLayers):
  """sum_layers (t - G(s M))^2, with a random mask M over pixels and a generator G.

  Averaged over pixels and channels where the paper sums. The first convolution of G
  maps the student's channels to the teacher's, instead of the paper's 1x1 layer before
  the mask. The share of masked pixels is 1/2.
  """

  def compare(
    self, number: int, student: Array, teacher: Array, context: Context
  ) -> Array:
    """Scalar of a guided layer [B, H, W, Cs] and its hint [B, H, W, Ct].

    The context's draws decide the mask.
    """
    mask = draw_masks(context.draws, number, student.shape[1:3])
    generator = Generator(teacher.shape[-1], name=f"generator_{number}")
    generated = generator(student * mask)
    chex.assert_equal_shape([generated, teacher])
    return jnp.square(generated - teacher).mean()


VARIANTS = {
  "paper": Method(identity, MaskedGeneration, uses_context=True, matches="size")
}

"""Distance of two images in the features of a network trained on photographs."""

import dataclasses

import chex
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from kdmri_jax.ops import xla
from kdmri_jax.ops.norm import norm
from kdmri_jax.types import Array

# Normalisation of torchvision's networks, for intensities of 0..1.
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)
_BLOCKS = 4

Convolution = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Perceptual:
  """sum_blocks |phi_b(p) - phi_b(t)|^2, a mean over the values of each block.

  phi_b is the last activation before the pooling that ends block b, of the first four
  blocks: relu1_2, relu2_2, relu3_3 and relu4_3 in VGG-16.

  Attributes:
    blocks: the convolutions between two poolings, in order: kernel float32
      [3, 3, I, O] and bias [O] of each, as `interop.load_vgg` reads them.
  """

  blocks: tuple[tuple[Convolution, ...], ...]

  def __call__(self, prediction: Array, target: Array) -> Array:
    """The distance of each image.

    Args:
      prediction: float [B, H, W, C], C = 1 or 2, about 0..1; H and W at least 8.
      target: float [B, H, W, C].

    Returns:
      [B]; the caller reduces. Complex images are compared by magnitude; a grey image is
      used for all three colours.

    Raises:
      AssertionError: the shapes differ, or the images are too small.

    Source: Johnson et al. 2016 (arXiv 1603.08155), the feature reconstruction loss.
    """
    chex.assert_equal_shape([prediction, target])
    blocks = self.blocks[:_BLOCKS]
    for axis in (1, 2):
      chex.assert_axis_dimension_gteq(target, axis, 2 ** (len(blocks) - 1))
    p, t = _photograph(prediction), _photograph(target)
    distance = jnp.zeros(len(p))
    for k, block in enumerate(blocks):
      if k:
        p, t = (nn.max_pool(x, (2, 2), strides=(2, 2)) for x in (p, t))
      for kernel, bias in block:
        p, t = (nn.relu(xla.convolve(x, jnp.asarray(kernel)) + bias) for x in (p, t))
      distance += jnp.square(p - t).mean(axis=(1, 2, 3))
    return distance


def _photograph(image: Array) -> Array:
  image = norm(image) if image.shape[-1] == 2 else image
  return (image - jnp.array(_MEAN)) / jnp.array(_DEVIATION)

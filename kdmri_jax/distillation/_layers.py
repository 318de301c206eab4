"""Building blocks of the methods with weights."""

from flax import linen as nn

from kdmri_jax.distillation.method import Context
from kdmri_jax.ops.convolution import convolve
from kdmri_jax.types import Array


class Conv(nn.Module):
  """A zero-padded convolution with bias; weights are drawn as flax's `Conv` does.

  Attributes:
    features: channels of the output.
    kernel_size: rows and columns of the kernel, equal and odd.
  """

  features: int
  kernel_size: tuple[int, int]

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """[B, H, W, I] -> [B, H, W, features]."""
    shape = (*self.kernel_size, x.shape[-1], self.features)
    kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    return convolve(x, kernel, bias)


class SumOverLayers(nn.Module):
  """Sum of a distance that has weights of its own for each layer.

  A subclass defines `compare(number, student, teacher, *context)`, the scalar of one
  layer. The layer's number, from 1, names its submodules.
  """

  @nn.compact
  def __call__(
    self, student: tuple[Array, ...], teacher: tuple[Array, ...], *context: Context
  ) -> Array:
    """The value of a batch.

    Args:
      student: guided layers [B, H, W, Cs].
      teacher: hint layers [B, H, W, Ct].
      *context: the `Context` of the same images, if the method uses it.

    Returns:
      Scalar, mean over the images.

    Raises:
      AssertionError: B, H or W differ.
      ValueError: the number of layers differs.
    """
    pairs = enumerate(zip(student, teacher, strict=True), 1)
    return sum(self.compare(k, s, t, *context) for k, (s, t) in pairs)

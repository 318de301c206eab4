"""Layers of the Swin Transformer (Liu et al. 2021, arXiv 2103.14030).

An image is divided into windows of w x w pixels; the N = w² pixels of a window attend
to each other. In every second layer the windows are shifted by half a window, so that
neighbouring windows exchange information.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from kdmri_jax.types import Array

# Added to the attention of pixels that must not attend to each other, as published.
_APART = -100.0


def partition(x: Array, window: int) -> Array:
  """Cuts [B, H, W, C] into windows, row by row: [B, windows, N, C]."""
  batch, height, width, channels = x.shape
  x = x.reshape(batch, height // window, window, width // window, window, channels)
  return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, -1, window**2, channels)


def merge(windows: Array, height: int, width: int) -> Array:
  """Reassembles the windows of `partition`: [B, windows, N, C] -> [B, H, W, C]."""
  batch, _, pixels, channels = windows.shape
  window = math.isqrt(pixels)
  shape = (batch, height // window, width // window, window, window, channels)
  x = windows.reshape(shape).transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(batch, height, width, channels)


def shift_mask(height: int, width: int, window: int) -> Array:
  """Separates opposite borders, which the cyclic shift brings into one window.

  Args:
    height, width: of the image, multiples of the window.
    window: rows and columns of a window; they are shifted by half of it.

  Returns:
    The summand of the attention, float32 [windows, N, N]: 0 or -100.
  """
  wrapped = [np.arange(size) >= size - window // 2 for size in (height, width)]
  region = 2 * wrapped[0][:, None] + wrapped[1]
  region = partition(jnp.asarray(region, jnp.int8)[None, ..., None], window)[0, :, :, 0]
  return jnp.where(region[:, :, None] == region[:, None, :], 0.0, _APART)


def relative_positions(window: int) -> np.ndarray:
  """Row of the bias table for each pair of pixels (query, key) of a window.

  Returns:
    int [N, N]: (dy + w-1) (2w-1) + dx + w-1, (dy, dx) from the key to the query.
  """
  y, x = np.divmod(np.arange(window**2), window)
  dy, dx = y[:, None] - y, x[:, None] - x
  return (dy + window - 1) * (2 * window - 1) + dx + window - 1


class WindowAttention(nn.Module):
  """softmax(q k^T / sqrt(d) + bias) v in each window, by several heads at once.

  Attributes:
    heads: number of heads; d = C / heads.
  """

  heads: int

  @nn.compact
  def __call__(self, windows: Array, mask: Array | None = None) -> Array:
    """Lets the pixels of each window attend to each other.

    Args:
      windows: [B, windows, N, C].
      mask: added to the attention, [windows, N, N], or None.

    Returns:
      [B, windows, N, C].
    """
    batch, count, pixels, channels = windows.shape
    window = math.isqrt(pixels)
    shape = (batch, count, pixels, self.heads, channels // self.heads)
    qkv = jnp.split(_dense(windows, 3 * channels, "qkv"), 3, axis=-1)
    q, k, v = (part.reshape(shape).transpose(0, 1, 3, 2, 4) for part in qkv)
    rows = (2 * window - 1) ** 2
    table = self.param("bias_table", _normal, (rows, self.heads), jnp.float32)
    bias = table[relative_positions(window)].transpose(2, 0, 1)
    attention = _einsum("bwhqd,bwhkd->bwhqk", q / math.sqrt(shape[-1]), k) + bias
    if mask is not None:
      attention = attention + mask[:, None]
    x = _einsum("bwhqk,bwhkd->bwhqd", nn.softmax(attention), v)
    x = x.transpose(0, 1, 3, 2, 4).reshape(windows.shape)
    return _dense(x, channels, "projection")


class SwinLayer(nn.Module):
  """x + attention(norm(x)) in windows, then x + MLP(norm(x)) in each pixel.

  Attributes:
    heads: number of heads.
    window: rows and columns of a window.
    mlp_ratio: hidden channels of the MLP per channel.
  """

  heads: int
  window: int
  mlp_ratio: int

  @nn.compact
  def __call__(self, x: Array, mask: Array | None = None) -> Array:
    """Runs the layer.

    Args:
      x: [B, H, W, C], H and W multiples of the window.
      mask: `shift_mask` for shifted windows, else None.

    Returns:
      [B, H, W, C].
    """
    _, height, width, channels = x.shape
    shift = 0 if mask is None else self.window // 2
    windows = jnp.roll(layer_norm("norm_1")(x), (-shift, -shift), axis=(1, 2))
    windows = partition(windows, self.window)
    windows = WindowAttention(self.heads, name="attention")(windows, mask)
    attended = merge(windows, height, width)
    x = x + jnp.roll(attended, (shift, shift), axis=(1, 2))
    hidden = _dense(layer_norm("norm_2")(x), self.mlp_ratio * channels, "mlp_1")
    return x + _dense(nn.gelu(hidden, approximate=False), channels, "mlp_2")


def layer_norm(name: str) -> nn.LayerNorm:
  """Normalises the channels of each pixel, as PyTorch does."""
  return nn.LayerNorm(epsilon=1e-5, use_fast_variance=False, name=name)


# The published code cuts the distribution off at 100 standard deviations.
_normal = nn.initializers.normal(0.02)


def _dense(x: Array, features: int, name: str) -> Array:
  """[..., I] -> [..., features]; flat, because XLA is slow with more axes on a CPU."""
  dense = nn.Dense(
    features, kernel_init=_normal, precision=jax.lax.Precision.HIGHEST, name=name
  )
  return dense(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], features)


def _einsum(formula: str, *arrays: Array) -> Array:
  return jnp.einsum(formula, *arrays, precision=jax.lax.Precision.HIGHEST)

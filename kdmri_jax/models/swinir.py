"""SwinIR: image restoration by attention in shifted windows (Liang et al. 2021).

Liang et al., SwinIR: Image restoration using Swin Transformer, arXiv 2108.10257. The
defaults are its network for denoising grey images (11,497,681 parameters). The light
one has `depths=(6,) * 4`, `features=60` and about 0.9 million.
"""

from typing import ClassVar

import jax.numpy as jnp
from flax import linen as nn

from kdmri_jax.errors import ArgumentError
from kdmri_jax.models.arguments import (
  check_choice,
  check_image,
  check_mean,
  check_sizes,
)
from kdmri_jax.models.cnn import convolve
from kdmri_jax.models.subpixel import Upsampler, shuffle
from kdmri_jax.models.swin import SwinLayer, layer_norm, shift_mask
from kdmri_jax.types import Array, Measurement, Outputs

# Channels before the last convolution, where the upsampler is one of several steps.
WIDTH = 64


class ResidualConvolution(nn.Module):
  """The convolutions at the end of a group of layers, before its residue is added.

  Attributes:
    kind: "1conv" or "3conv", see `SwinIR.residual`.
  """

  kind: str

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """[B, H, W, C] -> [B, H, W, C]."""
    channels = x.shape[-1]
    if self.kind == "3conv":
      x = nn.leaky_relu(convolve(x, channels // 4, "conv_1"), 0.2)
      x = nn.leaky_relu(convolve(x, channels // 4, "conv_2", size=1), 0.2)
      return convolve(x, channels, "conv_3")
    return convolve(x, channels, "conv_1")


class RSTB(nn.Module):
  """A residual group: Swin layers and a convolution, x + conv(layers(x)).

  Sows `activation_J`, the output of layer J from 1, and `output`.

  Attributes:
    depth: number of layers; the second, fourth ... have shifted windows.
    heads, window, mlp_ratio, residual: see `SwinIR`.
  """

  depth: int
  heads: int
  window: int
  mlp_ratio: int
  residual: str

  @nn.compact
  def __call__(self, x: Array, mask: Array, size: tuple[int, int]) -> Array:
    """Runs the group.

    Args:
      x: [B, H, W, C], H and W multiples of the window.
      mask: `shift_mask` of this size.
      size: rows and columns of sown features.

    Returns:
      [B, H, W, C].
    """
    height, width = size
    begin = x
    for j in range(1, self.depth + 1):
      layer = SwinLayer(self.heads, self.window, self.mlp_ratio, name=f"layer_{j}")
      x = layer(x, mask if j % 2 == 0 else None)
      self.sow("intermediates", f"activation_{j}", x[:, :height, :width])
    x = begin + ResidualConvolution(self.residual, name="conv")(x)
    self.sow("intermediates", "output", x[:, :height, :width])
    return x


class SwinIR(nn.Module):
  """A convolution, groups of Swin layers (RSTB) each with a residue, the image.

  An image of any size is reflected at its lower and right border up to a multiple of
  the window, and the result cropped. Stochastic depth, with which the published
  networks were trained at a rate of 0.1, is omitted.

  Sows `head`, the first convolution's output; `rstb_K/activation_J`, the output of
  layer J of group K, both from 1; `rstb_K/output`, that of the group; `body`, the
  features that the upsampler reads; all [B, H, W, features], already cropped.

  Attributes:
    depths: Swin layers of each group; every second one has shifted windows.
    features: channels of the hidden layers, a multiple of `heads`.
    heads: number of attention heads.
    window: rows and columns of a window.
    mlp_ratio: hidden channels of a layer's MLP per channel.
    residual: the end of each group, and of all groups: "1conv", a 3x3 convolution;
      "3conv", three through a quarter of the channels.
    upsampler: "" adds the input image, scale 1; "pixelshuffle" is a sub-pixel
      convolution per factor of the scale (2, 3, 4 or 8); "pixelshuffledirect" a single
      one straight to the image (2, 3 or 4), for light networks; "nearest+conv" repeats
      pixels before each convolution (4).
    scale: factor of height and width.
    channels: channels of the images.
    mean: subtracted from the channels before and added after, as in the published
      networks for colour images; () for none.
  """

  depths: tuple[int, ...] = (6, 6, 6, 6, 6, 6)
  features: int = 180
  heads: int = 6
  window: int = 8
  mlp_ratio: int = 2
  residual: str = "1conv"
  upsampler: str = ""
  scale: int = 1
  channels: int = 1
  mean: tuple[float, ...] = ()

  SCALES: ClassVar[dict[str, tuple[int, ...]]] = {
    "": (1,),
    "pixelshuffle": (2, 3, 4, 8),
    "pixelshuffledirect": (2, 3, 4),
    "nearest+conv": (4,),
  }

  def __post_init__(self):
    """Raises ValueError for settings that do not fit together."""
    check_sizes(
      depths=self.depths,
      features=self.features,
      heads=self.heads,
      window=self.window,
      mlp_ratio=self.mlp_ratio,
      channels=self.channels,
    )
    if self.features % self.heads:
      raise ArgumentError("features", f"{self.features}", f"a multiple of {self.heads}")
    check_choice("residual", self.residual, ("1conv", "3conv"))
    check_choice("upsampler", self.upsampler, tuple(self.SCALES))
    check_choice("scale", self.scale, self.SCALES[self.upsampler])
    check_mean(self.mean, self.channels)
    super().__post_init__()

  @nn.compact
  def __call__(self, image: Array, measurement: Measurement | None = None) -> Outputs:
    """Restores an image.

    Args:
      image: float32 [B, H, W, channels], of any size.
      measurement: not used.

    Returns:
      float32 [B, scale H, scale W, channels].

    Raises:
      ValueError: the image has another number of channels.
    """
    del measurement
    check_image(image, self.channels)
    height, width = image.shape[1:3]
    mean = jnp.asarray(self.mean or 0.0, image.dtype)
    image = _pad(image - mean, self.window)
    mask = shift_mask(image.shape[1], image.shape[2], self.window)
    head = convolve(image, self.features, "conv_first")
    self.sow("intermediates", "head", head[:, :height, :width])
    x = layer_norm("norm_first")(head)
    settings = (self.heads, self.window, self.mlp_ratio, self.residual)
    for k, depth in enumerate(self.depths, start=1):
      x = RSTB(depth, *settings, name=f"rstb_{k}")(x, mask, (height, width))
    x = layer_norm("norm_last")(x)
    x = head + ResidualConvolution(self.residual, name="conv_body")(x)
    self.sow("intermediates", "body", x[:, :height, :width])
    x = self._to_image(x)
    if not self.upsampler:
      x = image + x
    return Outputs(mean + x[:, : self.scale * height, : self.scale * width])

  def _to_image(self, x: Array) -> Array:
    """[B, H, W, features] -> [B, scale H, scale W, channels]."""
    if self.upsampler == "pixelshuffledirect":
      x = convolve(x, self.scale**2 * self.channels, "conv_up")
      return shuffle(x, self.scale)
    if self.upsampler:
      x = nn.leaky_relu(convolve(x, WIDTH, "conv_before"), 0.01)
    if self.upsampler == "pixelshuffle":
      x = Upsampler(self.scale, name="upsampler")(x)
    if self.upsampler == "nearest+conv":
      for k in (1, 2):
        x = x.repeat(2, axis=1).repeat(2, axis=2)
        x = nn.leaky_relu(convolve(x, WIDTH, f"conv_up_{k}"), 0.2)
      x = nn.leaky_relu(convolve(x, WIDTH, "conv_high"), 0.2)
    return convolve(x, self.channels, "conv_last")


def _pad(image: Array, window: int) -> Array:
  """Reflects the lower and the right border up to multiples of the window."""
  _, height, width, _ = image.shape
  margins = ((0, 0), (0, -height % window), (0, -width % window), (0, 0))
  return jnp.pad(image, margins, mode="reflect")

"""The published networks once more, in PyTorch and by the papers' definitions.

Written to check the networks of the package with: no windows are cut, no image is
rolled; every pixel attends to those of its window among all pixels of the image. Run
as a script, it computes the golden numbers:

    python tests/helpers/torch_networks.py
"""

import math
import pathlib

import numpy as np
import torch
from helpers import published_networks
from torch.nn import functional as F  # noqa: N812

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


def swinir(settings, state, image):
  """Runs a SwinIR.

  Args:
    settings: those of the package's model.
    state: name -> array, as published.
    image: [B, H, W, C].

  Returns:
    The features by the package's names, float32 [B, H, W, C]; "image" is the result.
  """
  window, heads = settings["window"], settings["heads"]
  upsampler, scale = settings.get("upsampler", ""), settings.get("scale", 1)
  run = _Layers(state)
  height, width = image.shape[1:3]
  mean = torch.tensor(settings.get("mean") or [0.0]).view(1, -1, 1, 1)
  x = torch.from_numpy(image).permute(0, 3, 1, 2)
  x = F.pad(x, (0, -width % window, 0, -height % window), mode="reflect") - mean
  features = {}

  def keep(name, channels_first):
    values = channels_first[:, :, :height, :width].permute(0, 2, 3, 1)
    features[name] = values.numpy()

  first = run.convolution("conv_first", x)
  keep("head", first)
  y = run.norm("patch_embed.norm", first)
  for k, depth in enumerate(settings["depths"]):
    group = y
    for j in range(depth):
      name = f"layers.{k}.residual_group.blocks.{j}"
      offset = window // 2 if j % 2 else 0
      y = y + run.attention(f"{name}.attn", run.norm(f"{name}.norm1", y), heads, offset)
      hidden = F.gelu(run.linear(f"{name}.mlp.fc1", run.norm(f"{name}.norm2", y)))
      y = y + run.linear(f"{name}.mlp.fc2", hidden)
      keep(f"rstb_{k + 1}/activation_{j + 1}", y)
    y = group + run.residual(f"layers.{k}.conv", y)
    keep(f"rstb_{k + 1}/output", y)
  y = first + run.residual("conv_after_body", run.norm("norm", y))
  keep("body", y)
  if upsampler == "":
    y = x + run.convolution("conv_last", y)
  elif upsampler == "pixelshuffledirect":
    y = F.pixel_shuffle(run.convolution("upsample.0", y), scale)
  else:
    y = F.leaky_relu(run.convolution("conv_before_upsample.0", y))
    if upsampler == "pixelshuffle":
      y = run.subpixel("upsample", y, scale)
    else:
      for name in ("conv_up1", "conv_up2"):
        y = F.interpolate(y, scale_factor=2, mode="nearest")
        y = F.leaky_relu(run.convolution(name, y), 0.2)
      y = F.leaky_relu(run.convolution("conv_hr", y), 0.2)
    y = run.convolution("conv_last", y)
  y = (y + mean)[:, :, : scale * height, : scale * width]
  return features | {"image": y.permute(0, 2, 3, 1).numpy()}


def edsr(settings, state, image):
  """Runs an EDSR; see `swinir`."""
  run = _Layers(state)
  mean = torch.tensor(settings.get("mean") or [0.0]).view(1, -1, 1, 1)
  features = {}

  def keep(name, channels_first):
    features[name] = channels_first.permute(0, 2, 3, 1).numpy()

  x = torch.from_numpy(image).permute(0, 3, 1, 2) - mean
  head = y = run.convolution("head.0", x)
  keep("head", head)
  for k in range(settings["blocks"]):
    hidden = run.convolution(f"body.{k}.body.0", y).clamp(min=0)
    keep(f"block_{k + 1}/activation", hidden)
    residue = run.convolution(f"body.{k}.body.2", hidden)
    y = y + settings.get("res_scale", 1.0) * residue
    keep(f"block_{k + 1}/output", y)
  y = head + run.convolution(f"body.{settings['blocks']}", y)
  keep("body", y)
  y = run.subpixel("tail.0", y, settings.get("scale", 1))
  keep("image", run.convolution("tail.1", y) + mean)
  return features


def unet(settings, state, image):
  """Runs a U-Net on standardised images; see `swinir`."""
  x = torch.from_numpy(image).permute(0, 3, 1, 2)
  mean = torch.stack([each.mean() for each in x]).view(-1, 1, 1, 1)
  deviation = torch.stack([each.std() for each in x]).view(-1, 1, 1, 1)
  x = ((x - mean) / deviation).clamp(-6, 6)
  y, features = _unet(_Layers(state), settings["levels"], x)
  y = y * deviation + mean
  return features | {"image": y.permute(0, 2, 3, 1).numpy()}


def _unet(run, levels, y, prefix=""):
  """The U-Net itself on [B, C, H, W], and its features."""
  features = {}

  def block(name, ours, x):
    for k in (0, 4):
      x = F.conv2d(x, run.state[f"{prefix}{name}.layers.{k}.weight"], padding=1)
      x = F.leaky_relu(F.instance_norm(x), 0.2)
      features[f"{ours}/activation_{k // 4 + 1}"] = x.permute(0, 2, 3, 1).numpy()
    return x

  skips = []
  for k in range(levels):
    skips.append(block(f"down_sample_layers.{k}", f"down_{k + 1}", y))
    y = F.avg_pool2d(skips[-1], 2)
  y = block("conv", "bottom", y)
  for k in range(levels):
    skip = skips.pop()
    weight = run.state[f"{prefix}up_transpose_conv.{k}.layers.0.weight"]
    y = F.conv_transpose2d(y, weight, stride=2)
    y = F.leaky_relu(F.instance_norm(y), 0.2)
    missing = [n - m for n, m in zip(skip.shape[2:], y.shape[2:], strict=True)]
    y = F.pad(y, (0, missing[1], 0, missing[0]), mode="reflect")
    last = ".0" if k == levels - 1 else ""
    y = block(f"up_conv.{k}{last}", f"up_{k + 1}", torch.cat([y, skip], 1))
  return run.convolution(f"{prefix}up_conv.{levels - 1}.1", y), features


def varnet(settings, state, kspace, mask, sensitivities):
  """Runs an E2E-VarNet in the convention of its authors: all arrays are centred.

  Args:
    settings: those of the package's model.
    state: name -> array, as published.
    kspace: [B, C, H, W], or [B, H, W] for one coil; zero frequency at [0, 0].
    mask: [H, W], of lines, in the same order.
    sensitivities: for the image of two channels, [B, C, H, W]; None for one coil.

  Returns:
    The features, see `swinir`.
  """
  axes, run, features = (-2, -1), _Layers(state), {}
  if sensitivities is None:
    kspace, sensitivities = kspace[:, None], np.ones((1, 1, 1, 1), kspace.dtype)
  # The same images with their origin in the middle, and the k-space of these.
  images = np.fft.ifft2(kspace * mask, norm="ortho")
  measured = _fft(torch.from_numpy(images.astype(kspace.dtype)))
  sampled = torch.from_numpy(np.fft.fftshift(mask, axes)) != 0

  axis = int((sampled == sampled[:1]).all())  # phase encoding along the columns
  line = sampled.select(1 - axis, 0)
  middle = len(line) // 2
  reach = 0
  while line[middle - reach - 1] and line[middle + reach]:
    reach += 1
  centre = torch.zeros_like(line)
  centre[middle - reach : middle + reach] = True
  centre = centre if axis == 1 else centre[:, None]

  def standardised(levels, x, prefix):
    """[B, H, W] complex -> the same, and the features."""
    x = torch.view_as_real(x).permute(0, 3, 1, 2)
    mean, deviation = x.mean((2, 3), keepdim=True), x.std((2, 3), keepdim=True)
    rows, columns = (16 * math.ceil(n / 16) - n for n in x.shape[2:])
    y = F.pad((x - mean) / deviation, (columns // 2, 0, rows // 2, 0))
    y = F.pad(y, (0, columns - columns // 2, 0, rows - rows // 2))
    y, layers = _unet(run, levels, y, prefix)
    y = y[:, :, rows // 2 :, columns // 2 :][:, :, : x.shape[2], : x.shape[3]]
    y = (y * deviation + mean).permute(0, 2, 3, 1).contiguous()
    return torch.view_as_complex(y), layers

  coils = _ifft(measured * centre)
  of_coils = settings.get("coil_levels", 4), coils.flatten(0, 1)
  maps, _ = standardised(*of_coils, "sens_net.norm_unet.unet.")
  maps = maps.reshape(coils.shape)
  maps = maps / maps.abs().square().sum(1, keepdim=True).sqrt()
  current = measured
  for c in range(settings["cascades"]):
    combined = (maps.conj() * _ifft(current)).sum(1)
    prefix = f"cascades.{c}.model.unet."
    change, layers = standardised(settings["levels"], combined, prefix)
    weight = run.state[f"cascades.{c}.dc_weight"]
    step = weight * (current - measured) * sampled
    current = current - step - _fft(maps * change[:, None])
    coils = _ifft(current)
    image = coils.abs().square().sum(1).sqrt()[..., None]
    if settings.get("channels") == 2:
      image = (torch.from_numpy(sensitivities).conj() * coils).sum(1)
      image = torch.view_as_real(image)
    features |= {f"cascade_{c + 1}/unet/{key}": x for key, x in layers.items()}
    features |= {f"consistency_{c + 1}": image.numpy(), "image": image.numpy()}
  return features


def _fft(image):
  image = torch.fft.ifftshift(image, (-2, -1))
  return torch.fft.fftshift(torch.fft.fft2(image, norm="ortho"), (-2, -1))


def _ifft(kspace):
  kspace = torch.fft.ifftshift(kspace, (-2, -1))
  return torch.fft.fftshift(torch.fft.ifft2(kspace, norm="ortho"), (-2, -1))


class _Layers:
  """Layers on [B, C, H, W] with the weights of a state dict."""

  def __init__(self, state):
    self.state = {name: torch.from_numpy(array) for name, array in state.items()}

  def _weights(self, name):
    return self.state[f"{name}.weight"], self.state[f"{name}.bias"]

  def convolution(self, name, x):
    return F.conv2d(x, *self._weights(name), padding="same")

  def linear(self, name, x):
    weight, bias = self._weights(name)
    return F.conv2d(x, weight[:, :, None, None], bias)

  def norm(self, name, x):
    weight, bias = self._weights(name)
    x = x - x.mean(1, keepdim=True)
    x = x / torch.sqrt(x.square().mean(1, keepdim=True) + 1e-5)
    return x * weight.view(-1, 1, 1) + bias.view(-1, 1, 1)

  def residual(self, name, x):
    if f"{name}.weight" in self.state:
      return self.convolution(name, x)
    for k in (0, 2):
      x = F.leaky_relu(self.convolution(f"{name}.{k}", x), 0.2)
    return self.convolution(f"{name}.4", x)

  def subpixel(self, name, x, scale):
    for k, factor in enumerate({1: (), 2: (2,), 3: (3,), 4: (2, 2)}[scale]):
      x = F.pixel_shuffle(self.convolution(f"{name}.{2 * k}", x), factor)
    return x

  def attention(self, name, x, heads, offset):
    """Pixels attend to those in the same cell of a grid that begins at `offset`."""
    table = self.state[f"{name}.relative_position_bias_table"]
    reach = (math.isqrt(len(table)) + 1) // 2
    batch, channels, height, width = x.shape
    row, column = (
      torch.cartesian_prod(torch.arange(height), torch.arange(width)).double().unbind(1)
    )
    cell = torch.stack([((a - offset) / reach).floor() for a in (row, column)], 1)
    together = (cell[:, None] == cell).all(-1)
    down, right = (a[:, None] - a for a in (row, column))
    index = (down + reach - 1) * (2 * reach - 1) + right + reach - 1
    bias = table[index.where(together, 0).long()].permute(2, 0, 1)
    bias = bias.masked_fill(~together, -math.inf)
    qkv = self.linear(f"{name}.qkv", x).reshape(batch, 3, heads, channels // heads, -1)
    q, k, v = qkv.transpose(-1, -2).unbind(1)
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    return self.linear(f"{name}.proj", y.transpose(-1, -2).reshape(x.shape))


def published_state(settings, state):
  """As `torch.save` gets it: tensors, with what the published code stores beside."""
  tensors = {}
  pixels = settings["window"] ** 2
  for name, array in state.items():
    tensors[name] = torch.from_numpy(array)
    block, _, weight = name.partition(".attn.")
    if weight == "relative_position_bias_table":
      index = torch.zeros(pixels, pixels, dtype=torch.long)
      tensors[f"{block}.attn.relative_position_index"] = index
      if int(block.rpartition(".")[2]) % 2:
        tensors[f"{block}.attn_mask"] = torch.zeros(4, pixels, pixels)
  return tensors


def main():
  numbers = {}
  for name in published_networks.SWINIR:
    features = swinir(*published_networks.swinir(name))
    kept = ("image", "rstb_1/activation_2", "body") if name == "denoise" else ("image",)
    numbers |= {f"swinir/{name}/{key}": features[key] for key in kept}
  for name in published_networks.EDSR:
    features = edsr(*published_networks.edsr(name))
    kept = ("image", "block_2/output", "body") if name == "student" else ("image",)
    numbers |= {f"edsr/{name}/{key}": features[key] for key in kept}
  np.savez_compressed(GOLDEN / "enhancement.npz", **numbers)
  numbers = {}
  for name in published_networks.UNET:
    features = unet(*published_networks.unet(name))
    numbers |= {
      f"{name}/{key}": features[key] for key in ("image", "up_1/activation_2")
    }
  np.savez_compressed(GOLDEN / "unet.npz", **numbers)
  numbers = {}
  for name in published_networks.VARNET:
    features = varnet(*published_networks.varnet(name))
    kept = ("image", "consistency_1", "cascade_1/unet/up_1/activation_2")
    numbers |= {f"{name}/{key}": features[key] for key in kept}
  np.savez_compressed(GOLDEN / "varnet.npz", **numbers)
  settings, state, _ = published_networks.swinir("denoise")
  tensors = published_state(settings, state)
  torch.save({"params": tensors}, GOLDEN / "swinir_denoise.pth")
  _, state, _ = published_networks.edsr("double")
  tensors = {name: torch.from_numpy(array) for name, array in state.items()}
  torch.save(tensors, GOLDEN / "edsr_double.pt")


if __name__ == "__main__":
  main()

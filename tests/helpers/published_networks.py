"""Small published networks: settings, and weights by the published names."""

import numpy as np

COLOUR = dict(channels=3, mean=(0.4488, 0.4371, 0.4040))

# Settings of the model, beside the batch, rows and columns of its image.
SWINIR = {
  "denoise": (dict(depths=(2, 3), features=12, heads=2, window=4), (2, 10, 13)),
  "light": (
    dict(depths=(3,), features=8, heads=4, window=4, mlp_ratio=3)
    | dict(upsampler="pixelshuffledirect", scale=3, **COLOUR),
    (1, 9, 7),
  ),
  "classical": (
    dict(depths=(2,), features=6, heads=3, window=3, upsampler="pixelshuffle", scale=4),
    (1, 6, 9),
  ),
  "classical_3": (
    dict(depths=(1,), features=4, heads=1, window=5, upsampler="pixelshuffle", scale=3),
    (1, 5, 8),
  ),
  "real": (
    dict(depths=(2, 2), features=8, heads=2, window=4, residual="3conv")
    | dict(upsampler="nearest+conv", scale=4, **COLOUR),
    (1, 6, 8),
  ),
}
EDSR = {
  "student": (dict(blocks=3, features=6), (2, 9, 12)),
  "double": (
    dict(blocks=2, features=5, scale=2, res_scale=0.1, channels=3)
    | dict(mean=(114.5, 111.25, 103.0)),
    (1, 7, 6),
  ),
  "triple": (dict(blocks=2, features=4, scale=3), (1, 5, 6)),
  "fourfold": (dict(blocks=1, features=4, scale=4), (1, 6, 5)),
}
UNET = {
  "even": (dict(features=3, levels=2), (2, 12, 16)),
  "odd": (dict(features=2, levels=3, channels=2), (1, 13, 19)),
}
# With batch, coils, rows and columns of its k-space; 0 coils for one without that axis.
VARNET = {
  "coils": (
    dict(cascades=2, features=3, levels=1, coil_features=2, coil_levels=1, channels=2),
    (2, 3, 18, 21),
  ),
  "published": (
    dict(cascades=1, features=2, levels=1, coil_features=3, coil_levels=2),
    (1, 4, 16, 30),
  ),
  "one": (
    dict(cascades=1, features=2, levels=2, coil_features=2, coil_levels=1),
    (2, 0, 17, 32),
  ),
}


def swinir_shapes(
  depths,
  features,
  heads,
  window,
  mlp_ratio=2,
  residual="1conv",
  upsampler="",
  scale=1,
  channels=1,
  mean=(),
):
  """Name -> shape of every weight of a SwinIR, in the published order."""
  shapes = {}

  def add(name, *shape):
    shapes[f"{name}.weight"] = shape
    shapes[f"{name}.bias"] = shape[:1]

  def convolutions(name):
    quarter = features // 4
    if residual == "1conv":
      add(name, features, features, 3, 3)
    else:
      add(f"{name}.0", quarter, features, 3, 3)
      add(f"{name}.2", quarter, quarter, 1, 1)
      add(f"{name}.4", features, quarter, 3, 3)

  add("conv_first", features, channels, 3, 3)
  add("patch_embed.norm", features)
  for k, depth in enumerate(depths):
    for j in range(depth):
      block = f"layers.{k}.residual_group.blocks.{j}"
      add(f"{block}.norm1", features)
      table = f"{block}.attn.relative_position_bias_table"
      shapes[table] = ((2 * window - 1) ** 2, heads)
      add(f"{block}.attn.qkv", 3 * features, features)
      add(f"{block}.attn.proj", features, features)
      add(f"{block}.norm2", features)
      add(f"{block}.mlp.fc1", mlp_ratio * features, features)
      add(f"{block}.mlp.fc2", features, mlp_ratio * features)
    convolutions(f"layers.{k}.conv")
  add("norm", features)
  convolutions("conv_after_body")
  if upsampler == "pixelshuffledirect":
    add("upsample.0", scale**2 * channels, features, 3, 3)
    return shapes
  last = 64 if upsampler else features
  if upsampler:
    add("conv_before_upsample.0", 64, features, 3, 3)
  if upsampler == "pixelshuffle":
    for k, factor in enumerate({2: (2,), 3: (3,), 4: (2, 2)}[scale]):
      add(f"upsample.{2 * k}", 64 * factor**2, 64, 3, 3)
  if upsampler == "nearest+conv":
    for name in ("conv_up1", "conv_up2", "conv_hr"):
      add(name, 64, 64, 3, 3)
  add("conv_last", channels, last, 3, 3)
  return shapes


def edsr_shapes(blocks, features, res_scale=1.0, scale=1, channels=1, mean=()):
  """Name -> shape of every weight of an EDSR, in the published order."""
  names = {"head.0": (features, channels)}
  for k in range(blocks):
    names |= {f"body.{k}.body.{j}": (features, features) for j in (0, 2)}
  names[f"body.{blocks}"] = (features, features)
  for k, factor in enumerate({1: (), 2: (2,), 3: (3,), 4: (2, 2)}[scale]):
    names[f"tail.0.{2 * k}"] = (factor**2 * features, features)
  names["tail.1"] = (channels, features)
  shapes = {}
  for name, shape in names.items():
    shapes |= {f"{name}.weight": (*shape, 3, 3), f"{name}.bias": shape[:1]}
  return shapes


def unet_shapes(features, levels, channels=1):
  """Name -> shape of every weight of fastMRI's U-Net, in the published order."""
  shapes = {}

  def block(name, inputs, outputs):
    shapes[f"{name}.layers.0.weight"] = (outputs, inputs, 3, 3)
    shapes[f"{name}.layers.4.weight"] = (outputs, outputs, 3, 3)

  widths = [features * 2**k for k in range(levels + 1)]
  for k in range(levels):
    before = widths[k - 1] if k else channels
    block(f"down_sample_layers.{k}", before, widths[k])
  block("conv", widths[-2], widths[-1])
  for k, width in enumerate(reversed(widths[:-1])):
    last = ".0" if k == levels - 1 else ""
    block(f"up_conv.{k}{last}", 2 * width, width)
  shapes[f"up_conv.{levels - 1}.1.weight"] = (channels, features, 1, 1)
  shapes[f"up_conv.{levels - 1}.1.bias"] = (channels,)
  for k, width in enumerate(reversed(widths[:-1])):
    shapes[f"up_transpose_conv.{k}.layers.0.weight"] = (2 * width, width, 2, 2)
  return shapes


def varnet_shapes(
  cascades=12, features=18, levels=4, coil_features=8, coil_levels=4, channels=1
):
  """Name -> shape of every weight of fastMRI's E2E-VarNet."""
  del channels
  names = {"sens_net.norm_unet.unet": (coil_features, coil_levels, 2)}
  names |= {f"cascades.{c}.model.unet": (features, levels, 2) for c in range(cascades)}
  shapes = {
    f"{name}.{key}": shape
    for name, settings in names.items()
    for key, shape in unet_shapes(*settings).items()
  }
  return shapes | {f"cascades.{c}.dc_weight": (1,) for c in range(cascades)}


def draw(shapes, seed=0):
  """Weights large enough that attention, its bias and every activation matter."""
  random = np.random.RandomState(seed)  # the same numbers with every NumPy
  state = {}
  for name, shape in shapes.items():
    values = random.uniform(-1, 1, shape)
    if len(shape) == 1:
      values = 0.2 * values + (name.endswith(".weight"))
    elif not name.endswith("table"):
      values *= 1.5 / np.sqrt(np.prod(shape[1:]))
    state[name] = values.astype(np.float32)
  return state


def swinir(name):
  """Settings, weights and image, float32 [B, H, W, C], of a small SwinIR."""
  settings, size = SWINIR[name]
  image = np.random.RandomState(1).uniform(size=(*size, settings.get("channels", 1)))
  return settings, draw(swinir_shapes(**settings)), image.astype(np.float32)


def edsr(name):
  """Settings, weights and image, float32 [B, H, W, C], of a small EDSR."""
  settings, size = EDSR[name]
  channels = settings.get("channels", 1)
  image = np.random.RandomState(1).uniform(size=(*size, channels))
  state = draw(edsr_shapes(**settings))
  if settings.get("mean"):
    image *= 255
    mean = np.array(settings["mean"], np.float32)
    for way, sign in (("sub", -1), ("add", 1)):
      state[f"{way}_mean.weight"] = np.eye(3, dtype=np.float32)[:, :, None, None]
      state[f"{way}_mean.bias"] = sign * mean
  return settings, state, image.astype(np.float32)


def unet(name):
  """Settings, weights and image, float32 [B, H, W, C], of a small U-Net."""
  settings, size = UNET[name]
  image = np.random.RandomState(1).gamma(0.3, size=(*size, settings.get("channels", 1)))
  return settings, draw(unet_shapes(**settings)), image.astype(np.float32)


def varnet(name):
  """Settings, weights, k-space, mask and sensitivities of a small E2E-VarNet.

  k-space is complex64 [B, C, H, W], or [B, H, W] with sensitivities None for one coil;
  zero frequency is at [0, 0]. Centre lines are sampled as far as -3 and 3, and others.
  """
  settings, (batch, coils, *size) = VARNET[name]
  random = np.random.RandomState(1)

  def draw_complex(*shape):
    return (random.normal(size=(*shape, 2)) @ [1, 1j]).astype(np.complex64)

  axis = 0 if name == "one" else 1
  line = np.zeros(size[axis], np.uint8)
  line[[0, 1, 2, 3, 6, 9, 10, -1, -2, -3, -5]] = 1
  mask = np.zeros(size, np.uint8) + (line[:, None] if axis == 0 else line)
  kspace = draw_complex(batch, coils or 1, *size)
  place = [np.minimum(np.arange(n), n - np.arange(n)) for n in size]
  kspace /= 1 + (place[0][:, None] ** 2 + place[1] ** 2).astype(np.float32)
  sensitivities = draw_complex(batch, coils, *size) / 3
  state = draw(varnet_shapes(**settings))
  state |= {key: value + 0.8 for key, value in state.items() if "dc_weight" in key}
  kspace, maps = (kspace, sensitivities) if coils else (kspace[:, 0], None)
  return settings, state, kspace, mask, maps

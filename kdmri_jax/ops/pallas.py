"""3x3 convolutions for NVIDIA's GPUs: Pallas kernels, which Triton compiles.

Images are flat pixels [B * H * W, C], and each program computes blocks of them. It
loads the neighbours of a block's pixels from their places, zeros outside the image; so
nothing is padded, copied or put into another layout. Bias, ReLU and the ReLU's mask
belong to the kernel that loads or stores the values, the gradient of the bias to the
gradient of the kernel. All sums are in float32.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas
from jax.experimental.pallas import triton

from kdmri_jax.types import Array

_FEW, _MANY = (1, 2), (32, 64)  # channels
_PLACES = 9  # of a kernel, row by row
_CENTRE = 4
# Pixels of a block, warps, and how far loads are ahead. Compiled for an H100, a kernel
# then keeps all its values in registers.
_CONVOLVE = 64, triton.CompilerParams(num_warps=4, num_stages=2)
_GRADIENT = 32, triton.CompilerParams(num_warps=4, num_stages=3)
_GRADIENT_OF_64 = 32, triton.CompilerParams(num_warps=8, num_stages=2)
_PROGRAMS = 264  # that share a gradient's sums: two per multiprocessor of an H100


def knows(kernel: Array) -> bool:
  """Whether these functions support a kernel [K, K, I, O].

  It must be 3x3, between 32 or 64 channels; one side may have one or two instead.
  """
  fewer, more = sorted(kernel.shape[2:])
  known = kernel.dtype in (jnp.float32, jnp.bfloat16) and kernel.shape[:2] == (3, 3)
  return known and fewer in _FEW + _MANY and more in _MANY


def convolve(
  x: Array,
  kernel: Array,
  bias: Array,
  *,
  relu: bool,
  mask: Array | None = None,
  turned: bool = False,
  precision: jax.lax.Precision = jax.lax.Precision.HIGHEST,
  interpret: bool = False,
) -> Array:
  """relu(x * kernel + bias), or without the ReLU; zero-padded to the same size.

  Args:
    x: float32 or bfloat16 [B, H, W, I].
    kernel: [3, 3, I, O], of the type of x, see `knows`.
    bias: [O], of the type of x.
    relu: whether a ReLU follows.
    mask: [B, H, W, I]; x counts as zero wherever it is not positive.
    turned: whether the kernel is [3, 3, O, I] and to be rotated by half a turn: for the
      gradient of its convolution's input.
    precision: of float32 products. HIGH is TensorFloat-32. HIGHEST is float32; between
      many channels it is three products of TensorFloat-32, which have 22 bits together.
      A convolution to one or two channels always has HIGHEST.
    interpret: whether JAX computes the kernel operation by operation, on any device.

  Returns:
    [B, H, W, O], of the type of x.
  """
  inputs, outputs = x.shape[-1], len(bias)
  code = _from_few if inputs in _FEW else _to_few if outputs in _FEW else _between
  if code is _between and not interpret:
    precision = _of_many(precision, x)
  pixels, options = _CONVOLVE
  blocks = _Blocks(pixels, *x.shape[:3])
  settings = dict(blocks=blocks, turned=turned, relu=relu, precision=precision)
  images = [x] if mask is None else [x, mask]
  found = pallas.pallas_call(
    functools.partial(code, **settings),
    jax.ShapeDtypeStruct((blocks.total, outputs), x.dtype),
    grid=(blocks.number,),
    compiler_params=options,
    interpret=interpret,
    name=f"kdmri_convolve{code.__name__}",
  )(*map(_flat, images), kernel.reshape(_PLACES, *kernel.shape[2:]), bias)
  return found.reshape(*x.shape[:3], outputs)


def gradient(
  x: Array,
  cotangent: Array,
  mask: Array | None = None,
  *,
  precision: jax.lax.Precision = jax.lax.Precision.HIGHEST,
  interpret: bool = False,
) -> tuple[Array, Array]:
  """The gradients of `convolve` with respect to its kernel and bias.

  Args:
    x: float32 or bfloat16 [B, H, W, I].
    cotangent: [B, H, W, O], of the type of x.
    mask: [B, H, W, O]; the cotangent counts as zero wherever it is not positive.
    precision: as for `convolve`; HIGHEST is float32 also to one or two channels.
    interpret: as for `convolve`.

  Returns:
    [3, 3, I, O] and [O], of the type of x.
  """
  inputs, outputs = x.shape[-1], cotangent.shape[-1]
  masked = [cotangent] if mask is None else [cotangent, mask]
  if inputs in _FEW:
    code = functools.partial(_sums_of_few, few=1, turned=False)
    images, rows = [x, *masked], _padded(inputs) + 1
    sums = _sum(code, images, (rows, outputs), precision, interpret)
    kernel, for_bias = sums[: _PLACES * inputs], sums[-1]
  elif outputs in _FEW:
    code = functools.partial(_sums_of_few, few=len(masked), turned=True)
    images, rows = [*masked, x], _padded(outputs) + 1
    sums = _sum(code, images, (rows, inputs), precision, interpret)
    kernel = sums[: _PLACES * outputs].reshape(_PLACES, outputs, inputs).swapaxes(1, 2)
    for_bias = sums[-1, _CENTRE * outputs : (_CENTRE + 1) * outputs]
  else:
    if not interpret:
      precision = _of_many(precision, x)
    way = _GRADIENT_OF_64 if min(inputs, outputs) == 64 else _GRADIENT
    size = 3, 3 * inputs + 1, outputs
    sums = _sum(_sums_between, [x, *masked], size, precision, interpret, way)
    kernel, for_bias = sums[:, :-1], sums[0, -1]
  kernel = kernel.reshape(3, 3, inputs, outputs)
  return kernel.astype(x.dtype), for_bias.astype(x.dtype)


def _sum(code, images, size, precision, interpret, way=_GRADIENT):
  """Sums of all pixels, [rows, columns] or [number, rows, columns], in float32.

  Each program adds some blocks, and XLA adds what they found, always in one order.
  """
  *number, rows, columns = size
  pixels, options = way
  blocks = _Blocks(pixels, *images[0].shape[:3])
  repeats = -(-blocks.number // _PROGRAMS)
  grid = -(-blocks.number // repeats), *number
  parts = pallas.pallas_call(
    functools.partial(code, blocks=blocks, repeats=repeats, precision=precision),
    jax.ShapeDtypeStruct((*grid, rows, columns), jnp.float32),
    grid=grid,
    out_specs=pallas.BlockSpec(
      (*[None] * len(grid), rows, columns), lambda *program: (*program, 0, 0)
    ),
    compiler_params=options,
    interpret=interpret,
    name="kdmri_gradient" + getattr(code, "func", code).__name__,
  )(*map(_flat, images))
  return parts.sum(0)


def _flat(images):
  return images.reshape(-1, images.shape[-1])


def _padded(few):
  """Places times channels, as a power of two."""
  return 16 if few == 1 else 32


def _of_many(precision, x):
  """A float32 product of matrices in registers would take minutes to compile."""
  if x.dtype != jnp.float32 or precision != jax.lax.Precision.HIGHEST:
    return precision
  return jax.lax.DotAlgorithmPreset.TF32_TF32_F32_X3


class _Blocks(NamedTuple):
  """Images [batch, height, width] as blocks of flat pixels."""

  pixels: int
  batch: int
  height: int
  width: int

  @property
  def total(self) -> int:
    return self.batch * self.height * self.width

  @property
  def number(self) -> int:
    return -(-self.total // self.pixels)

  def load(
    self, refs: Any, block: Any, down: Any = 0, right: Any = 0, channel: Any = None
  ) -> Array:
    """The values `down` and `right` of a block's pixels, zero outside of the image.

    Args:
      refs: flat images, and perhaps their mask.
      block: its number.
      down: rows, or as many as channels: [1, C].
      right: columns, likewise.
      channel: [1, C], zeros where negative; all by default.

    Returns:
      [pixels, C].
    """
    if channel is None:
      channel = _iota((1, refs[0].shape[1]), 1)
    pixel = block * self.pixels + _iota((self.pixels, 1), 0)
    row = jax.lax.rem(jax.lax.div(pixel, self.width), self.height) + down
    column = jax.lax.rem(pixel, self.width) + right
    inside = (row >= 0) & (row < self.height) & (column >= 0) & (column < self.width)
    inside &= (pixel < self.total) & (channel >= 0)
    place = pixel + down * self.width + right
    size = self.pixels, channel.shape[1]
    place, channel, inside = (
      jnp.broadcast_to(i, size) for i in (place, channel, inside)
    )
    values, *mask = (
      triton.load(ref.at[place, channel], mask=inside, other=0) for ref in refs
    )
    return jnp.where(mask[0] > 0, values, 0) if mask else values

  def patches(self, refs: Any, block: Any, turned: bool) -> Array:
    """All neighbours of a block's pixels: [pixels, `_padded`], the places first.

    `turned` takes the neighbours of a kernel that is rotated by half a turn.
    """
    few = refs[0].shape[1]
    number = _iota((1, _padded(few)), 1)
    place, channel = jax.lax.div(number, few), jax.lax.rem(number, few)
    down, right = _shift(place)
    if turned:
      down, right = -down, -right
    return self.load(refs, block, down, right, jnp.where(place < _PLACES, channel, -1))

  def store(
    self, y: Any, block: Any, values: Array, relu: bool, first: int = 0
  ) -> None:
    """Stores [pixels, C] as the channels of y from `first` on, perhaps after a ReLU."""
    pixel = block * self.pixels + _iota(values.shape, 0)
    values = jnp.maximum(values, 0) if relu else values
    place = y.at[pixel, first + _iota(values.shape, 1)]
    triton.store(place, values.astype(y.dtype), mask=pixel < self.total)


def _between(*refs, blocks, turned, relu, precision):
  """A product with each place of the kernel."""
  *images, kernel, bias, y = refs
  block = pallas.program_id(0)

  def add(place, sums):
    values = blocks.load(images, block, *_shift(place))
    weights = kernel[_place(place, turned)]
    return sums + _dot(values, weights, precision, (1, 1 if turned else 0))

  zeros = jnp.zeros((blocks.pixels, y.shape[1]), jnp.float32)
  sums = jax.lax.fori_loop(0, _PLACES, add, zeros)
  blocks.store(y, block, sums + bias[...].astype(jnp.float32), relu)


def _from_few(*refs, blocks, turned, relu, precision):
  """One product with all places of the kernel."""
  *images, kernel, bias, y = refs
  block, few = pallas.program_id(0), images[0].shape[1]
  patches = blocks.patches(images, block, turned=False)
  size = patches.shape[1], y.shape[1]
  number, output = _iota(size, 0), _iota(size, 1)
  place, channel = jax.lax.div(number, few), jax.lax.rem(number, few)
  sides = (output, channel) if turned else (channel, output)
  found = kernel.at[_place(place, turned), *sides]
  weights = triton.load(found, mask=place < _PLACES, other=0)
  sums = _dot(patches, weights, precision)
  blocks.store(y, block, sums + bias[...].astype(jnp.float32), relu)


def _to_few(*refs, blocks, turned, relu, precision):
  """Weighted sums over channels, in float32."""
  del precision
  *images, kernel, bias, y = refs
  block, few = pallas.program_id(0), range(y.shape[1])
  sums = [jnp.zeros((blocks.pixels, images[0].shape[1]), jnp.float32) for _ in few]
  for place in range(_PLACES):
    values = blocks.load(images, block, *_shift(place)).astype(jnp.float32)
    at = _place(place, turned)
    for o in few:
      weights = kernel[at, o, :] if turned else kernel[at, :, o]
      sums[o] += values * weights.astype(jnp.float32)
  for o in few:
    value = sums[o].sum(1, keepdims=True) + bias[o].astype(jnp.float32)
    blocks.store(y, block, value, relu, first=o)


def _sums_between(*refs, blocks, repeats, precision):
  """Of one row of the kernel: [3 * I, O] and, as the last row, the bias's."""
  x, *cotangent, sums = refs
  first, row = pallas.program_id(0) * repeats, pallas.program_id(1)
  inputs, outputs = x.shape[1], sums.shape[1]

  def add(number, found):
    own = blocks.load(cotangent, first + number)
    moved = [blocks.load([x], first + number, row - 1, j - 1) for j in range(3)]
    products = [_dot(values, own, precision, (0, 0)) for values in moved]
    return tuple(map(jnp.add, found, (*products, own.astype(jnp.float32).sum(0))))

  zeros = [jnp.zeros((inputs, outputs), jnp.float32)] * 3
  start = (*zeros, jnp.zeros(outputs, jnp.float32))
  *products, for_bias = jax.lax.fori_loop(0, repeats, add, start)
  for j, product in enumerate(products):
    sums[j * inputs : (j + 1) * inputs, :] = product
  sums[3 * inputs, :] = for_bias


def _sums_of_few(*refs, few, turned, blocks, repeats, precision):
  """Of the patches of the first `few` images, and their mask, times the others.

  [`_padded`, C] and, as the last row, the sums of what is the cotangent.
  """
  few, many, sums = refs[:few], refs[few:-1], refs[-1]
  first, rows, columns = pallas.program_id(0) * repeats, len(sums) - 1, sums.shape[1]

  def add(number, found):
    patches = blocks.patches(few, first + number, turned)
    values = blocks.load(many, first + number)
    own = (patches if turned else values).astype(jnp.float32)
    return found[0] + _dot(patches, values, precision, (0, 0)), found[1] + own.sum(0)

  zeros = jnp.zeros((rows, columns), jnp.float32)
  start = zeros, jnp.zeros(rows if turned else columns, jnp.float32)
  products, for_bias = jax.lax.fori_loop(0, repeats, add, start)
  sums[:rows, :] = products
  sums[rows, : len(for_bias)] = for_bias


def _iota(shape, axis):
  return jax.lax.broadcasted_iota(jnp.int32, shape, axis)


def _shift(place):
  """Rows down and columns to the right."""
  return jax.lax.div(place, 3) - 1, jax.lax.rem(place, 3) - 1


def _place(place, turned):
  return _PLACES - 1 - place if turned else place


def _dot(a, b, precision, axes=(1, 0)):
  """Sums over an axis of a and one of b, in float32."""
  dimensions = tuple((axis,) for axis in axes), ((), ())
  return jax.lax.dot_general(
    a, b, dimensions, precision=precision, preferred_element_type=jnp.float32
  )

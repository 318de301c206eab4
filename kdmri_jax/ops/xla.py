"""Convolutions and gradients of their kernels in forms that are fast in XLA on a CPU.

On a CPU XLA is fast for convolutions between many channels. It is slow for convolutions
from or to few channels and for the gradient of the kernel, which it computes as a
convolution with an image of the size of x. On a CPU this module computes these in other
forms, which agree to float32 rounding; accelerators use XLA's own. It serves
convolutions that `native` does not support, and installations and exports without it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from kdmri_jax.types import Array

_HIGHEST = jax.lax.Precision.HIGHEST
_FEW = 2  # channels of an image, real or complex
_SMALL = 2**14  # pixels of an image; below, XLA's own form to few channels is used
_PIXELS = 3000  # in a strip of rows, so that it stays in a core's cache


def convolve(x: Array, kernel: Array, precision: jax.lax.Precision = _HIGHEST) -> Array:
  """Convolves, zero-padded to the same size.

  Args:
    x: [B, H, W, I].
    kernel: [K, K, I, O], K odd.
    precision: of products on accelerators; CPUs have one.

  Returns:
    [B, H, W, O].
  """
  plain = functools.partial(_plain, precision=precision)
  form = _form(x, kernel)
  if form is _plain:
    return plain(x, kernel)
  return jax.lax.platform_dependent(x, kernel, cpu=form, default=plain)


def input_gradient(
  cotangent: Array, kernel: Array, precision: jax.lax.Precision = _HIGHEST
) -> Array:
  """The gradient of `convolve` with respect to its input.

  Args:
    cotangent: [B, H, W, O].
    kernel: [K, K, I, O], K odd.
    precision: as for `convolve`.

  Returns:
    [B, H, W, I].
  """
  if _form(cotangent, turned(kernel)) is not _from_few:
    return convolve(cotangent, turned(kernel), precision)
  return jax.lax.platform_dependent(
    cotangent,
    kernel,
    cpu=lambda cotangent, kernel: _from_few(cotangent, turned(kernel)),
    # cuDNN turns the kernel itself if XLA sees that this is a gradient.
    default=functools.partial(_transposed, precision=precision),
  )


def turned(kernel: Array) -> Array:
  """The kernel of the convolution that is the gradient of the input."""
  return jnp.flip(kernel, (0, 1)).swapaxes(2, 3)


def kernel_gradient(
  x: Array, cotangent: Array, size: int, precision: jax.lax.Precision = _HIGHEST
) -> Array:
  """The gradient of `convolve` with respect to its kernel.

  Args:
    x: [B, H, W, I].
    cotangent: [B, H, W, O].
    size: K, odd.
    precision: as for `convolve`.

  Returns:
    [K, K, I, O].
  """
  sides = x.shape[-1], cotangent.shape[-1]
  form = _kernel_of_few if min(sides) <= _FEW else _kernel_by_strips
  return jax.lax.platform_dependent(
    x,
    cotangent,
    cpu=functools.partial(form, size=size),
    default=functools.partial(_kernel_by_convolution, size=size, precision=precision),
  )


def convolve_rows(x: Array, kernel: Array) -> Array:
  """Convolves a window of rows, zero-padded at the ends of the rows alone.

  Args:
    x: [B, H, W, I].
    kernel: [K, K, I, O], K odd.

  Returns:
    [B, H - K + 1, W, O], by the forms that are fast on a CPU.
  """
  *_, inputs, outputs = kernel.shape
  if inputs <= _FEW:
    return _from_few(x, kernel, rows=0)
  if outputs <= _FEW:
    return _to_few(x, kernel, rows=0)
  return _convolve(x, kernel, ((0, 0), (kernel.shape[1] // 2,) * 2))


def _form(x, kernel):
  """The form of a convolution that is fast on a CPU."""
  pixels = x.shape[1] * x.shape[2]  # symbolic in exports for any size
  *_, inputs, outputs = kernel.shape
  if outputs <= _FEW:
    return _to_few if isinstance(pixels, int) and pixels >= _SMALL else _plain
  return _from_few if inputs <= _FEW else _plain


def _convolve(x, kernel, padding, precision=_HIGHEST):
  return jax.lax.conv_general_dilated(
    x,
    kernel,
    window_strides=(1, 1),
    padding=padding,
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
    precision=precision,
  )


def _plain(x, kernel, precision=_HIGHEST):
  return _convolve(x, kernel, "SAME", precision)


def _transposed(cotangent, kernel, precision):
  shape = (*cotangent.shape[:3], kernel.shape[2])
  x = jax.ShapeDtypeStruct(shape, cotangent.dtype)
  of_x = functools.partial(_plain, kernel=kernel, precision=precision)
  (found,) = jax.linear_transpose(of_x, x)(cotangent)
  return found


def _kernel_by_convolution(x, cotangent, size, precision):
  shape = (size, size, x.shape[-1], cotangent.shape[-1])
  kernel = jax.ShapeDtypeStruct(shape, x.dtype)
  of_kernel = functools.partial(_plain, x, precision=precision)
  (found,) = jax.linear_transpose(of_kernel, kernel)(cotangent)
  return found


def _windows(images, size):
  """The images [C, B, H, W], shifted to each place of a kernel: [K, K, C, B, H, W]."""
  margin, (height, width) = (size // 2, size // 2), images.shape[2:]
  padded = jnp.pad(images, ((0, 0), (0, 0), margin, margin))
  steps = range(size)
  shifted = [padded[..., i : i + height, j : j + width] for i in steps for j in steps]
  return jnp.stack(shifted).reshape(size, size, *images.shape)


def _from_few(x, kernel, rows=None):
  """Adds shifted images, each times its weights: a bias and ReLU join the same loop.

  `rows` of zeros are added above and below, by default as many as keep the size.
  """
  size, _, inputs, _ = kernel.shape
  rows, columns = size // 2 if rows is None else rows, size // 2
  padding = ((0, 0), (rows, rows), (columns, columns), (0, 0))
  padded = jnp.pad(x.astype(jnp.promote_types(x.dtype, jnp.float32)), padding)
  height, width = padded.shape[1] - size + 1, x.shape[2]
  shifted = {
    (i, j, c): padded[:, i : i + height, j : j + width, c : c + 1]
    for i, j, c in np.ndindex(size, size, inputs)
  }
  return sum(image * kernel[place] for place, image in shifted.items()).astype(x.dtype)


def _to_few(x, kernel, rows=None):
  """Multiplies every pixel by all places of the kernel, then adds shifted products.

  `rows` as for `_from_few`.
  """
  size, _, inputs, outputs = kernel.shape
  rows, columns = size // 2 if rows is None else rows, size // 2
  matrix = kernel.swapaxes(2, 3).reshape(-1, inputs)
  products = jnp.matmul(matrix, x.reshape(-1, inputs).T, precision=_HIGHEST)
  products = products.reshape(size, size, outputs, *x.shape[:3])
  padding = (*((0, 0),) * 4, (rows, rows), (columns, columns))
  products = jnp.pad(products, padding)
  height, width = products.shape[-2] - size + 1, x.shape[2]
  steps = range(size)
  parts = [
    products[i, j, ..., i : i + height, j : j + width] for i in steps for j in steps
  ]
  return jnp.moveaxis(sum(parts), 0, -1)


def _kernel_of_few(x, cotangent, size):
  """A matrix product with shifted copies of the side that has few channels."""
  if x.shape[-1] <= cotangent.shape[-1]:
    shifted = _windows(jnp.moveaxis(x, -1, 0), size)
    return jnp.einsum("ijcbhw,bhwo->ijco", shifted, cotangent, precision=_HIGHEST)
  shifted = jnp.flip(_windows(jnp.moveaxis(cotangent, -1, 0), size), (0, 1))
  found = jnp.einsum("ijobhw,bhwc->ijoc", shifted, x, precision=_HIGHEST)
  return found.swapaxes(2, 3)


def _kernel_by_strips(x, cotangent, size):
  """Sums convolutions of strips of x by strips of the cotangent.

  In a strip of x, columns and channels are exchanged, so that XLA sums over the columns
  as it does over channels. Copies of the cotangent, shifted along its columns, are the
  output channels.
  """
  batch, height, width, inputs = x.shape
  outputs = cotangent.shape[-1]
  strips = -(-height // max(1, _PIXELS // width))
  rows, half = -(-height // strips), size // 2
  beyond = (*range(-half, 0), *range(rows, rows + half))

  def lines(images, image, row, count):
    sizes = (1, count, *images.shape[2:])
    return jax.lax.dynamic_slice(images, (image, row, 0, 0), sizes)

  def add(carry, number):
    total, strip, window = carry
    image, row = number // strips, number % strips * rows
    start = jnp.minimum(row, height - rows)  # the last strip may overlap the one before
    strip = _put(strip, lines(x, image, start, rows).swapaxes(2, 3), (0, half, 0, 0))
    for offset in beyond:
      line = lines(x, image, jnp.clip(start + offset, 0, height - 1), 1).swapaxes(2, 3)
      inside = (start + offset >= 0) & (start + offset < height)
      strip = _put(strip, jnp.where(inside, line, 0), (0, half + offset, 0, 0))
    own = lines(cotangent, image, start, rows).reshape(rows, 1, width, outputs)
    if strips * rows > height:
      new = jnp.arange(rows) >= row - start
      own = jnp.where(new[:, None, None, None], own, 0)
    for j in range(size):
      left, right = max(j - half, 0), max(half - j, 0)
      if left + right < width:  # the window keeps its zeros beyond the image
        moved = own[:, :, right : width - left]
        window = _put(window, moved, (0, 0, left, j * outputs))
    # Without any padding XLA uses a slower path: one more column, then removed.
    found = _convolve(strip, window, ((0, 0), (0, 1)))
    return (total + found[0, :, :-1], strip, window), None

  total = jnp.zeros((size, inputs, size * outputs), x.dtype)
  strip = jnp.zeros((1, rows + 2 * half, inputs, width), x.dtype)
  window = jnp.zeros((rows, 1, width, size * outputs), x.dtype)
  empty = (total, strip, window)
  (total, *_), _ = jax.lax.scan(add, empty, jnp.arange(batch * strips))
  return total.reshape(size, inputs, size, outputs).swapaxes(1, 2)


def _put(into, part, place):
  """Copies in place if XLA finds that `into` is not used again."""
  return jax.lax.dynamic_update_slice(into, part, place)

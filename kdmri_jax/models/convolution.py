"""Convolution with forms and gradients that are fast on a CPU.

XLA is fast on a CPU at convolutions between many channels. It is slow at those from or
to few channels and at the gradient by the kernel, which it computes as a convolution by
an image of the size of x. On a CPU these are computed by other forms, which agree to
float32 rounding; accelerators keep XLA's own.
"""

import jax
import jax.numpy as jnp
import numpy as np

from kdmri_jax.types import Array

_HIGHEST = jax.lax.Precision.HIGHEST  # float32 on accelerators too
_FEW = 2  # channels of an image, real or complex
_SMALL = 2**14  # pixels of an image; below, XLA's own form to and from few is kept
_PIXELS = 3000  # in a strip of rows, so that it stays in a core's cache


@jax.custom_vjp
def convolve(x: Array, kernel: Array) -> Array:
  """Convolves, zero-padded to the same size; reverse mode only.

  Args:
    x: [B, H, W, I].
    kernel: [K, K, I, O], K odd.

  Returns:
    [B, H, W, O].
  """
  pixels = x.shape[1] * x.shape[2]  # a symbol in what is exported for any size
  *_, inputs, outputs = kernel.shape
  if min(inputs, outputs) > _FEW or not isinstance(pixels, int) or pixels < _SMALL:
    return _plain(x, kernel)
  form = _to_few if outputs <= _FEW else _from_few
  return jax.lax.platform_dependent(x, kernel, cpu=form, default=_plain)


def _forward(x, kernel):
  return convolve(x, kernel), (x, kernel)


def _backward(saved, cotangent):
  x, kernel = saved
  for_x = convolve(cotangent, jnp.flip(kernel, (0, 1)).swapaxes(2, 3))
  few = min(kernel.shape[2:]) <= _FEW
  for_kernel = jax.lax.platform_dependent(
    x,
    cotangent,
    kernel,
    cpu=_kernel_of_few if few else _kernel_by_strips,
    default=_kernel_by_convolution,
  )
  return for_x, for_kernel


convolve.defvjp(_forward, _backward)


def _convolve(x, kernel, padding):
  return jax.lax.conv_general_dilated(
    x,
    kernel,
    window_strides=(1, 1),
    padding=padding,
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
    precision=_HIGHEST,
  )


def _plain(x, kernel):
  return _convolve(x, kernel, "SAME")


def _kernel_by_convolution(x, cotangent, kernel):
  (found,) = jax.linear_transpose(lambda kernel: _plain(x, kernel), kernel)(cotangent)
  return found


def _windows(images, size):
  """The images [C, B, H, W], shifted to each place of a kernel: [K, K, C, B, H, W]."""
  margin, (height, width) = (size // 2, size // 2), images.shape[2:]
  padded = jnp.pad(images, ((0, 0), (0, 0), margin, margin))
  steps = range(size)
  shifted = [padded[..., i : i + height, j : j + width] for i in steps for j in steps]
  return jnp.stack(shifted).reshape(size, size, *images.shape)


def _from_few(x, kernel):
  """Adds shifted images, each times its weights: a bias and ReLU join the same loop."""
  size, _, inputs, _ = kernel.shape
  margin, (height, width) = (size // 2, size // 2), x.shape[1:3]
  padded = jnp.pad(x.astype(jnp.float32), ((0, 0), margin, margin, (0, 0)))
  shifted = {
    (i, j, c): padded[:, i : i + height, j : j + width, c : c + 1]
    for i, j, c in np.ndindex(size, size, inputs)
  }
  return sum(image * kernel[place] for place, image in shifted.items()).astype(x.dtype)


def _to_few(x, kernel):
  """Multiplies every pixel by all places of the kernel, then adds shifted products."""
  size, _, inputs, outputs = kernel.shape
  margin, (height, width) = (size // 2, size // 2), x.shape[1:3]
  matrix = kernel.swapaxes(2, 3).reshape(-1, inputs)
  products = jnp.matmul(matrix, x.reshape(-1, inputs).T, precision=_HIGHEST)
  products = products.reshape(size, size, outputs, *x.shape[:3])
  products = jnp.pad(products, ((0, 0),) * 4 + (margin, margin))
  steps = range(size)
  parts = [
    products[i, j, ..., i : i + height, j : j + width] for i in steps for j in steps
  ]
  return jnp.moveaxis(sum(parts), 0, -1)


def _kernel_of_few(x, cotangent, kernel):
  """A matrix product with shifted copies of the side that has few channels."""
  size, _, inputs, outputs = kernel.shape
  if inputs <= outputs:
    shifted = _windows(jnp.moveaxis(x, -1, 0), size)
    return jnp.einsum("ijcbhw,bhwo->ijco", shifted, cotangent, precision=_HIGHEST)
  shifted = jnp.flip(_windows(jnp.moveaxis(cotangent, -1, 0), size), (0, 1))
  found = jnp.einsum("ijobhw,bhwc->ijoc", shifted, x, precision=_HIGHEST)
  return found.swapaxes(2, 3)


def _kernel_by_strips(x, cotangent, kernel):
  """Sums convolutions of strips of x by strips of the cotangent.

  In a strip of x the columns take the place of the channels, and the channels that of
  the columns, so that XLA sums over the columns as it does over channels. Copies of
  the cotangent that are shifted along its columns are its output channels.
  """
  size, _, inputs, outputs = kernel.shape
  batch, height, width, _ = x.shape
  strips = -(-height // max(1, _PIXELS // width))
  rows = -(-height // strips)
  half, missing = size // 2, strips * rows - height
  turned = jnp.pad(x.swapaxes(2, 3), ((0, 0), (half, half + missing), (0, 0), (0, 0)))
  cotangent = jnp.pad(cotangent, ((0, 0), (0, missing), (0, 0), (0, 0)))

  def add(carry, number):
    total, window = carry  # the window keeps its zeros beyond the image
    image, row = number // strips, number % strips * rows
    strip = jax.lax.dynamic_slice(
      turned, (image, row, 0, 0), (1, rows + size - 1, inputs, width)
    )
    own = jax.lax.dynamic_slice(
      cotangent, (image, row, 0, 0), (1, rows, width, outputs)
    ).reshape(rows, 1, width, outputs)
    for j in range(size):
      left, right = max(j - half, 0), max(half - j, 0)
      if left + right < width:
        place = (0, 0, left, j * outputs)
        moved = own[:, :, right : width - left]
        window = jax.lax.dynamic_update_slice(window, moved, place)
    # Without any padding XLA takes a slower way: one column more, left out again.
    found = _convolve(strip, window, ((0, 0), (0, 1)))
    return (total + found[0, :, :-1], window), None

  total = jnp.zeros((size, inputs, size * outputs), x.dtype)
  window = jnp.zeros((rows, 1, width, size * outputs), x.dtype)
  (total, _), _ = jax.lax.scan(add, (total, window), jnp.arange(batch * strips))
  return total.reshape(size, inputs, size, outputs).swapaxes(1, 2)

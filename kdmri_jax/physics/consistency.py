"""Data consistency: the measured k-space replaces the network's estimate.

KD-MRI eq. 2 keeps the k-space X of the network's image where the mask M is 0 and
puts (X + lam*y)/(1 + lam) where it is 1. With w = lam/(1 + lam), r = F^-1 y and
P = F^-1 M F that is

  DC(x) = x - w (P x - r),

and because r does not depend on x, it is computed once for all cascades. Real
images (one channel) take the real part of P x and of r. Then only the even part
(M(k) + M(-k))/2 of the mask acts, so a real Fourier transform suffices. For a
Cartesian mask the transform along the readout axis cancels, and P works along the
phase-encode axis alone: a 1-D transform, or a circulant matrix.

Forms, which agree to float32 rounding ("line" and "matrix" end in the phase-encode
axis, 0 for rows and 1 for columns):

| form | computes | masks | channels |
|---|---|---|---|
| fft | eq. 2 literally, by a complex 2-D FFT | any | 1, 2 |
| rfft | real 2-D FFT, even part of the mask | any | 1 |
| line0, line1 | 1-D FFT along the axis, real for one channel | Cartesian | 1, 2 |
| matrix0, matrix1 | circulant matrix along the axis, no FFT | Cartesian | 1, 2 |

Measured: batch 4 of 240x240, float32, value and gradient under jit on a CPU, time
relative to "fft": one channel, one core: rfft 0.7, line 0.5, matrix 0.65; two
channels, two cores: line 0.6, matrix 1.6.
"""

import functools
import math
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from kdmri_jax.errors import ArgumentError
from kdmri_jax.physics import fourier
from kdmri_jax.physics.masks.describe import is_cartesian, phase_encode_axis
from kdmri_jax.types import Array, Measurement

Operator = Callable[[Array], Array]

FORMS = ("fft", "rfft", "line0", "line1", "matrix0", "matrix1")


def make(
  measurement: Measurement, *, channels: int, lam: float = math.inf, form: str = "auto"
) -> Operator:
  """Prepares the data consistency that all cascades share.

  Args:
    measurement: k-space, complex64 [B, H, W], and mask, [H, W] or [B, H, W], of
      any numeric or bool type; k-space outside the mask is ignored.
    channels: 1 for real images (the real part is taken), 2 for complex ones.
    lam: weight of the measurement, 0 .. inf; inf replaces, 0 changes nothing.
    form: a name in `FORMS`, or "auto" for `choose_form` where the mask is a concrete
      array and for the general "rfft" or "fft" where jit traces it. A Cartesian form is
      not checked with a traced mask.

  Returns:
    DC: image float32 [B, H, W, C] -> image float32 [B, H, W, C]; differentiable.

  Raises:
    ArgumentError: the form is unknown or does not fit the mask or the channels, or
      `lam` is negative or NaN.
    AssertionError: shapes do not fit together.

  Source: KD-MRI eq. 2 (arXiv 2004.05319); Schlemper et al. 2017, eq. 6.
  """
  kspace, mask = measurement
  chex.assert_rank([kspace, mask], [3, {2, 3}])
  chex.assert_shape(mask, (..., *kspace.shape[1:]))
  chex.assert_is_broadcastable(mask.shape, kspace.shape)
  shape = (*kspace.shape, channels)
  form = resolve_form(form, mask, channels)
  weight = _weight(lam)
  sampled = jnp.asarray(mask) != 0
  kspace = jnp.where(sampled, kspace, 0)
  if form == "fft":
    operator = _replacement(kspace, sampled, weight, channels)
  else:
    project = _projection(form, sampled.astype(jnp.float32), channels)
    measured = fourier.from_complex(fourier.ifft2(kspace), channels)

    def operator(image):
      return image - weight * (project(image) - measured)

  def make_consistent(image: Array) -> Array:
    chex.assert_shape(image, shape)
    return operator(image)

  return make_consistent


def choose_form(mask: np.ndarray, channels: int) -> str:
  """The fastest correct form for a mask, by the measurements in the module's docstring.

  Args:
    mask: concrete mask, [H, W] or [B, H, W].
    channels: 1 or 2.

  Returns:
    "line0" or "line1" for a Cartesian mask (all samples along one axis), else
    "rfft" for one channel and "fft" for two.
  """
  axis = phase_encode_axis(np.asarray(mask))
  if axis is not None:
    return f"line{axis}"
  return _general_form(channels)


def _general_form(channels: int) -> str:
  return "rfft" if channels == 1 else "fft"


def _weight(lam: float) -> float:
  """w = lam/(1 + lam), 1 for the hard replacement."""
  if not lam >= 0:
    raise ArgumentError("lam", f"{lam}", "a weight from 0 to inf")
  return 1.0 if math.isinf(lam) else lam / (1 + lam)


def resolve_form(form: str, mask: Array, channels: int) -> str:
  """The form to use: the one asked for if it fits, or the choice of "auto".

  Args:
    form: "auto" or a name in `FORMS`.
    mask: [H, W] or [B, H, W]; when jit traces it, "auto" takes a form that is always
      correct and a Cartesian form is not checked.
    channels: 1 or 2.

  Raises:
    ArgumentError: the form is unknown or does not fit the mask or the channels.
  """
  traced = isinstance(mask, jax.core.Tracer)
  if form == "auto":
    return _general_form(channels) if traced else choose_form(mask, channels)
  remedy = 'Use "auto".'
  if form not in FORMS:
    expected = f'"auto" or one of {", ".join(FORMS)}'
    raise ArgumentError("form", repr(form), expected, remedy)
  if form == "rfft" and channels != 1:
    found = f"{form!r} for images of {channels} channels"
    raise ArgumentError("form", found, "real images, 1 channel", remedy)
  if form[-1] in "01" and not traced and not is_cartesian(mask, int(form[-1])):
    found = f"{form!r} for a mask that varies along its readout axis"
    expected = f"a Cartesian mask with phase-encode axis {form[-1]}"
    raise ArgumentError("form", found, expected, remedy)
  return form


def _replacement(kspace: Array, sampled: Array, weight: float, channels: int):
  """Eq. 2 as written, the reference for tests of the other forms."""

  def operator(image):
    guess = fourier.fft2(fourier.to_complex(image))
    mixed = (1 - weight) * guess + weight * kspace
    image = fourier.ifft2(jnp.where(sampled, mixed, guess))
    return fourier.from_complex(image, channels)

  return operator


def line_axis(form: str) -> int | None:
  """The phase-encode axis of the only masks of a form; None where it takes any mask."""
  return int(form[-1]) if form[-1:] in ("0", "1") else None


def _projection(form: str, mask: Array, channels: int) -> Operator:
  """P = F^-1 M F, or its real part for one channel, on [B, H, W, C]."""
  if form == "rfft":
    return _real_projection(mask)
  axis = int(form[-1])
  line = mask[..., 0] if axis == 0 else mask[..., 0, :]
  if form.startswith("line"):
    build = _real_line_projection if channels == 1 else _complex_line_projection
  else:
    build = _real_matrix_projection if channels == 1 else _complex_matrix_projection
  return build(line, axis)


def _even(mask: Array, axes: tuple[int, ...]) -> Array:
  """(M(k) + M(-k))/2 over the given axes."""
  return (mask + jnp.roll(jnp.flip(mask, axes), (1,) * len(axes), axes)) / 2


def _real_projection(mask: Array) -> Operator:
  height, width = mask.shape[-2:]
  half = _even(mask, (-2, -1))[..., : width // 2 + 1, None]

  def project(image):
    kspace = jnp.fft.rfft2(image, axes=(1, 2))
    return jnp.fft.irfft2(half * kspace, s=(height, width), axes=(1, 2))

  return project


def _along(line: Array, axis: int) -> Array:
  """A line of k-space, [N] or [B, N], shaped to multiply an image [B, H, W, C]."""
  return line[..., :, None, None] if axis == 0 else line[..., None, :, None]


def _real_line_projection(line: Array, axis: int) -> Operator:
  length = line.shape[-1]
  half = _along(_even(line, (-1,))[..., : length // 2 + 1], axis)

  def project(image):
    kspace = jnp.fft.rfft(image, axis=axis + 1)
    return jnp.fft.irfft(half * kspace, n=length, axis=axis + 1)

  return project


def _complex_line_projection(line: Array, axis: int) -> Operator:
  line = _along(line, axis)[..., 0]

  def project(image):
    kspace = jnp.fft.fft(fourier.to_complex(image), axis=axis + 1)
    return fourier.from_complex(jnp.fft.ifft(line * kspace, axis=axis + 1), 2)

  return project


def _circulant(line: Array) -> Array:
  """F^-1 diag(line) F as a complex matrix, [N] -> [N, N] or [B, N] -> [B, N, N]."""
  index = np.arange(line.shape[-1])
  return jnp.fft.ifft(line)[..., (index[:, None] - index) % line.shape[-1]]


def _real_matrix_projection(line: Array, axis: int) -> Operator:
  matrix = jnp.real(_circulant(line))
  batch = "b" * (matrix.ndim - 2)
  indices = f"{batch}ij,bjwc->biwc" if axis == 0 else f"{batch}ij,bhjc->bhic"
  return functools.partial(jnp.einsum, indices, matrix, precision=lax.Precision.HIGHEST)


def _complex_matrix_projection(line: Array, axis: int) -> Operator:
  """The complex product as one real product: [[Re, -Im], [Im, Re]] on the channels."""
  matrix = _circulant(line)
  real, imaginary = jnp.real(matrix), jnp.imag(matrix)
  rows = [jnp.stack([real, -imaginary], -1), jnp.stack([imaginary, real], -1)]
  matrix = jnp.stack(rows, -2)
  batch = "b" * (matrix.ndim - 4)
  indices = f"{batch}ijdc,bjwc->biwd" if axis == 0 else f"{batch}ijdc,bhjc->bhid"
  return functools.partial(jnp.einsum, indices, matrix, precision=lax.Precision.HIGHEST)

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

K-space of several coils has the operator A = M F S in place of M F, with P = A^H A and
r = A^H y. P is no projection then, and complex images have two forms:

| form | computes |
|---|---|
| gradient | x - w (P x - r), a gradient step |
| proximal | x + d, (w P + 1 - w) d = w (r - P x), by conjugate gradients |

The proximal form is the image z of the smallest |z - x|^2 + lam |A z - y|^2, as eq. 2
is for one coil. Therefore a form for one coil stands for the proximal one where several
coils measure, and both forms for several coils stand for eq. 2 where one does.
"gradient0" to "proximal1" transform along the phase-encode axis of a Cartesian mask
alone. For one coil with S = 1, all of them are the form for one coil, bit for bit.

Measured: batch 4 of 240x240, float32, value and gradient under jit on a CPU, time
relative to "fft": one channel, one core: rfft 0.7, line 0.5, matrix 0.65; two
channels, two cores: line 0.6, matrix 1.6. On an NVIDIA H200 a student's training step
with one channel takes 0.98 of the time with matrix instead of line, so a GPU computes
"line0" and "line1" of up to 256 points as matrix.
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
from kdmri_jax.physics import conjugate_gradients, fourier
from kdmri_jax.physics.coils import operator as coil_operator
from kdmri_jax.physics.masks.describe import is_cartesian, phase_encode_axis
from kdmri_jax.physics.sampled import is_sampled
from kdmri_jax.types import Array, CoilMeasurement, Measurement

Operator = Callable[[Array], Array]

FORMS = ("fft", "rfft", "line0", "line1", "matrix0", "matrix1")
COIL_FORMS = tuple(
  way + axis for way in ("gradient", "proximal") for axis in ("", "0", "1")
)

_ITERATIONS = 10  # of conjugate gradients
_MATRIX_ON_GPU = 256  # most points of a transform along one axis


def make(
  measurement: Measurement | CoilMeasurement,
  *,
  channels: int,
  lam: float = math.inf,
  form: str = "auto",
) -> Operator:
  """Prepares the data consistency that all cascades share.

  Args:
    measurement: k-space, complex64 [B, H, W], or of several coils [B, C, H, W], and
      mask, [H, W] or [B, H, W], 0 and 1 of any numeric or bool type; k-space outside
      the mask is ignored.
    channels: 1 for real images (the real part is taken), 2 for complex ones; 2 for
      several coils.
    lam: weight of the measurement, 0 .. inf; inf replaces, 0 changes nothing.
    form: a name in `FORMS` or `COIL_FORMS`, or "auto" for `choose_form` where the mask
      is a concrete array and for the general "rfft" or "fft" where jit traces it. A
      Cartesian form is not checked with a traced mask.

  Returns:
    DC: image float32 [B, H, W, C] -> image float32 [B, H, W, C]; differentiable.

  Raises:
    ArgumentError: there is no measurement, the form is unknown or does not fit the mask
      or the channels, the mask has other values, or `lam` is negative or NaN.
    AssertionError: shapes do not fit together.

  Source: KD-MRI eq. 2 (arXiv 2004.05319); Schlemper et al. 2017, eq. 6; for several
    coils Hammernik et al. 2018, eq. 4 (gradient), Aggarwal et al. 2019 (proximal).
  """
  check_measured(measurement)
  if isinstance(measurement, CoilMeasurement):
    several = _of_coils(measurement, channels, lam, form)
    if measurement.kspace.shape[1] > 1:
      return several
    return _of_one_coil(measurement, several, channels, lam, form)
  kspace, mask = measurement
  chex.assert_rank([kspace, mask], [3, {2, 3}])
  chex.assert_shape(mask, (..., *kspace.shape[1:]))
  chex.assert_is_broadcastable(mask.shape, kspace.shape)
  shape = (*kspace.shape, channels)
  form = resolve_form(form, mask, channels)
  if form in COIL_FORMS:
    axis = line_axis(form)
    form = _general_form(channels) if axis is None else f"line{axis}"
  weight = _weight(lam)
  sampled = is_sampled(mask)
  kspace = jnp.where(sampled, kspace, 0)
  if form == "fft":
    operator = _replacement(kspace, sampled, weight, channels)
  else:
    sampled = sampled.astype(jnp.float32)
    measured = fourier.from_complex(fourier.ifft2(kspace), channels)
    operator = _change(form, sampled, weight, measured)

  def make_consistent(image: Array) -> Array:
    chex.assert_shape(image, shape)
    return operator(image)

  return make_consistent


def _of_coils(measurement, channels, lam, form):
  kspace, mask, sensitivities = measurement
  chex.assert_rank([kspace, mask, sensitivities], [4, {2, 3}, {3, 4}])
  images, _, *size = kspace.shape
  if channels != 2:
    expected = "2, the real and the imaginary part: images of several coils are complex"
    raise ArgumentError("channels", f"{channels}", expected)
  form = resolve_form(form, mask, channels)
  weight, axis = _weight(lam), line_axis(form)
  normal = coil_operator.normal(sensitivities, mask, axis)
  measured = coil_operator.adjoint(kspace, sensitivities, mask)

  def change(image):
    """w (r - P x), or in the proximal form d; on complex images."""
    residual = weight * (measured - normal(image))
    if form.startswith("gradient"):
      return residual
    return conjugate_gradients.solve(
      lambda d: weight * normal(d) + (1 - weight) * d,
      residual,
      iterations=_ITERATIONS,
      reference=measured,
    )

  def make_consistent(image: Array) -> Array:
    chex.assert_shape(image, (images, *size, channels))
    return image + fourier.from_complex(change(fourier.to_complex(image)), channels)

  return make_consistent


def _of_one_coil(measurement, several, channels, lam, form):
  """Where the sensitivity is 1, the data consistency without sensitivities."""
  kspace, mask, sensitivities = measurement
  plain = Measurement(kspace[:, 0], mask)
  alone = make(plain, channels=channels, lam=lam, form=form)
  is_one = (sensitivities == 1).all()
  if isinstance(is_one, jax.core.Tracer):
    return lambda image: jax.lax.cond(is_one, alone, several, image)
  return alone if is_one else several


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
  return _general_form(channels) if axis is None else f"line{axis}"


def check_measured(measurement: Measurement | CoilMeasurement | None) -> None:
  """Raises ArgumentError where a network with data consistency gets no measurement."""
  if measurement is None:
    expected = "the k-space and the mask that data consistency restores"
    raise ArgumentError("measurement", "None", expected)


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
    form: "auto" or a name in `FORMS` or `COIL_FORMS`.
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
  if form not in FORMS + COIL_FORMS:
    expected = f'"auto" or one of {", ".join(FORMS + COIL_FORMS)}'
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


def _change(form: str, mask: Array, weight: float, measured: Array) -> Operator:
  """x - w (P x - r) in any form but "fft"."""
  channels, axis = measured.shape[-1], line_axis(form)
  if axis is not None:
    line = mask[..., :1] if axis == 0 else mask[..., :1, :]

  def by_fft(image):
    if axis is None:
      projected = _real_projection(mask, (-2, -1))(image)
    else:
      projected = _line_projection(line, axis - 2, channels)(image)
    return image - weight * (projected - measured)

  def by_matrix(image):
    keep = _matrix_product(1 - weight * line, axis - 2, channels)
    return keep(image) + weight * measured

  if form.startswith("matrix"):
    return by_matrix
  if axis is None or channels > 1 or mask.shape[axis - 2] > _MATRIX_ON_GPU:
    return by_fft
  ways = {"cuda": by_matrix, "rocm": by_matrix}
  return lambda image: lax.platform_dependent(image, **ways, default=by_fft)


def line_axis(form: str) -> int | None:
  """The phase-encode axis of the only masks of a form; None where it takes any mask."""
  return int(form[-1]) if form[-1:] in ("0", "1") else None


def _line_projection(line: Array, axis: int, channels: int) -> Operator:
  """P by a transform along the axis, or its real part for one channel."""
  if channels == 1:
    return _real_projection(line, (axis,))

  def project(image):
    kspace = jnp.fft.fft(fourier.to_complex(image), axis=axis)
    return fourier.from_complex(jnp.fft.ifft(line * kspace, axis=axis), channels)

  return project


def _real_projection(mask: Array, axes: tuple[int, ...]) -> Operator:
  """By the real transform along axes of the mask, which has length 1 along others."""
  even = (mask + jnp.roll(jnp.flip(mask, axes), (1,) * len(axes), axes)) / 2
  lengths = [mask.shape[axis] for axis in axes]
  half = lax.slice_in_dim(even, 0, lengths[-1] // 2 + 1, axis=axes[-1])[..., None]
  of_image = [axis - 1 for axis in axes]  # the channels follow

  def project(image):
    kspace = jnp.fft.rfftn(image, axes=of_image)
    return jnp.fft.irfftn(half * kspace, s=lengths, axes=of_image)

  return project


def _matrix_product(line: Array, axis: int, channels: int) -> Operator:
  """F^-1 diag(line) F, or its real part for one channel: a product with a matrix.

  The matrix is circulant. The complex product is a real one, with [[Re, -Im], [Im, Re]]
  on the channels.
  """
  line = jnp.squeeze(line, -3 - axis)
  index = np.arange(line.shape[-1])
  matrix = jnp.fft.ifft(line)[..., (index[:, None] - index) % line.shape[-1]]
  batch, mix, channel = "b" * (line.ndim - 1), "", "c"
  real, imaginary = jnp.real(matrix), jnp.imag(matrix)
  if channels == 1:
    matrix = real
  else:
    rows = [jnp.stack([real, -imaginary], -1), jnp.stack([imaginary, real], -1)]
    matrix, mix, channel = jnp.stack(rows, -2), "dc", "d"
  image, result = ("bjwc", "biw") if axis == -2 else ("bhjc", "bhi")
  indices = f"{batch}ij{mix},{image}->{result}{channel}"
  return functools.partial(jnp.einsum, indices, matrix, precision=lax.Precision.HIGHEST)

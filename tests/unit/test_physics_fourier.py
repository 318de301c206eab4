"""The Fourier transform against NumPy in double precision, and its adjoint."""

import numpy as np
import pytest

from kdmri_jax.physics import fourier

SHAPES = [(2, 6, 8), (3, 7, 5), (1, 4, 9)]


def complex_image(shape, seed=0):
  rng = np.random.default_rng(seed)
  return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_fft2_is_the_orthonormal_uncentred_transform(shape):
  image = complex_image(shape)
  rows, columns = (np.arange(n) for n in shape[1:])
  along_rows = np.exp(-2j * np.pi * np.outer(rows, rows) / shape[1])
  along_columns = np.exp(-2j * np.pi * np.outer(columns, columns) / shape[2])
  expected = along_rows @ image @ along_columns / np.sqrt(shape[1] * shape[2])
  kspace = fourier.fft2(image)
  assert kspace.dtype == np.complex64
  np.testing.assert_allclose(kspace, expected, atol=2e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_ifft2_inverts_and_is_the_adjoint(shape):
  image, kspace = complex_image(shape), complex_image(shape, 1)
  np.testing.assert_allclose(fourier.ifft2(fourier.fft2(image)), image, atol=2e-6)
  forward = np.vdot(fourier.fft2(image), kspace)
  backward = np.vdot(image, fourier.ifft2(kspace))
  np.testing.assert_allclose(forward, backward, rtol=1e-5, atol=1e-5)


def test_zero_frequency_is_at_the_origin():
  kspace = np.asarray(fourier.fft2(np.ones((1, 6, 8))))
  assert kspace[0, 0, 0] == pytest.approx(np.sqrt(48))
  assert np.abs(kspace).sum() == pytest.approx(np.sqrt(48), rel=1e-5)


def test_channels_are_real_and_imaginary_part():
  image = complex_image((2, 4, 5)).astype(np.complex64)
  split = fourier.from_complex(image, 2)
  assert split.dtype == np.float32
  np.testing.assert_array_equal(split, np.stack([image.real, image.imag], -1))
  np.testing.assert_array_equal(fourier.to_complex(split), image)


def test_one_channel_is_the_real_part():
  image = complex_image((2, 4, 5)).astype(np.complex64)
  real = fourier.from_complex(image, 1)
  np.testing.assert_array_equal(real, image.real[..., None])
  joined = fourier.to_complex(real)
  assert joined.dtype == np.complex64
  np.testing.assert_array_equal(joined, image.real)


def test_three_channels_are_refused():
  with pytest.raises(ValueError, match="1 or 2 channels, not 3"):
    fourier.to_complex(np.ones((1, 4, 4, 3)))
  with pytest.raises(ValueError, match="1 or 2 channels, not 0"):
    fourier.from_complex(np.ones((1, 4, 4), complex), 0)

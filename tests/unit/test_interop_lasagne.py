"""DC-CNNs of Lasagne against a forward pass in float64, and files that are none."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

import kdmri_jax as kd
from kdmri_jax import interop
from kdmri_jax.errors import UserError
from kdmri_jax.models import DCCNN, features
from kdmri_jax.training import given
from kdmri_jax.types import Measurement

pytestmark = pytest.mark.usefixtures("quick_compilation")


def draw(cascades=2, convolutions=3, width=4, channels=2):
  """The arrays of a DC-CNN by their names."""
  rng, arrays = np.random.default_rng(0), []
  sizes = [channels, *[width] * (convolutions - 1), channels]
  for _ in range(cascades):
    for inputs, outputs in itertools.pairwise(sizes):
      scale = 1 / np.sqrt(9 * inputs)
      arrays += [scale * rng.normal(size=(outputs, inputs, 3, 3))]
      arrays += [0.1 * rng.normal(size=outputs)]
  return {f"arr_{k}": array.astype(np.float32) for k, array in enumerate(arrays)}


def reconstruct(arrays, kspace, mask, convolutions):
  """In float64: convolutions in the sense of mathematics, which turn their kernels."""
  image = np.fft.ifft2(mask * kspace, norm="ortho")
  for start in range(0, len(arrays), 2 * convolutions):
    x = np.stack([image.real, image.imag])
    for k in range(start, start + 2 * convolutions, 2):
      kernel, bias = arrays[f"arr_{k}"].astype(float), arrays[f"arr_{k + 1}"]
      x = np.stack(
        [
          bias[o] + sum(map(scipy.signal.convolve2d, x, kernel[o], ["same"] * len(x)))
          for o in range(len(kernel))
        ]
      )
      x = np.maximum(x, 0) if k < start + 2 * convolutions - 2 else x
    guess = np.fft.fft2(image + x[0] + 1j * x[1], norm="ortho")
    image = np.fft.ifft2(np.where(mask, kspace, guess), norm="ortho")
  return image


def measured(size=(12, 10)):
  """A complex image, [1, H, W, 2] zero-filled, and its measurement."""
  rng = np.random.default_rng(1)
  image = rng.random((1, *size)) * np.exp(1j * rng.random((1, *size)))
  mask = kd.masks.cartesian(size, 2, 4)
  zero_filled, measurement = kd.undersample(image, mask)
  parts = np.stack([np.real(zero_filled), np.imag(zero_filled)], -1)
  return parts.astype(np.float32), measurement


@pytest.mark.parametrize("convolutions", [2, 3])
def test_the_image_of_the_original(tmp_path, convolutions):
  arrays = draw(convolutions=convolutions)
  np.savez(tmp_path / "d.npz", *arrays.values())
  model, variables = interop.load_lasagne_checkpoint(tmp_path / "d.npz")
  settings = dict(cascades=2, convolutions=convolutions, features=4, channels=2)
  assert model == DCCNN(**settings)
  zero_filled, measurement = measured()
  found = jax.jit(model.apply)(variables, zero_filled, measurement).image[0]
  kspace = np.asarray(measurement.kspace[0], complex)
  expected = reconstruct(arrays, kspace, measurement.mask, convolutions)
  np.testing.assert_allclose(found[..., 0] + 1j * found[..., 1], expected, atol=1e-5)


def test_kernels_that_are_not_flipped_are_those_for_turned_images():
  arrays = draw()
  model, flipped = interop.from_lasagne_arrays(arrays)
  _, plain = interop.from_lasagne_arrays(arrays, flipped=False)
  zero_filled, (kspace, mask) = measured()
  turned = jnp.flip(jnp.fft.ifft2(kspace, norm="ortho"), (-2, -1))
  of_turned = Measurement(
    jnp.fft.fft2(turned, norm="ortho"), np.roll(np.flip(mask), (1, 1), (0, 1))
  )
  expected = model.apply(flipped, zero_filled, Measurement(kspace, mask)).image
  found = model.apply(plain, np.flip(zero_filled, (1, 2)), of_turned).image
  assert np.abs(expected - zero_filled).max() > 0.1
  np.testing.assert_allclose(np.flip(found, (1, 2)), expected, atol=1e-5)


def test_the_published_size():
  """Five cascades of five convolutions, 2 channels, 64 features: 50 arrays."""
  arrays = draw(5, 5, 64)
  model, variables = interop.from_lasagne_arrays(arrays)
  assert model == DCCNN(5, 5, 64, 2) and len(arrays) == 50
  assert features.count_parameters(variables) == 565_770


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda a: a.pop("arr_11"), "missing arr_11"),
    (lambda a: a.update(x=np.ones(2)), "unknown x"),
    (lambda a: a.update(arr_3=np.ones(5)), r"arr_3 of shape \(5,\) instead of \(4,\)"),
    (lambda a: a.update(arr_0=np.ones(3)), r"no arr_0 \[O, I, 3, 3\] among arr_0"),
    (lambda a: a.update(arr_2=np.full((4, 4, 3, 3), np.nan)), "arr_2 .* NaN"),
    (lambda a: a.update(arr_0=np.ones((4, 3, 3, 3))), "no cascade of two convolutions"),
    (lambda a: a.update(draw(width=2)), "no cascade of two convolutions"),
  ],
)
def test_arrays_of_other_networks_are_refused(tmp_path, change, message):
  arrays = draw()
  change(arrays)
  np.savez(tmp_path / "d.npz", **arrays)
  with pytest.raises(UserError, match=message) as caught:
    interop.load_lasagne_checkpoint(tmp_path / "d.npz")
  assert "Use a checkpoint of Deep-MRI-Reconstruction's DC-CNN" in str(caught.value)


def test_files_that_are_no_archive_are_refused(tmp_path):
  (tmp_path / "d.npz").write_bytes(b"nothing")
  with pytest.raises(UserError, match=r"d\.npz"):
    interop.load_lasagne_checkpoint(tmp_path / "d.npz")


def test_a_stage_whose_weights_are_given(tmp_path, caplog):
  np.savez(tmp_path / "d.npz", *draw().values())
  where, model = str(tmp_path / "d.npz"), DCCNN(2, 3, 4, 2)
  _, expected = interop.load_lasagne_checkpoint(where)
  found = given.find(where, "config.stages.teacher.given", model).weights(0, None)
  jax.tree.map(np.testing.assert_array_equal, found, expected["params"])
  assert "kernels are taken for those of Lasagne's Conv2DLayer" in caplog.text
  with pytest.raises(UserError, match=r"another network \(cascades: 2 there, 3 here\)"):
    given.find(where, "config.stages.teacher.given", model.clone(cascades=3))

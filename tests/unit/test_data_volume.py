"""Preparation of volumes: checks, central slices, crop, scaling."""

import dataclasses

import numpy as np
import pytest
from helpers.data_files import config, images

from kdmri_jax.data.volume import Volume, crop, prepare
from kdmri_jax.errors import UserError


def volume(target=None, **fields):
  target = images() if target is None else target
  return Volume("a", "s", target, record={"file": "a.h5"}, **fields)


def measured(target, mask):
  """A volume with k-space, all by the definition, in float64."""
  kspace = mask * np.fft.fft2(target, norm="ortho")
  zero_filled = np.abs(np.fft.ifft2(kspace, norm="ortho"))
  return volume(target, kspace=kspace, zero_filled=zero_filled)


MASK = np.array([1, 1, 0, 0, 1, 0])[:, None] * np.ones(5)


def test_scales_by_the_maximum_of_the_cropped_central_slices():
  target = images(shape=(5, 8, 7))
  target[0], target[2, 0, 0] = 100, 50  # outside the slices kept, outside the crop
  out = prepare(volume(target), config(slices_per_volume=3, crop=(4, 3)))
  expected = target[1:4, 2:6, 2:5]
  np.testing.assert_allclose(out.target, expected / expected.max(), rtol=1e-6)
  assert out.target.dtype == np.float32
  assert out.record["slices"] == [1, 4]
  assert out.record["stored_shape"] == [5, 8, 7]
  assert out.record["shape"] == [3, 4, 3]
  assert out.record["scale_factor"] == pytest.approx(expected.max())


def test_no_scaling_keeps_the_values():
  out = prepare(volume(), config(scaling="none"))
  np.testing.assert_array_equal(out.target, images().astype(np.float32))
  assert out.record["scale_factor"] == 1.0


def test_complex_images_keep_their_phase():
  target = images() * np.exp(1j * images(1))
  out = prepare(volume(target), config())
  np.testing.assert_allclose(out.target, target / np.abs(target).max(), rtol=1e-5)
  assert out.target.dtype == np.complex64


@pytest.mark.parametrize(("have", "size"), [(7, 4), (4, 7), (6, 3), (5, 5), (3, 4)])
def test_crop_and_padding_undo_each_other(have, size):
  picture = images(shape=(2, have, have))
  once = crop(picture, (size, size))
  assert once.shape == (2, size, size)
  small, large = (picture, once) if size > have else (once, picture)
  first = (max(have, size) - min(have, size)) // 2
  kept = slice(first, first + min(have, size))
  np.testing.assert_array_equal(large[:, kept, kept], small)
  if size > have:
    assert once.sum() == pytest.approx(picture.sum())


def test_stored_kspace_is_scaled_with_the_target():
  target = images()
  out = prepare(measured(target, MASK), config())
  again = np.fft.ifft2(out.kspace, norm="ortho")
  np.testing.assert_allclose(np.abs(again), out.zero_filled, atol=1e-6)
  made = MASK * np.fft.fft2(target / target.max(), norm="ortho")
  np.testing.assert_allclose(out.kspace, made, atol=1e-5)
  assert (out.kspace.dtype, out.zero_filled.dtype) == (np.complex64, np.float32)


def test_tells_simulated_from_measured_kspace():
  made = measured(images(), MASK)
  assert prepare(made, config()).record["simulated_kspace"] is True
  other = dataclasses.replace(made, target=images(3))
  assert prepare(other, config()).record["simulated_kspace"] is False


@pytest.mark.parametrize("size", [(4, 5), (6, 8)])
def test_what_was_measured_is_simulated_after_a_crop(size):
  """Of a complex target, whose transform is the measured k-space."""
  record = {"simulated_kspace": False, "note": "A knee."}
  scan = Volume("a", "s", images().astype(np.complex64), record=record)
  assert prepare(scan, config()).record["simulated_kspace"] is False
  cut = prepare(scan, config(crop=size)).record
  assert cut["simulated_kspace"] is True
  assert cut["note"].startswith("A knee. K-space is that of the cropped or padded")


def test_small_negative_values_are_set_to_0_and_counted():
  target = images()
  target[0, 0, :3] = -1e-4
  out = prepare(volume(target), config())
  assert out.target.min() == 0
  assert out.record["negatives_set_to_0"] == 3


def with_value(value):
  target = images()
  target[1, 2, 3] = value
  return target


BAD = {
  "NaN": (volume(with_value(np.nan)), "1 NaN or infinite values"),
  "infinite": (volume(with_value(np.inf)), "1 NaN or infinite values"),
  "too large for float32": (volume(with_value(1e300)), "1 NaN or infinite values"),
  "negative": (volume(with_value(-1.0)), "negative intensities down to -1"),
  "zero": (volume(np.zeros((2, 4, 4))), "the same value 0.0 everywhere"),
  "constant": (volume(np.full((2, 4, 4), 3)), "the same value 3.0 everywhere"),
  "empty": (volume(np.zeros((0, 4, 4))), r"shape \(0, 4, 4\)"),
  "two dimensions": (volume(np.ones((4, 4))), r"shape \(4, 4\)"),
  "text": (volume(np.full((2, 4, 4), b"a")), "values of type"),
  "only k-space": (volume(kspace=images() + 0j), "without its zero-filled image"),
  "only zero-filled": (volume(zero_filled=images()), "without its k-space"),
  "real k-space": (volume(kspace=images(), zero_filled=images()), "real k-space"),
  "complex input": (
    volume(kspace=images() + 0j, zero_filled=images() + 0j),
    "complex zero-filled image",
  ),
  "other shape": (
    volume(kspace=images(0, (4, 5, 6)) + 0j, zero_filled=images()),
    r"k-space of shape \(4, 5, 6\)",
  ),
  "NaN in k-space": (
    volume(kspace=with_value(np.nan) + 0j, zero_filled=images()),
    "NaN or infinite values in the k-space",
  ),
  "k-space of another scale": (
    dataclasses.replace(
      measured(images(), MASK), kspace=MASK * np.fft.fft2(images(), norm="backward")
    ),
    "differs from",
  ),
}


@pytest.mark.parametrize("case", BAD)
def test_refuses(case):
  bad, found = BAD[case]
  with pytest.raises(UserError, match=found) as caught:
    prepare(bad, config())
  assert str(caught.value).startswith("a.h5: found ")


def test_refuses_a_crop_that_holds_nothing():
  target = np.pad(images(), ((0, 0), (6, 0), (5, 0)))
  with pytest.raises(UserError, match=r"the same value 0.0 everywhere"):
    prepare(volume(target * (np.arange(12)[:, None] > 9)), config(crop=(2, 2)))


def test_refuses_to_crop_measured_kspace():
  with pytest.raises(UserError, match=r"which crop=.4, 4. would cut"):
    prepare(measured(images(), MASK), config(crop=(4, 4)))
  assert prepare(measured(images(), MASK), config(crop=(6, 5))).target.shape == (
    4,
    6,
    5,
  )


@pytest.mark.parametrize(
  ("setting", "value"),
  [("crop", (0, 4)), ("crop", (-2, 4)), ("scaling", "max"), ("slices_per_volume", -1)],
)
def test_refuses_impossible_settings(setting, value):
  with pytest.raises(UserError, match=rf"^{setting}: found"):
    prepare(volume(), config(**{setting: value}))

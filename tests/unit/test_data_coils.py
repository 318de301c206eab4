"""The transform and the combination of coils."""

import numpy as np
import pytest
from helpers.raw_files import noise, scan, to_kspace

from kdmri_jax.errors import UserError
from kdmri_jax.physics.coils import combination


def padded(kspace, rows=(0, 0), columns=(0, 0)):
  return np.pad(kspace, [(0, 0)] * (kspace.ndim - 2) + [rows, columns])


def combined(kspace, way="rss", sensitivities=None):
  """Of k-space [S, C, H, W]."""
  maps = [None] * len(kspace) if sensitivities is None else sensitivities
  return combination.combine(zip(kspace, maps, strict=True), way, "FILE")


@pytest.mark.parametrize("size", [(8, 6), (9, 6), (8, 7), (9, 7)])
@pytest.mark.parametrize("centred_image", [True, False])
def test_the_transform_is_the_definition(size, centred_image):
  image = noise((2, *size))
  kspace = to_kspace(image, centred_image=centred_image)
  again = combination.to_image(kspace.astype(np.complex64), centred_image=centred_image)
  assert again.dtype == np.complex64
  np.testing.assert_allclose(again, image, atol=1e-5)
  assert np.linalg.norm(again) == pytest.approx(np.linalg.norm(kspace), rel=1e-5)


def test_zero_frequency_leaves_the_reader_at_0_0():
  """The pipeline's k-space of the image has the measured value there."""
  kspace = noise((1, 1, 9, 8)).astype(np.complex64)
  target, _ = combined(kspace, "")
  made = np.abs(np.fft.fft2(target, norm="ortho"))
  np.testing.assert_allclose(made[0, 0, 0], np.abs(kspace[0, 0, 4, 4]), rtol=1e-5)
  np.testing.assert_allclose(made[0, 1, 7], np.abs(kspace[0, 0, 5, 3]), rtol=1e-5)


def test_root_sum_of_squares():
  images, maps = scan()
  target, record = combined(to_kspace(maps * images[:, None]).astype(np.complex64))
  expected = np.abs(images) * np.sqrt((np.abs(maps) ** 2).sum(1))
  np.testing.assert_allclose(target, expected, rtol=1e-5)
  assert target.dtype == np.float32
  assert record == {
    "coils": 4,
    "combine": "rss",
    "simulated_kspace": True,
    "zero_padding": {"rows": [0, 0], "columns": [0, 0]},
    "note": combination.COMBINED["rss"],
  }


def test_no_slices_are_refused():
  with pytest.raises(UserError, match=r"FILE: found no slices; expected at least one"):
    combination.combine([], "rss", "FILE")


def test_sensitivities_give_the_image_back():
  images, maps = scan()
  maps[:, :, 2, 3] = 0
  kspace = to_kspace(maps * images[:, None]).astype(np.complex64)
  target, record = combined(kspace, "sense", maps.astype(np.complex64))
  assert target.dtype == np.complex64
  assert np.all(target[:, 2, 3] == 0)
  images[:, 2, 3] = 0
  np.testing.assert_allclose(target, images, atol=1e-4)
  assert record["combine"] == "sense" and record["simulated_kspace"]


def test_zero_padding_is_what_is_zero_in_all_slices_and_coils():
  kspace = padded(noise((2, 3, 9, 8)), (2, 1), (0, 3))
  kspace[0, :, 2] = 0
  kspace[1, :2, 3] = 0
  _, record = combined(kspace)
  assert record["zero_padding"] == {"rows": [2, 1], "columns": [0, 3]}
  assert "interpolated" in record["note"]


def test_a_slice_without_signal_is_no_undersampling():
  kspace = noise((2, 3, 9, 8))
  kspace[0] = 0
  _, record = combined(kspace)
  assert record["zero_padding"] == {"rows": [0, 0], "columns": [0, 0]}
  _, record = combined(0 * kspace)
  assert record["zero_padding"] == {"rows": [0, 0], "columns": [0, 0]}


@pytest.mark.parametrize(
  ("empty", "message"),
  [
    ((slice(None), slice(1, 4)), r"slice 1: 3 empty columns between"),
    ((slice(5, 7),), r"slice 1: 2 empty rows between"),
  ],
)
def test_empty_lines_inside_are_refused_even_in_one_slice(empty, message):
  kspace = padded(noise((2, 3, 9, 8)), (1, 2), (0, 3))
  kspace[1, :, *empty] = 0
  with pytest.raises(UserError, match=rf"FILE: found undersampled k-space \({message}"):
    combined(kspace)


def test_scattered_empty_points_are_refused_but_not_an_elliptic_shutter():
  kspace = noise((1, 2, 60, 50))
  rows, columns = np.ogrid[-1:1:60j, -1:1:50j]
  shutter = (rows**2 + columns**2 <= 1.001).astype(float)
  combined(kspace * shutter)
  scattered = np.random.default_rng(0).random((60, 50)) < 0.5
  with pytest.raises(UserError, match=r"slice 0: [45]\d% of the points empty"):
    combined(kspace * scattered)


def test_slices_of_other_shapes_are_refused():
  with pytest.raises(
    UserError, match=r"k-space of \(2, 9, 7\) in slice 1; .*\(2, 9, 8"
  ):
    combination.combine(
      [(noise((2, 9, 8)), None), (noise((2, 9, 7)), None)], "rss", "FILE"
    )


def test_the_ways_a_source_has():
  assert combination.chosen("", "rss") == ""
  assert combination.chosen("sense", "rss", "sense") == "sense"
  with pytest.raises(UserError, match=r"combine: found 'sense'; .*'rss', or ''"):
    combination.chosen("sense", "rss")
  with pytest.raises(UserError, match=r"found 'sos'; expected one of 'rss', 'sense'"):
    combination.chosen("sos", "rss", "sense")

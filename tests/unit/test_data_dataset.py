"""From a source to slice sets."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
from helpers.data_files import (
  EVEN_ROWS,
  all_sampled,
  config,
  images,
  kdmri_folder,
  measured_by,
  save_h5,
  save_nifti,
  stack,
)

from kdmri_jax.data import load, read
from kdmri_jax.data.sources.prepared import write_folder
from kdmri_jax.errors import UserError
from kdmri_jax.types import Acquisition


def test_phantoms_end_to_end():
  asked = []

  def acquisition_for(shape):
    asked.append(shape)
    return Acquisition(np.ones((1, *shape), np.uint8))

  data = load(config(), acquisition_for)
  assert asked == [(32, 28)]
  assert data.acquisitions[32, 28].masks.dtype == np.uint8
  assert data.train.parts[0].target.shape == (9, 32, 28, 1)
  assert data.train.parts[0].target.dtype == np.float32
  assert data.train.parts[0].kspace is None
  assert data.train.parts[0].zero_filled is None
  assert data.train.spans == ((0, 0, 3), (0, 3, 6), (0, 6, 9))
  assert data.test is data.validation
  for volume, (_, start, stop) in data.train.of_part(0):
    rows = data.train.parts[0].target[start:stop]
    np.testing.assert_array_equal(volume.target, rows[..., 0])
    assert np.shares_memory(volume.target, rows)


def test_the_record_tells_everything_in_json():
  record = json.loads(json.dumps(load(config(), all_sampled).record))
  assert (record["source"], record["unit"]) == ("phantom", "subject")
  assert record["slices"] == {"train": 9, "validation": 3}
  assert len(record["subjects"]["train"]) == 3
  assert record["shapes"] == {"32x28": {"train": 9, "validation": 3}}
  assert record["channels"] == 1
  assert record["simulated_kspace"] is True
  assert record["held_out_test"] is False
  assert any("Synthetic anatomy" in note for note in record["notes"])
  assert len(record["volumes"]) == 4
  assert {"name", "subject", "split", "scale_factor"} <= set(record["volumes"][0])


def test_complex_volumes_become_two_channels():
  phantom = dataclasses.replace(config().phantom, phase=True)
  data = load(config(phantom=phantom), all_sampled)
  assert data.train.parts[0].target.shape == (9, 32, 28, 2)
  volume = data.train.volumes[1]
  np.testing.assert_array_equal(
    volume.target.real, data.train.parts[0].target[3:6, ..., 0]
  )
  np.testing.assert_array_equal(
    volume.target.imag, data.train.parts[0].target[3:6, ..., 1]
  )


def test_one_complex_volume_makes_all_of_two_channels(tmp_path):
  save_h5(tmp_path / "a.h5", target=images(0) + 0j)
  save_h5(tmp_path / "b.h5", target=images(1))
  settings = config(source="prepared", root=str(tmp_path), validation=("b",))
  data = load(settings, all_sampled)
  assert data.validation.parts[0].target.shape[-1] == 2
  assert np.all(data.validation.parts[0].target[..., 1] == 0)


def test_stored_kspace_is_used(tmp_path):
  data = load(kdmri_folder(tmp_path), measured_by(EVEN_ROWS))
  slices = data.train.parts[0]
  assert slices.kspace.shape == (6, 6, 5)
  assert slices.kspace.dtype == np.complex64
  assert slices.zero_filled.shape == (6, 6, 5, 1)
  again = np.abs(np.fft.ifft2(slices.kspace, norm="ortho"))
  np.testing.assert_allclose(again, slices.zero_filled[..., 0], atol=1e-6)
  assert data.record["stored_kspace_used"] is True
  assert data.record["simulated_kspace"] is True  # it is the transform of the target
  assert data.validation.volumes[0].name == "0"


def test_stored_kspace_is_left_where_one_file_has_none(tmp_path):
  settings = kdmri_folder(tmp_path)
  save_h5(tmp_path / "train" / "acc_4x" / "5.h5", volfs=images(5, (6, 5, 3)))
  data = load(settings, measured_by(EVEN_ROWS))
  assert data.train.parts[0].kspace is None
  assert data.validation.parts[0].zero_filled is None
  assert data.record["simulated_kspace"] is True
  assert any("others have none" in note for note in data.record["notes"])


def test_complex_data_with_kspace_has_a_complex_input(tmp_path):
  for name, seed in (("a", 0), ("b", 1)):
    target = images(seed) * np.exp(1j * images(seed + 5))
    kspace = EVEN_ROWS * np.fft.fft2(target, norm="ortho")
    zero_filled = np.fft.ifft2(kspace, norm="ortho")
    arrays = {"target": target, "kspace": kspace, "zero_filled": np.abs(zero_filled)}
    save_h5(tmp_path / f"{name}.h5", **arrays)
  settings = config(source="prepared", root=str(tmp_path), validation=("b",))
  data = load(settings, measured_by(EVEN_ROWS))
  expected = zero_filled / np.abs(target).max()
  got = data.validation.parts[0].zero_filled
  np.testing.assert_allclose(got[..., 0] + 1j * got[..., 1], expected, atol=1e-5)
  assert data.record["simulated_kspace"] is False


MASKS = {
  "odd rows": (1 - EVEN_ROWS, "samples at 15 points where the mask has none"),
  "fewer rows": (EVEN_ROWS * (np.arange(6) < 3)[:, None], "samples at 5 points"),
  "every row": (np.ones((6, 5)), "empty at 15 points which the mask samples"),
  "shifted": (np.fft.fftshift(EVEN_ROWS), "samples at 15 points"),
}


@pytest.mark.parametrize("case", MASKS)
def test_refuses_kspace_of_another_mask(tmp_path, case):
  mask, message = MASKS[case]
  with pytest.raises(UserError, match=rf"0.h5: found k-space that .*{message}"):
    load(kdmri_folder(tmp_path), measured_by(mask))


def test_slices_of_each_shape_are_a_part(tmp_path):
  shapes = {"a": (6, 5, 3), "b": (4, 8, 2), "c": (6, 5, 1), "d": (4, 8, 4)}
  for seed, (name, shape) in enumerate(shapes.items()):
    save_nifti(tmp_path / f"{name}.nii", stack(seed, shape))
  settings = config(source="nifti", root=str(tmp_path), validation=("d",))
  data = load(settings, all_sampled)
  assert {s: a.masks.shape[1:] for s, a in data.acquisitions.items()} == {
    (6, 5): (6, 5),
    (4, 8): (4, 8),
  }
  assert [part.target.shape[:3] for part in data.train.parts] == [(4, 6, 5), (2, 4, 8)]
  assert data.train.spans == ((0, 0, 3), (1, 0, 2), (0, 3, 4))
  assert [volume.name for volume, _ in data.train.of_part(0)] == ["a", "c"]
  assert [part.target.shape[:3] for part in data.validation.parts] == [(4, 4, 8)]
  for volume, (part, start, stop) in zip(
    data.train.volumes, data.train.spans, strict=True
  ):
    rows = data.train.parts[part].target[start:stop, ..., 0]
    np.testing.assert_array_equal(volume.target, rows)
  assert data.record["shapes"]["4x8"] == {"train": 2, "validation": 4}
  cropped = dataclasses.replace(settings, crop=(4, 5))
  assert load(cropped, all_sampled).train.parts[0].target.shape == (6, 4, 5, 1)


def test_subjects_in_no_split_decide_nothing(tmp_path):
  for seed, (name, shape) in enumerate(
    {"a": (4, 4, 3), "b": (6, 5, 3), "c": (6, 5, 3)}.items()
  ):
    save_nifti(tmp_path / f"{name}.nii", stack(seed, shape))
  settings = config(source="nifti", root=str(tmp_path), train=("b",), validation=("c",))
  data = load(settings, all_sampled)
  assert list(data.acquisitions) == [(6, 5)]
  assert data.record["unused_subjects"] == ["a"]


def test_refuses_too_many_shapes(tmp_path):
  for width in range(4, 21):
    save_nifti(tmp_path / f"{width:02d}.nii", stack(width, (6, width, 1)))
  settings = config(source="nifti", root=str(tmp_path), validation=("20",))
  message = r"20.nii: found slices of \(6, 20\), of which there are 17 .*crop=\(6,20\)"
  with pytest.raises(UserError, match=message):
    load(settings, all_sampled)


def test_refuses_more_than_the_memory_allows(tmp_path):
  for seed in range(3):
    save_nifti(tmp_path / f"{seed}.nii", stack(seed, (256, 256, 2)))  # 0.5 MiB each
  settings = config(source="nifti", root=str(tmp_path), memory_mb=1)
  with pytest.raises(
    UserError, match=r"2.nii: found images that together need.*memory_mb=1"
  ):
    load(settings, all_sampled)


def test_refuses_one_image_in_both_splits(tmp_path):
  for part, seed in (("train", 0), ("train", 1), ("validation", 1)):
    save_nifti(tmp_path / part / f"{part}{seed}.nii", stack(seed))
  with pytest.raises(UserError, match=r"validation1.nii.*train1.nii.*in both splits"):
    load(config(source="nifti", root=str(tmp_path)), all_sampled)


@pytest.mark.parametrize("memory_mb", [100, 0])
def test_equal_images_of_one_set_are_told_at_the_start_and_in_the_report(
  tmp_path, caplog, memory_mb
):
  """A copy in another format, a link, and one slice in another volume."""
  raw = tmp_path / "raw"
  for k, name in enumerate("abcd"):
    save_nifti(raw / f"{name}.nii", stack(k))
  save_nifti(raw / "copy.nii.gz", stack(0).astype(np.float32))
  (raw / "link.nii").symlink_to("b.nii")
  settings = config(source="nifti", root=str(raw), validation=("[ab]", "copy", "link"))
  write_folder(read(settings), tmp_path / "out", {})
  again = {"source": "prepared", "root": str(tmp_path / "out"), "memory_mb": memory_mb}
  for each in (settings, dataclasses.replace(settings, **again)):
    caplog.clear()
    data = load(each, all_sampled)
    (note,) = [note for note in data.record["notes"] if "Equal images" in note]
    assert "validation set" in note
    assert "3 slices of copy also in a, 3 slices of link also in b" in note
    (told,) = [r for r in caplog.records if "Equal images" in r.getMessage()]
    assert told.levelname == "WARNING" and note in told.getMessage()


def test_volumes_without_equal_images_have_no_such_note():
  data = load(config(), all_sampled)
  assert not any("Equal images" in note for note in data.record["notes"])


def test_refuses_an_unknown_source_and_an_idle_include():
  with pytest.raises(
    UserError, match=r"'niftii'; expected one of.*Did you mean 'nifti'"
  ):
    load(config(source="niftii"), all_sampled)
  with pytest.raises(
    UserError, match=r"which matches no volume.*brain_000, cardiac_001"
  ):
    load(config(include=("patient*",)), all_sampled)


@pytest.mark.data
@pytest.mark.parametrize("kind", ["mrbrain", "knee"])
def test_real_files_of_the_original_layout(real_data, kind):
  mask = np.load(real_data / "original_layout" / "us_masks" / "knee" / "mask_4x.npy")
  if kind == "mrbrain":
    mask = np.load(real_data / "us_masks" / "mrbrain" / "mask_4x.npy")
  root = pathlib.Path(real_data) / "original_layout"
  settings = config(source="kdmri", root=str(root), kdmri_type=kind)
  data = load(settings, measured_by(mask))
  made = np.fft.fft2(data.train.parts[0].target[..., 0], norm="ortho") * mask
  np.testing.assert_allclose(data.train.parts[0].kspace, made, atol=1e-4)
  with pytest.raises(UserError, match=r"where the mask has none"):
    load(settings, measured_by(mask.T))


@pytest.mark.data
def test_real_brains(real_data):
  settings = config(
    source="nifti",
    root=str(real_data / "brain_t1"),
    crop=(240, 240),
    subject_pattern="(patient[0-9]+)",
    validation=("patient04",),
    slices_per_volume=4,
  )
  data = load(settings, all_sampled)
  assert data.record["subjects"]["train"] == ["patient01", "patient12", "patient20"]
  assert data.train.parts[0].target.shape == (20, 240, 240, 1)
  assert data.train.parts[0].target.max() == 1

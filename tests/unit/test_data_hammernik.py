"""The reader of Hammernik's knees, in MATLAB files of both kinds."""

import json
import struct

import h5py
import numpy as np
import pytest
from helpers.data_files import all_sampled, config, read, refused_when_truncated
from helpers.raw_files import scan, to_kspace
from scipy import io

from kdmri_jax.data import load
from kdmri_jax.errors import UserError


def save_v5(path, **arrays):
  path.parent.mkdir(parents=True, exist_ok=True)
  io.savemat(path, arrays, do_compression=True)


def save_v73(path, **arrays):
  """HDF5 behind MATLAB's block of 512 bytes; axes reversed, pairs for complex."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with h5py.File(path, "w", userblock_size=512) as file:
    for name, array in arrays.items():
      array = np.asarray(array, np.complex64).T
      stored = np.zeros(array.shape, [("real", "<f4"), ("imag", "<f4")])
      stored["real"], stored["imag"] = array.real, array.imag
      file[name] = stored
      file[name].attrs["MATLAB_class"] = np.bytes_("single")
  head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124)
  with path.open("r+b") as file:
    file.write(head + struct.pack("<H", 0x0200) + b"IM")


def subject(folder, seed=0, numbers=(1, 2, 10), save=save_v5, size=(9, 8)):
  """Writes one subject; returns images [S, H, W] and sensitivities [S, C, H, W]."""
  images, maps = scan((len(numbers), 3, *size), seed)
  kspace = to_kspace(maps * images[:, None])
  for number, slice_kspace, sensitivities in zip(numbers, kspace, maps, strict=True):
    last = [
      np.moveaxis(a, 0, 2).astype(np.complex64) for a in (slice_kspace, sensitivities)
    ]
    save(folder / f"rawdata{number}.mat", rawdata=last[0])
    reference = np.zeros(size, np.complex64)
    save(folder / f"espirit{number}.mat", sensitivities=last[1], reference=reference)
  return images, maps


@pytest.mark.parametrize("save", [save_v5, save_v73])
def test_coils_become_one_image(tmp_path, save):
  images, maps = subject(tmp_path / "coronal_pd" / "1", save=save)
  (volume,) = read("hammernik", tmp_path)
  expected = np.abs(images) * np.sqrt((np.abs(maps) ** 2).sum(1))
  np.testing.assert_allclose(volume.target, expected, rtol=1e-4)
  assert volume.target.dtype == np.float32
  record = json.loads(json.dumps(volume.record))
  assert record["file_slices"] == [1, 2, 10] and record["file_shape"] == [9, 8, 3]
  assert record["simulated_kspace"] is True and record["combine"] == "rss"
  assert record["phase_encode_axis"] == 1 and record["unit"] == "subject"
  (volume,) = read("hammernik", tmp_path, combine="sense")
  np.testing.assert_allclose(volume.target, images, atol=1e-4)
  assert volume.target.dtype == np.complex64


def test_subjects_and_sequences(tmp_path):
  for number in (10, 2):
    subject(tmp_path / "coronal_pd" / f"{number}", number, (5,))
  subject(tmp_path / "axial_t2" / "3", 3, (5,))
  (tmp_path / "coronal_pd" / "masks").mkdir()
  got = read("hammernik", tmp_path)
  found = [(v.name, v.subject) for v in got]
  assert found == [("coronal_pd_02", "02"), ("coronal_pd_10", "10")]
  (volume,) = read("hammernik", tmp_path, contrast="axial_t2")
  assert volume.name == "axial_t2_03"
  (volume,) = read("hammernik", tmp_path / "axial_t2")
  assert volume.name == "axial_t2_03"
  (volume,) = read("hammernik", tmp_path, include=("*_10",), subject_pattern=r"(\d+)/")
  assert volume.subject == "10"
  with pytest.raises(UserError, match=r"'T2', of .*; expected .*axial_t2, coronal_pd"):
    read("hammernik", tmp_path, contrast="T2")
  with pytest.raises(UserError, match=r"'coronal_pd', .*; expected one of axial_t2;"):
    read("hammernik", tmp_path / "axial_t2", contrast="coronal_pd")


def test_the_published_slices_and_subjects(tmp_path):
  """Slices 11 to 30 of 40; subjects 1 to 10 train, 11 to 20 validate."""
  for number in (1, 10, 11, 20):
    subject(tmp_path / f"{number}", number, range(1, 41), size=(4, 4))
  settings = config(
    source="hammernik",
    root=str(tmp_path),
    train=("0*", "10"),
    validation=("1[1-9]", "20"),
    slices_per_volume=20,
  )
  data = load(settings, all_sampled)
  assert data.record["subjects"] == {"train": ["01", "10"], "validation": ["11", "20"]}
  assert data.record["slices"] == {"train": 40, "validation": 40}
  entry = data.record["volumes"][0]
  assert entry["file_slices"][slice(*entry["slices"])] == list(range(11, 31))


def test_missing_and_other_arrays_are_refused(tmp_path):
  subject(tmp_path / "1")
  (tmp_path / "1" / "espirit2.mat").unlink()
  with pytest.raises(UserError, match=r"espirit2.mat: found no such .*official data"):
    read("hammernik", tmp_path, combine="sense")
  (tmp_path / "1" / "espirit1.mat").unlink()
  with pytest.raises(UserError, match=r"espirit1.mat: found no such .*official data"):
    read("hammernik", tmp_path, combine="sense")
  assert len(read("hammernik", tmp_path)) == 1
  raw = tmp_path / "1" / "rawdata2.mat"
  for save in (save_v5, save_v73):
    save(raw, kspace=np.ones((9, 8, 3)))
    with pytest.raises(
      UserError, match=r"rawdata2.mat: .*'rawdata' \(the variables .*: k"
    ):
      read("hammernik", tmp_path)
    save(raw, rawdata=1j * np.ones((3, 9, 8)))
    with pytest.raises(UserError, match=r"complex numbers of shape \(3, 9, 8\)"):
      read("hammernik", tmp_path)
  save_v5(raw, rawdata=np.ones((9, 8, 3)))
  with pytest.raises(UserError, match=r"real numbers of shape \(9, 8, 3\)"):
    read("hammernik", tmp_path)
  save_v5(raw, rawdata=1j * np.ones((9, 7, 3)))
  with pytest.raises(UserError, match=r"1: found k-space of \(3, 9, 7\) in slice 1"):
    read("hammernik", tmp_path)
  save_v5(raw, rawdata=np.full((9, 8, 3), "text"))
  with pytest.raises(UserError, match=r"no array 'rawdata'"):
    read("hammernik", tmp_path)
  for value in (h5py.Empty("f4"), "text"):
    with h5py.File(raw, "w") as file:
      file["rawdata"] = value
    with pytest.raises(UserError, match=r"rawdata2.mat: found no array 'rawdata'"):
      read("hammernik", tmp_path)


def test_undersampled_slices_are_refused(tmp_path):
  subject(tmp_path / "1")
  kspace = np.ones((9, 8, 3), np.complex64)
  kspace[:, 1::2] = 0
  save_v5(tmp_path / "1" / "rawdata2.mat", rawdata=kspace)
  with pytest.raises(
    UserError, match=r"undersampled k-space \(slice 1: 3 empty columns"
  ):
    read("hammernik", tmp_path)


@pytest.mark.parametrize("save", [save_v5, save_v73])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.97])
def test_truncated_files_are_refused(tmp_path, save, share):
  subject(tmp_path / "1", save=save)
  path = tmp_path / "1" / "rawdata10.mat"
  refused_when_truncated("hammernik", tmp_path, path, share)


def test_no_subject(tmp_path):
  (tmp_path / "coronal_pd" / "1").mkdir(parents=True)
  with pytest.raises(UserError, match=r"no folder coronal_pd/1 with files rawdata"):
    read("hammernik", tmp_path)
  save_v5(tmp_path / "coronal_pd" / "1" / "rawdata_full.mat", rawdata=np.ones(3))
  with pytest.raises(UserError, match=r"no folder coronal_pd/1 with files rawdata"):
    read("hammernik", tmp_path)
  subject(tmp_path / "coronal_pd" / "2")
  (volume,) = read("hammernik", tmp_path)
  assert volume.name == "coronal_pd_02"

"""The reader of fastMRI."""

import json

import h5py
import numpy as np
import pytest
from helpers.data_files import all_sampled, config, read, refused_when_truncated
from helpers.raw_files import noise, scan, to_kspace

from kdmri_jax.data import dataset, load
from kdmri_jax.data.sources import fastmri, prepared
from kdmri_jax.errors import UserError

HEADER = """<?xml version="1.0" encoding="utf-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
  <studyInformation><studyDate>1999-12-31</studyDate></studyInformation>
  <measurementInformation><measurementID>M_Hill</measurementID></measurementInformation>
  <encoding>
    <encodedSpace>
      <matrixSize><x>{x}</x><y>{y}</y><z>1</z></matrixSize>
      <fieldOfView_mm><x>18</x><y>12</y><z>4.5</z></fieldOfView_mm>
    </encodedSpace>
    <reconSpace>
      <matrixSize><x>5</x><y>5</y><z>1</z></matrixSize>
      <fieldOfView_mm><x>10</x><y>10</y><z>4.5</z></fieldOfView_mm>
    </reconSpace>
    <encodingLimits>
      <kspace_encoding_step_1>
        <minimum>0</minimum><maximum>5</maximum><center>3</center>
      </kspace_encoding_step_1>
    </encodingLimits>
  </encoding>
</ismrmrdHeader>"""


def save(path, kspace, *, patient="P1", acquisition="CORPD_FBK", header=None, **more):
  """A file with the keys, types and attributes of the published ones."""
  path.parent.mkdir(parents=True, exist_ok=True)
  x, y = kspace.shape[-2:]
  with h5py.File(path, "w") as file:
    file["kspace"] = kspace.astype(np.complex64)
    file["ismrmrd_header"] = np.bytes_(header or HEADER.format(x=x, y=y))
    for key, array in more.items():
      file[key] = array
    file.attrs["max"] = np.float64(0.0005)
    file.attrs["norm"] = np.float64(0.07)
    file.attrs["acquisition"] = acquisition
    file.attrs["patientName"] = "Doe^Jane"
    if patient:
      file.attrs["patient_id"] = patient


def single_coil(path, seed=0, shape=(3, 9, 8), **more):
  images = noise(shape, seed)
  esc = np.abs(images)[:, 2:7, 1:6].astype(np.float32)
  save(path, to_kspace(images), reconstruction_esc=esc, **more)
  return images, esc


def test_a_single_coil_gives_its_complex_image(tmp_path):
  images, esc = single_coil(tmp_path / "file1000001.h5")
  (volume,) = read("fastmri", tmp_path)
  assert volume.target.dtype == np.complex64
  np.testing.assert_allclose(volume.target, images, atol=1e-5)
  assert (volume.name, volume.subject, volume.split) == ("file1000001", "P1", None)
  record = json.loads(json.dumps(volume.record))
  assert record["simulated_kspace"] is False and record["unit"] == "subject"
  assert record["file_shape"] == [3, 9, 8] and record["coils"] == 1
  assert record["phase_encode_axis"] == 1
  assert (record["encoded_matrix"], record["recon_matrix"]) == ([9, 8, 1], [5, 5, 1])
  assert record["zooms"] == [2.0, 1.5, 4.5]
  assert record["acquired_columns"] == [1, 7]
  assert record["encoded_field_of_view"] == [18.0, 12.0, 4.5]
  assert record["recon_field_of_view"] == [10.0, 10.0, 4.5]
  expected = {"acquisition": "CORPD_FBK", "max": 0.0005, "norm": 0.07}
  assert record["attributes"] == expected
  text = json.dumps(record)
  assert not any(word in text for word in ("P1", "Doe", "Jane", "1999", "<", "Hill"))
  (magnitude,) = read("fastmri", tmp_path, combine="rss")
  assert magnitude.record["simulated_kspace"] is True
  np.testing.assert_allclose(magnitude.target, np.abs(images), rtol=1e-5)
  settings = config(source="fastmri", root=str(tmp_path), combine="rss", crop=(5, 5))
  (cropped,) = dataset.read(settings)
  np.testing.assert_allclose(
    cropped.target * cropped.record["scale_factor"], esc, rtol=1e-5
  )


def test_several_coils_give_their_root_sum_of_squares(tmp_path):
  images, maps = scan((2, 5, 7, 10))
  kspace = to_kspace(maps * images[:, None])
  save(tmp_path / "file1.h5", kspace, reconstruction_rss=np.zeros((2, 5, 5)))
  (volume,) = read("fastmri", tmp_path)
  expected = np.abs(images) * np.sqrt((np.abs(maps) ** 2).sum(1))
  np.testing.assert_allclose(volume.target, expected, rtol=1e-4)
  assert volume.record["coils"] == 5 and volume.record["combine"] == "rss"
  assert volume.record["simulated_kspace"] is True
  assert volume.record["file_shape"] == [2, 5, 7, 10]
  assert "simulated" in volume.record["note"]
  with pytest.raises(UserError, match=r"data.combine: found 'sense'"):
    read("fastmri", tmp_path, combine="sense")


def test_zero_padded_columns_are_reported(tmp_path):
  kspace = to_kspace(noise((2, 9, 8)))
  kspace[:, :, :2] = kspace[:, :, 7:] = 0
  save(tmp_path / "a.h5", kspace)
  (volume,) = read("fastmri", tmp_path)
  assert volume.record["zero_padding"] == {"rows": [0, 0], "columns": [2, 1]}
  assert "interpolated" in volume.record["note"]


@pytest.mark.parametrize("track", ["singlecoil", "multicoil"])
def test_the_folders_are_the_split_where_both_are_there(tmp_path, track):
  single_coil(tmp_path / f"{track}_val" / "b.h5", 1, patient="P2")
  single_coil(tmp_path / f"{track}_test" / "t.h5", 2, mask=np.ones(8))
  (volume,) = read("fastmri", tmp_path)
  assert (volume.name, volume.split) == ("b", None)
  single_coil(tmp_path / f"{track}_train" / "a.h5", 3, patient=None)
  single_coil(tmp_path / f"{track}_train" / ".c.h5", 4)
  got = read("fastmri", tmp_path)
  found = [(v.name, v.subject, v.split, v.record["unit"]) for v in got]
  assert found == [("a", "a", "train", "file"), ("b", "P2", "validation", "subject")]
  (named,) = read("fastmri", tmp_path, include=("a",), subject_pattern="coil_(.*)/")
  assert (named.subject, named.record["unit"]) == ("train", "subject")


def test_contrast_is_the_acquisition(tmp_path):
  single_coil(tmp_path / "a.h5", acquisition="CORPD_FBK")
  single_coil(tmp_path / "b.h5", acquisition="CORPDFS_FBK")
  assert len(read("fastmri", tmp_path)) == 2
  (volume,) = read("fastmri", tmp_path, contrast="CORPDFS_FBK")
  assert volume.name == "b"
  save(tmp_path / "c.h5", np.ones((2, 4, 4), np.float32), acquisition="AXT1")
  assert len(read("fastmri", tmp_path, contrast="CORPDFS_FBK")) == 1
  with pytest.raises(
    UserError, match=r"'AXT2', of .*AXT1, CORPDFS_FBK, CORPD_FBK; '' tak"
  ):
    read("fastmri", tmp_path, contrast="AXT2")


def test_undersampled_files_are_refused(tmp_path):
  single_coil(tmp_path / "a.h5", mask=np.ones(8))
  with pytest.raises(UserError, match=r"a.h5: found a sampling mask"):
    read("fastmri", tmp_path)
  kspace = to_kspace(noise((2, 9, 8)))
  kspace[..., 1::3] = 0
  save(tmp_path / "a.h5", kspace)
  with pytest.raises(UserError, match=r"a.h5: found undersampled .* 2 empty columns"):
    read("fastmri", tmp_path)


@pytest.mark.parametrize(
  ("kspace", "message"),
  [
    (np.ones((9, 8), np.complex64), r"'kspace' of type complex64 and shape \(9, 8\)"),
    (
      np.ones((0, 9, 8), np.complex64),
      r"'kspace' of type complex64 and shape \(0, 9, 8\)",
    ),
    (np.ones((3, 9, 8)), r"'kspace' of type float64 and shape \(3, 9, 8\)"),
  ],
)
def test_other_arrays_are_refused(tmp_path, kspace, message):
  with h5py.File(tmp_path / "a.h5", "w") as file:
    file["kspace"] = kspace
  with pytest.raises(UserError, match=rf"a.h5: found {message}"):
    read("fastmri", tmp_path)


def test_kspace_that_contradicts_its_header_is_refused(tmp_path):
  header = HEADER.format(x=9, y=8)
  save(tmp_path / "a.h5", to_kspace(noise((2, 8, 9))), header=header)
  with pytest.raises(
    UserError, match=r"8 rows and 9 columns, transposed.*9 rows \(rea"
  ):
    read("fastmri", tmp_path)
  save(tmp_path / "a.h5", to_kspace(noise((2, 8, 8))), header=header)
  assert len(read("fastmri", tmp_path)) == 1
  save(tmp_path / "a.h5", to_kspace(noise((2, 8, 9))), header=header[:200])
  with pytest.raises(UserError, match=r"a.h5: found a file that cannot be read"):
    read("fastmri", tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
@pytest.mark.parametrize("shape", [(2, 9, 8), (2, 3, 9, 8)])
def test_numbers_that_no_scanner_measures_are_refused(tmp_path, value, shape):
  kspace = noise(shape)
  kspace[0, ..., 0, 0] = value * np.sqrt(72)
  save(tmp_path / "a.h5", kspace)
  settings = config(source="fastmri", root=str(tmp_path), combine="rss")
  with pytest.raises(UserError, match=r"a.h5: found \d+ NaN or infinite values in the"):
    list(dataset.read(settings))


@pytest.mark.parametrize("size", ["0", "-9", "nan"])
def test_a_header_without_sizes(tmp_path, size):
  header = HEADER.replace("<x>{x}</x>", f"<x>{size}</x>").format(y=8)
  images, _ = single_coil(tmp_path / "a.h5", header=header)
  (volume,) = read("fastmri", tmp_path)
  np.testing.assert_allclose(volume.target, images, atol=1e-5)
  assert not {"encoded_matrix", "zooms", "acquired_columns"} & set(volume.record)
  assert volume.record["recon_matrix"] == [5, 5, 1]


@pytest.mark.parametrize("value", [3.5, [1, 2], None])
def test_a_header_that_is_no_text(tmp_path, value):
  single_coil(tmp_path / "a.h5")
  with h5py.File(tmp_path / "a.h5", "a") as file:
    del file["ismrmrd_header"]
    if value is None:
      file.create_group("ismrmrd_header")
    else:
      file["ismrmrd_header"] = value
  with pytest.raises(UserError, match=r"a.h5: found 'ismrmrd_header' that is not text"):
    read("fastmri", tmp_path)
  header = HEADER.replace("<maximum>5", "<maximum>inf").format(x=9, y=8)
  single_coil(tmp_path / "a.h5", header=header)
  with pytest.raises(UserError, match=r"a.h5: found a file that cannot be read"):
    read("fastmri", tmp_path)


def test_a_file_without_header_or_kspace(tmp_path):
  with h5py.File(tmp_path / "a.h5", "w") as file:
    file["kspace"] = to_kspace(noise((2, 9, 8))).astype(np.complex64)
  (volume,) = read("fastmri", tmp_path)
  assert (volume.subject, volume.record["attributes"]) == ("a", {})
  with h5py.File(tmp_path / "a.h5", "w") as file:
    file["data"] = 1
  with pytest.raises(UserError, match=r"no dataset 'kspace' \(the keys are: data\)"):
    read("fastmri", tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_truncated_files_are_refused(tmp_path, share):
  single_coil(tmp_path / "a.h5")
  refused_when_truncated("fastmri", tmp_path, tmp_path / "a.h5", share)


def test_folders(tmp_path):
  (tmp_path / "multicoil_test").mkdir()
  with pytest.raises(
    UserError, match=r"no file .*folders are: multicoil_test\).*under"
  ):
    read("fastmri", tmp_path)
  for track in ("singlecoil", "multicoil"):
    single_coil(tmp_path / f"{track}_val" / "a.h5")
  with pytest.raises(UserError, match=r"of single coils and of several"):
    read("fastmri", tmp_path)


def test_the_pipeline_keeps_complex_targets_and_a_prepared_folder_too(tmp_path):
  root = tmp_path / "raw"
  images, _ = single_coil(root / "singlecoil_train" / "a.h5", 1, patient="P1")
  single_coil(root / "singlecoil_val" / "b.h5", 2, patient="P2")
  raw = config(source="fastmri", root=str(root), scaling="none")
  prepared.write_folder(dataset.read(raw), tmp_path / "out", {})
  again = config(source="prepared", root=str(tmp_path / "out"), scaling="none")
  first, second = load(raw, all_sampled), load(again, all_sampled)
  for data in (first, second):
    slices = data.train.parts[0].target
    assert slices.shape == (3, 9, 8, 2) and slices.dtype == np.float32
    np.testing.assert_allclose(slices[..., 0] + 1j * slices[..., 1], images, atol=1e-5)
    assert data.record["simulated_kspace"] is False
    assert data.record["unit"] == "subject"
    assert data.record["subjects"] == {"train": ["P1"], "validation": ["P2"]}
    assert any("fastMRI" in note for note in data.record["notes"])
  np.testing.assert_array_equal(
    first.train.parts[0].target, second.train.parts[0].target
  )
  for volume in (*first.train.volumes, *second.train.volumes):
    assert volume.header.text == HEADER.format(x=9, y=8)
    assert volume.header.attributes["patientName"] == "Doe^Jane"
    assert volume.header.attributes["norm"] == 0.07
  written = (tmp_path / "out" / "prepared.json").read_text()
  assert "Doe" not in written + json.dumps([first.record, second.record])
  origin = second.record["volumes"][0]["prepared_from"]
  assert origin["encoded_matrix"] == [9, 8, 1]
  assert origin["zero_padding"] == {"rows": [0, 0], "columns": [0, 0]}


def test_columns_that_are_exactly_zero_were_not_sampled(tmp_path):
  """As in other sources, where the file has no mask."""
  images = noise((3, 12, 10), 0)
  sampled = np.zeros(10, bool)
  sampled[[0, 3, 4, 5, 6, 9]] = True
  kspace = to_kspace(images) * sampled
  save(tmp_path / "a.h5", kspace)
  own = fastmri.read(tmp_path / "a.h5", config(source="fastmri"))
  np.testing.assert_array_equal(np.fft.fftshift(own.mask)[0], sampled)
  with pytest.raises(UserError, match=r"a.h5: found .*4 empty columns between"):
    read("fastmri", tmp_path)
  save(tmp_path / "b.h5", kspace, mask=np.ones((12, 10)))
  with pytest.raises(UserError, match=r"'mask' of shape \(12, 10\).*source arrays"):
    fastmri.read(tmp_path / "b.h5", config(source="fastmri"))

"""ISMRM raw data, written by the ismrmrd package."""

import json
import sys

import h5py
import ismrmrd
import numpy as np
import pytest
from helpers.centred import complex_images, dft
from helpers.data_files import all_sampled, config, read
from helpers.ismrmrd_files import header, readout, readouts, save
from ismrmrd import xsd

from kdmri_jax.data import load
from kdmri_jax.errors import UserError


def plain(path, coils=1, seed=0, lines=5, samples=6):
  """A file without oversampling; returns its coil images [1, C, lines, samples]."""
  images = complex_images((1, coils, lines, samples), seed)
  save(path, header((samples, lines), (samples, lines)), readouts(dft(images, 2, 3)))
  return images


@pytest.mark.parametrize(
  ("lines", "samples", "columns"), [(5, 12, 6), (6, 9, 5), (7, 10, 5), (4, 7, 7)]
)
def test_one_coil_gives_the_complex_image(tmp_path, lines, samples, columns):
  images = complex_images((3, 1, lines, samples))
  acquisitions = readouts(dft(images, 2, 3))
  acquisitions = acquisitions[1::2] + acquisitions[::2]
  head = header((samples, lines), (columns, lines), (0, lines - 1, lines // 2))
  save(tmp_path / "site" / "a.h5", head, acquisitions)
  (volume,) = read("ismrmrd", tmp_path)
  start = samples // 2 - columns // 2
  expected = images[:, 0, :, start : start + columns]
  assert volume.target.dtype == np.complex64
  np.testing.assert_allclose(volume.target, expected, atol=1e-5)
  assert (volume.name, volume.subject) == ("site_a", "site_a")
  record = volume.record
  assert record["simulated_kspace"] is False and record["unit"] == "file"
  assert record["zooms"] == [2, 2, 5] and record["phase_encode_axis"] == 0
  assert record["averages"] == [1, 1] and record["acquisitions_left_out"] == {}


def test_coils_and_what_the_record_tells(tmp_path):
  images = plain(tmp_path / "a.mrd", coils=3)
  (volume,) = read("ismrmrd", tmp_path)
  expected = np.sqrt((np.abs(images) ** 2).sum(1))
  assert volume.target.dtype == np.float32
  np.testing.assert_allclose(volume.target, expected, rtol=1e-5)
  text = json.dumps(volume.record)
  assert not any(word in text for word in ("Doe", "Jane", "Hospital"))
  kept = xsd.CreateFromDocument(volume.header.text)
  assert kept.subjectInformation.patientName == "Doe^Jane"
  record = volume.record
  assert record["simulated_kspace"] is True and record["coils"] == 3
  assert record["acquisitionSystemInformation"] == {
    "systemVendor": "ACME",
    "systemFieldStrength_T": 1.5,
  }
  assert record["sequenceParameters"] == {"sequence_type": "TSE", "TR": [450.0]}
  assert record["encodedSpace"]["matrixSize"] == [6, 5, 1]
  assert "Each file counts as a subject" in record["note"]
  plain(tmp_path / "a.mrd2")
  with pytest.raises(UserError, match=r"data.combine: found 'sense'"):
    read("ismrmrd", tmp_path, combine="sense")


def test_the_magnitude_of_one_coil(tmp_path):
  images = plain(tmp_path / "a.h5")
  (volume,) = read("ismrmrd", tmp_path, combine="rss")
  np.testing.assert_allclose(volume.target, np.abs(images[:, 0]), rtol=1e-5)
  assert volume.record["simulated_kspace"] is True


def test_other_acquisitions_are_left_out(tmp_path):
  images = complex_images((2, 2, 5, 6))
  good = readouts(dft(images, 2, 3))
  good[3].set_flag(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING)
  good[4].set_flag(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)
  good[4].set_flag(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING)
  good[5].set_flag(ismrmrd.ACQ_LAST_IN_SLICE)
  other = np.full((2, 6), 1e3)
  names = ("NOISE_MEASUREMENT", "PARALLEL_CALIBRATION", "NAVIGATION_DATA")
  names += ("PHASECORR_DATA", "DUMMYSCAN_DATA", "PHASE_STABILIZATION")
  bad = [readout(other, 2, flags=(name,)) for name in names]
  bad.append(readout(np.full((5, 9), 1e3), 0, flags=("NOISE_MEASUREMENT",)))
  bad.append(readout(other, 2, encoding_space_ref=1))
  save(tmp_path / "a.h5", header((6, 5), (6, 5)), [*bad[:4], *good, *bad[4:]])
  (volume,) = read("ismrmrd", tmp_path)
  np.testing.assert_allclose(
    volume.target, np.sqrt((np.abs(images) ** 2).sum(1)), rtol=1e-5
  )
  left_out = volume.record["acquisitions_left_out"]
  assert left_out == dict.fromkeys(names, 1) | {
    "NOISE_MEASUREMENT": 2,
    "other encoding spaces": 1,
  }


def test_averages_are_averaged(tmp_path):
  images = complex_images((2, 1, 5, 6))
  kspace = dft(images, 2, 3)
  noise = complex_images(kspace.shape, 1)
  acquisitions = readouts(kspace + noise) + readouts(kspace - noise, average=1)
  acquisitions += [readout(kspace[0, :, 3], 3, 0, average=2)]
  save(tmp_path / "a.h5", header((6, 5), (6, 5)), acquisitions)
  (volume,) = read("ismrmrd", tmp_path)
  np.testing.assert_allclose(volume.target, images[:, 0], atol=1e-5)
  assert volume.record["averages"] == [2, 3]


def test_reduced_phase_resolution_keeps_the_measured_lines(tmp_path):
  images = complex_images((1, 1, 5, 6))
  acquisitions = readouts(dft(images, 2, 3), first=2)
  save(tmp_path / "a.h5", header((6, 10), (16, 20), (2, 6, 4)), acquisitions)
  (volume,) = read("ismrmrd", tmp_path)
  np.testing.assert_allclose(volume.target, images[:, 0], atol=1e-5)
  assert volume.record["zooms"] == [4, 2, 5]
  assert "5 of the 10 lines" in volume.record["note"]
  assert "enlarges these images to 16 x 20" in volume.record["note"]


def test_a_centre_beside_the_middle_is_shifted_there(tmp_path):
  images = complex_images((1, 1, 7, 9))
  kspace = np.roll(dft(images, 2, 3), (1, -1), (2, 3))
  acquisitions = readouts(kspace, center_sample=3)
  save(tmp_path / "a.h5", header((9, 7), (9, 7), (0, 6, 4)), acquisitions)
  (volume,) = read("ismrmrd", tmp_path)
  np.testing.assert_allclose(volume.target, images[:, 0], atol=1e-5)


def test_samples_to_discard_and_a_centre_left_at_0(tmp_path):
  images = complex_images((1, 1, 5, 6))
  kspace = np.pad(
    dft(images, 2, 3), ((0, 0), (0, 0), (0, 0), (2, 1)), constant_values=9
  )
  for name, centre in (("a.h5", 5), ("b.h5", 0)):
    acquisitions = readouts(kspace, discard_pre=2, discard_post=1, center_sample=centre)
    save(tmp_path / name, header((6, 5), (6, 5)), acquisitions)
  for volume in read("ismrmrd", tmp_path):
    np.testing.assert_allclose(volume.target, images[:, 0], atol=1e-5)


def test_echoes_are_chosen(tmp_path):
  images = complex_images((2, 1, 5, 6))
  kspace = dft(images, 2, 3)
  acquisitions = readouts(kspace[:1]) + readouts(kspace[1:], contrast=2)
  save(tmp_path / "a.h5", header((6, 5), (6, 5)), acquisitions)
  (volume,) = read("ismrmrd", tmp_path, contrast="2")
  np.testing.assert_allclose(volume.target, images[1], atol=1e-5)
  assert volume.record["contrast"] == "2"
  for contrast in ("", "1", "T1"):
    with pytest.raises(
      UserError, match=rf"contrast: found '{contrast}'.*echoes 0, 2\."
    ):
      read("ismrmrd", tmp_path, contrast=contrast)


KSPACE = dft(complex_images((2, 1, 8, 6)), 2, 3)


@pytest.mark.parametrize(
  ("limits", "lines", "message"),
  [
    (None, [0, 2, 4, 6], r"4 phase-encode lines in slice 0; expected 8, from 0 to 7"),
    ((0, 7, 4), range(7), r"7 phase-encode lines in slice 0; expected 8, from 0 to 7"),
    ((0, 5, 2), range(6), None),
    ((0, 5, 1), range(6), r"6 .*centre at 1 \(partial Fourier\); expected.* 8 lines"),
    ((0, 5, 5), range(6), r"6 phase-encode lines, the centre at 5"),
    (
      (0, 5, 3),
      range(8),
      r"8 phase-encode lines, of which 6 lies outside; expected 6, from 0 to 5",
    ),
    ((5, 4, 5), range(8), r"0 phase-encode lines, the centre at 5"),
    (
      (2, 7, 5),
      range(8),
      r"8 phase-encode lines, of which 0 lies outside; expected 6, from 2 to 7",
    ),
  ],
)
def test_missing_lines_are_refused(tmp_path, limits, lines, message):
  acquisitions = [readout(KSPACE[0, :, line], line) for line in lines]
  save(tmp_path / "a.h5", header((6, 8), (6, 8), limits), acquisitions)
  if message is None:
    read("ismrmrd", tmp_path)
    return
  with pytest.raises(UserError, match=rf"a.h5: found {message}"):
    read("ismrmrd", tmp_path)


def test_a_slice_that_is_not_complete_is_refused(tmp_path):
  save(tmp_path / "a.h5", header((6, 8), (6, 8)), readouts(KSPACE)[:-1])
  with pytest.raises(UserError, match=r"found 7 phase-encode lines in slice 1"):
    read("ismrmrd", tmp_path)


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"kspace_encode_step_2": 1}, r"2 slabs of a 3-D acquisition"),
    ({"phase": 3}, r"2 phases"),
    ({"repetition": 1}, r"2 repetitions"),
    ({"set": 1}, r"2 sets"),
    ({"flags": ("REVERSE",)}, r"readouts in reverse direction"),
    ({"discard_pre": 1}, r"different values of discard_pre: 0, 1"),
  ],
)
def test_other_acquisitions_are_refused(tmp_path, fields, message):
  acquisitions = readouts(KSPACE) + readouts(KSPACE[:1], **fields)
  save(tmp_path / "a.h5", header((6, 8), (6, 8)), acquisitions)
  with pytest.raises(UserError, match=rf"a.h5: found {message}"):
    read("ismrmrd", tmp_path)


@pytest.mark.parametrize(
  ("encoded", "centre", "message"),
  [
    (8, 3, r"6 samples per readout, the centre at 3 \(partial echo\); expected 8"),
    (6, 1, r"6 samples per readout, the centre at 1"),
  ],
)
def test_a_partial_echo_is_refused(tmp_path, encoded, centre, message):
  acquisitions = readouts(KSPACE, center_sample=centre)
  save(tmp_path / "a.h5", header((encoded, 8), (6, 8)), acquisitions)
  with pytest.raises(UserError, match=rf"a.h5: found {message}"):
    read("ismrmrd", tmp_path)


def test_a_header_without_sizes(tmp_path):
  head = header((6, 8), (6, 8))
  head.encoding[0].reconSpace.fieldOfView_mm.x = 0
  save(tmp_path / "a.h5", head, readouts(KSPACE))
  with pytest.raises(
    UserError, match=r"found the reconstructed field of view 0.0 x 16"
  ):
    read("ismrmrd", tmp_path)


def test_other_trajectories_and_channels(tmp_path):
  head = header((6, 8), (6, 8), trajectory="radial")
  save(tmp_path / "a.h5", head, readouts(KSPACE))
  with pytest.raises(UserError, match=r"a.h5: found a trajectory 'radial'"):
    read("ismrmrd", tmp_path)
  (tmp_path / "a.h5").unlink()
  two = np.concatenate([KSPACE, KSPACE], 1)
  acquisitions = [*readouts(KSPACE[:1]), *readouts(two[:1], average=1)]
  save(tmp_path / "a.h5", header((6, 8), (6, 8)), acquisitions)
  with pytest.raises(UserError, match=r"different values of active_channels: 1, 2"):
    read("ismrmrd", tmp_path)


def test_damaged_and_other_files(tmp_path):
  path = tmp_path / "a.h5"
  save(path, header((6, 8), (6, 8)), readouts(KSPACE))
  whole = path.read_bytes()
  for share in (0.0, 0.5, 0.95):
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match=r"a.h5: found a file that cannot be read"):
      read("ismrmrd", tmp_path)
  path.write_bytes(whole)
  with h5py.File(path, "a") as file:
    file["dataset/xml"][0] = b"<ismrmrdHeader"
  with pytest.raises(UserError, match=r"a.h5: found a file that cannot be read"):
    read("ismrmrd", tmp_path)
  with h5py.File(path, "w") as file:
    file["kspace"] = np.ones((2, 3, 4))
    file["ismrmrd_header"] = "<xml>"
  with pytest.raises(UserError, match=r"0 groups .*keys are: ismrmrd_header, kspace"):
    read("ismrmrd", tmp_path)
  path.unlink()
  for group in ("dataset_1", "dataset_2"):
    save(path, header((6, 8), (6, 8)), readouts(KSPACE), group)
  with pytest.raises(UserError, match=r"found 2 groups"):
    read("ismrmrd", tmp_path)
  path.unlink()
  save(
    path,
    header((6, 8), (6, 8)),
    [readout(KSPACE[0, :, 0], 0, flags=("DUMMYSCAN_DATA",))],
  )
  with pytest.raises(UserError, match=r"which is not an echo of .*there is none"):
    read("ismrmrd", tmp_path)


def test_folders_and_the_package(tmp_path, monkeypatch):
  (tmp_path / "a.dat").touch()
  with pytest.raises(UserError, match=r"no file \*.h5, \*.hdf5 or \*.mrd in it"):
    read("ismrmrd", tmp_path)
  plain(tmp_path / "a.h5")
  plain(tmp_path / "b.mrd")
  assert [v.name for v in read("ismrmrd", tmp_path, include=("b",))] == ["b"]
  monkeypatch.setitem(sys.modules, "ismrmrd", None)
  with pytest.raises(UserError, match=r"ismrmrd is not installed.*'\.\[data\]'"):
    read("ismrmrd", tmp_path)


def test_loaded_with_subjects(tmp_path):
  images = [plain(tmp_path / f"p{k}_s1.h5", seed=k) for k in range(3)]
  data = load(
    config(
      source="ismrmrd",
      root=str(tmp_path),
      subject_pattern=r"p\d",
      validation=("p1",),
      scaling="none",
    ),
    all_sampled,
  )
  assert data.record["unit"] == "subject" and data.record["channels"] == 2
  assert not any(volume["simulated_kspace"] for volume in data.record["volumes"])
  got = data.validation.parts[0].target
  np.testing.assert_allclose(got[..., 0] + 1j * got[..., 1], images[1][0], atol=1e-5)

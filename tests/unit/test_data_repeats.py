"""Pairs from repeated acquisitions, in one file or series or in several files."""

import dataclasses

import numpy as np
import pytest
from helpers import coil_files, ismrmrd_files, scan_files
from helpers.centred import complex_images, dft
from helpers.data_files import all_sampled, config, images, save_nifti
from helpers.dicom_files import AXIAL, save
from helpers.raw_files import to_kspace

from kdmri_jax.config import InputsConfig
from kdmri_jax.data import load
from kdmri_jax.data.dataset import read
from kdmri_jax.data.sources import prepared
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.io.cfl import write_cfl

SHAPE = (5, 3, 6, 4)  # repeats, slices, rows, columns


def repeats(name, shape=SHAPE):
  return images(sum(map(ord, name)), shape)


def settings(source, root, count=2, **changes):
  return config(source=source, root=str(root), repeats=count, **changes)


def nifti_folder(root, names=("a", "b")):
  for name in names:
    array = repeats(name).transpose(2, 3, 1, 0)
    save_nifti(root / f"{name}.nii.gz", array)
  return settings("nifti", root, validation=("b",))


def expected(every, first, count):
  """Input and target by their definition."""
  chosen = range(first, first + count)
  others = [k for k in range(len(every)) if k not in chosen]
  return every[list(chosen)].mean(0), every[others].mean(0)


def check(volume, every, first, count):
  given, target = expected(every, first, count)
  largest = np.abs(given).max()
  np.testing.assert_allclose(volume.input, given / largest, rtol=2e-6)
  np.testing.assert_allclose(volume.target, target / largest, rtol=2e-6)
  assert volume.record["input_repeats"] == [first, first + count]
  assert volume.record["repeats"] == len(every)


def test_every_group_of_repeats_is_an_input_of_the_mean_of_the_others(tmp_path):
  volumes = list(read(nifti_folder(tmp_path)))
  assert [v.name for v in volumes] == ["a_1", "a_2", "b_1", "b_2"]
  assert [v.subject for v in volumes] == ["a", "a", "b", "b"]
  for k, volume in enumerate(volumes):
    check(volume, repeats(volume.subject), 2 * (k % 2), 2)
  data = load(nifti_folder(tmp_path), all_sampled)
  assert {v.subject for v in data.train.volumes} == {"a"}
  assert data.record["slices"] == {"train": 6, "validation": 6}
  assert any("their noise adds to every error" in n for n in data.record["notes"])


def test_one_pair_keeps_the_name_of_its_file(tmp_path):
  every = nifti_folder(tmp_path)
  first, _ = read(dataclasses.replace(every, repeats=4))
  assert first.name == "a"
  check(first, repeats("a"), 0, 4)


def test_dicom_has_several_images_at_one_place(tmp_path):
  every = np.random.default_rng(0).integers(1, 900, SHAPE).astype(np.int16)
  place = {"ImageOrientationPatient": list(AXIAL)}
  for number, (k, z) in enumerate(np.ndindex(SHAPE[:2])):  # one repeat after the other
    place["ImagePositionPatient"] = [0, 0, 3 * z]
    save(tmp_path / f"{97 * number % 15}", every[k, z], InstanceNumber=number, **place)
  volumes = list(read(settings("dicom", tmp_path)))
  for k, volume in enumerate(volumes):
    check(volume, every.astype(float), 2 * k, 2)
  assert volumes[0].record["axes_increase_towards"]["slices"] == "S"
  save(tmp_path / "more", every[0, 0], InstanceNumber=99, **place)
  with pytest.raises(UserError, match=r"found \d images at one place, \d at another"):
    list(read(settings("dicom", tmp_path)))
  (tmp_path / "more").unlink()
  place["ImagePositionPatient"] = [0, 0, 0]
  save(tmp_path / "0", every[0, 0], InstanceNumber=0, EchoTime="9", **place)
  with pytest.raises(UserError, match=r"found echoes in place of repeats in series 1"):
    list(read(settings("dicom", tmp_path)))


@pytest.mark.parametrize("content", ["image", "kspace"])
def test_bart_has_a_dimension_of_averages(tmp_path, content):
  every = complex_images(SHAPE)
  array = dft(every, 2, 3) if content == "kspace" else every
  last = array.transpose(2, 3, 1, 0)  # rows, columns, slices, averages
  write_cfl(tmp_path / "a", last.reshape(*SHAPE[2:], *[1] * 11, *last.shape[2:]))
  volumes = list(read(settings("bart", tmp_path, contrast=content)))
  assert len(volumes) == 2
  for k, volume in enumerate(volumes):
    given, target = expected(every, 2 * k, 2)
    largest = np.abs(given).max()
    np.testing.assert_allclose(volume.input, given / largest, atol=1e-5)
    np.testing.assert_allclose(volume.target, target / largest, atol=1e-5)
    assert volume.kspace is None


def raw_repeats(path, every, counter, **fields):
  """ISMRM raw data of one coil, whose counter tells the repeats apart: 3, 4, ..."""
  kspace = dft(every, 2, 3)[:, :, None]
  head = ismrmrd_files.header(SHAPE[:1:-1], SHAPE[:1:-1])
  for k, own in enumerate(kspace, 3):
    readouts = ismrmrd_files.readouts(own, **{counter: k}, **fields)
    ismrmrd_files.save(path, head, readouts[k % 2 :] + readouts[: k % 2])


@pytest.mark.parametrize("counter", ["repetition", "average"])
def test_ismrm_raw_data_has_repetitions_or_averages(tmp_path, counter):
  every = complex_images(SHAPE)
  path = tmp_path / "a.mrd"
  if counter == "repetition":  # whose own averages are averaged
    raw_repeats(path, 0.5 * every, counter)
    raw_repeats(path, 1.5 * every, counter, average=1)
  else:
    raw_repeats(path, every, counter)
  first, second = read(settings("ismrmrd", tmp_path))
  for k, volume in enumerate((first, second)):
    given, target = expected(every, 2 * k, 2)
    largest = np.abs(given).max()
    np.testing.assert_allclose(volume.input, given / largest, atol=1e-5)
    np.testing.assert_allclose(volume.target, target / largest, atol=1e-5)
    assert volume.kspace is None and volume.record["repeats_are"] == f"{counter}s"
  plain = settings("ismrmrd", tmp_path, 0, scaling="none")
  if counter == "average":
    (volume,) = read(plain)
    np.testing.assert_allclose(volume.target, every.mean(0), atol=1e-5)
    assert "repeats_are" not in volume.record
  else:
    with pytest.raises(UserError, match=r"5 repetitions; .*; or set data\.repeats for"):
      list(read(plain))


def test_ismrm_raw_data_whose_repeats_differ_is_refused(tmp_path):
  every = complex_images(SHAPE)
  raw_repeats(tmp_path / "a.mrd", every, "average")
  line = ismrmrd_files.readout(np.ones((1, SHAPE[3])), 2, 1, average=8)
  head = ismrmrd_files.header(SHAPE[:1:-1], SHAPE[:1:-1])
  ismrmrd_files.save(tmp_path / "a.mrd", head, [line])
  match = r"a\.mrd: found other lines in average 8 than in 3 \(1 and 18\); expected"
  with pytest.raises(UserError, match=match):
    list(read(settings("ismrmrd", tmp_path)))
  one = tmp_path / "one"
  raw_repeats(one / "a.mrd", every[:1], "average")
  with pytest.raises(UserError, match=r"a\.mrd: found 1 repeats; expected more than"):
    list(read(settings("ismrmrd", one)))


def test_what_gives_no_pair_is_refused(tmp_path):
  every = nifti_folder(tmp_path)
  with pytest.raises(UserError, match=r"a.nii.gz: found 5 repeats; expected more than"):
    list(read(dataclasses.replace(every, repeats=5)))
  save_nifti(tmp_path / "a.nii.gz", repeats("a")[0])
  with pytest.raises(UserError, match=r"a.nii.gz: found an array of shape \(3, 6, 4\)"):
    list(read(every))
  with pytest.raises(ArgumentError, match=r"repeats: found 1; expected 0, because npz"):
    list(read(settings("npz", tmp_path, 1)))
  both = dataclasses.replace(every, inputs=InputsConfig(root=str(tmp_path)))
  with pytest.raises(ArgumentError, match=r"repeats: found 2, beside inputs"):
    list(read(both))
  broken = repeats("a").transpose(2, 3, 1, 0)
  broken[0, 0, 0, 1] = np.nan
  save_nifti(tmp_path / "a.nii.gz", broken)
  with pytest.raises(UserError, match=r"a.nii.gz: found 1 NaN or infinite values"):
    list(read(every))


# Repeats in files of their own


def in_files(root, names=("a", "b"), **changes):
  """Three repeats of each scan, NAME_run-1.nii.gz and so on."""
  for name in names:
    for k, repeat in enumerate(repeats(name)[:3], 1):
      save_nifti(root / f"{name}_run-{k}.nii.gz", repeat.transpose(1, 2, 0))
  own = dict(repeat_pattern=r"_run-\d", validation=("b",)) | changes
  return settings("nifti", root, 1, **own)


def test_files_whose_names_differ_in_the_pattern_are_repeats(tmp_path):
  volumes = list(read(in_files(tmp_path)))
  assert [v.name for v in volumes] == [f"{x}_{k}" for x in "ab" for k in (1, 2, 3)]
  assert [v.subject for v in volumes] == ["a"] * 3 + ["b"] * 3
  for k, volume in enumerate(volumes):
    check(volume, repeats(volume.subject)[:3], k % 3, 1)
    files = [name.rpartition("/")[2] for name in volume.record["repeated_in"]]
    assert files == [f"{volume.subject}_run-{n}.nii.gz" for n in (1, 2, 3)]
    assert volume.record["input_file"].endswith(files[k % 3])
  data = load(in_files(tmp_path), all_sampled)
  assert data.record["slices"] == {"train": 9, "validation": 9}


def test_files_of_low_field_scans_in_the_layout_of_fastmri(tmp_path):
  """Names as in M4Raw: subject, contrast and number of the repeat; four coils."""
  every = {}
  for name, count in (("1_T1", 3), ("1_T2", 2), ("2_T1", 3)):
    of_coils, _ = coil_files.coil_images(len(every), shape=(count, 24, 20))
    every[name] = np.sqrt((np.abs(of_coils) ** 2).sum(1))
    for k, slices in enumerate(of_coils, 1):
      scan_files.save_fastmri(tmp_path / f"{name}{k:02d}.h5", to_kspace(slices[None]))
  asked = dict(repeat_pattern=r"\d\d$", subject_pattern=r"^\d+")
  volumes = list(read(settings("fastmri", tmp_path, 1, **asked)))
  names = [f"{name}_{k + 1}" for name, own in every.items() for k in range(len(own))]
  assert [v.name for v in volumes] == names
  assert [v.subject for v in volumes] == ["1"] * 5 + ["2"] * 3
  for volume in volumes:
    name, _, number = volume.name.rpartition("_")
    given, target = expected(every[name][:, None], int(number) - 1, 1)
    largest = given.max()
    np.testing.assert_allclose(volume.input, given / largest, atol=1e-5)
    np.testing.assert_allclose(volume.target, target / largest, atol=1e-5)


def test_repeats_in_files_that_do_not_belong_together_are_refused(tmp_path):
  every = in_files(tmp_path)

  def refused(match, error=UserError, **changes):
    with pytest.raises(error, match=match):
      list(read(dataclasses.replace(every, **changes)))

  refused(r"repeat_pattern: found '\(', which is no", ArgumentError, repeat_pattern="(")
  whole = r"repeat_pattern: found '\.\+', which matches all of the name 'a_run-1'"
  refused(whole, ArgumentError, repeat_pattern=".+")
  one = r"a_run-1.nii.gz: found one repeat of 'a_run-1' alone; expected several, whose"
  refused(one, repeat_pattern="_none")
  refused(
    r"include: found .*'a_1'.*such as a_run-1, a_run-2", ArgumentError, include=("a_1",)
  )
  refused(r"a_run-1.nii.gz: found 3 repeats; expected more than repeats=3", repeats=3)
  save_nifti(tmp_path / "a_run-2.nii.gz", repeats("a")[0].transpose(2, 1, 0))
  refused(r"a_run-2.nii.gz: found slices of shape .* in the first repeat .*a_run-1")
  for number, name in enumerate("qqrrq"):
    save_nifti(tmp_path / "more" / f"{number}{name}.nii", repeats("a")[0])
  own = dict(root=str(tmp_path / "more"), repeat_pattern=r"^\d")
  refused("4q.nii: found a repeat of 'q' that does not follow the others", **own)
  other = r"1q.nii: found a repeat of the subject '1'; expected '0', as .*0q.nii"
  refused(other, subject_pattern=r"^\d", **own)
  with pytest.raises(ArgumentError, match="repeat_pattern: found '_run', with repeats"):
    config(source="nifti", root=str(tmp_path), repeat_pattern="_run")


def test_repeats_that_were_prepared_one_by_one_are_refused(tmp_path):
  apart = dataclasses.replace(in_files(tmp_path / "raw"), repeat_pattern="", repeats=0)
  prepared.write_folder(read(apart), tmp_path / "out", {})
  match = r"a_run-1\.h5: found a prepared volume; .*together"
  with pytest.raises(UserError, match=match):
    list(read(settings("prepared", tmp_path / "out", 1, repeat_pattern=r"_run-\d")))

"""Pairs from repeated acquisitions in one file or series."""

import dataclasses

import numpy as np
import pytest
from helpers.centred import complex_images, dft
from helpers.data_files import all_sampled, config, images, save_nifti
from helpers.dicom_files import AXIAL, save

from kdmri_jax.config import InputsConfig
from kdmri_jax.data import load
from kdmri_jax.data.dataset import read
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

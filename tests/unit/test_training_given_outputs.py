"""Outputs of a teacher in files of any format."""

import pathlib

import h5py
import nibabel
import numpy as np
import pytest
from helpers.data_files import config, images, save_h5
from helpers.scan_files import save_cfl, save_dicom
from PIL import Image
from scipy import io

from kdmri_jax.data.volume import Volume, prepare
from kdmri_jax.errors import UserError
from kdmri_jax.training import given

STORED = np.round(100 * images(0, (4, 8, 10)))  # the file of the volume
TEACHER = np.round(STORED + 3)  # what its teacher gives, in the units of the file


def volume(**changes):
  """The volume `a` of a run, which crops and scales it."""
  record = {"source": "nifti"}
  return prepare(Volume("a", "a", STORED, record=record), config(**changes))


def read(folder: pathlib.Path, of: Volume, channels=1):
  return given.find(str(folder), "given", None).images(of, channels)[..., 0]


def save_nifti(folder, array):
  image = nibabel.Nifti1Image(np.moveaxis(array, 0, 2).astype(np.float32), np.eye(4))
  nibabel.save(image, folder / "a.nii.gz")


def save_png(folder, array):
  folder.mkdir(parents=True)
  for k, image in enumerate(array.astype(np.uint16)):
    Image.fromarray(image).save(folder / f"{k}.png")


def save_pages(path, array):
  first, *others = (Image.fromarray(each.astype(np.float32)) for each in array)
  first.save(path, save_all=True, append_images=others)


WRITE = {
  "h5": lambda folder, array: save_h5(folder / "a.h5", reconstruction=array),
  "nifti": save_nifti,
  "npz": lambda folder, array: np.savez(folder / "a.npz", reconstruction=array),
  "npy": lambda folder, array: np.save(folder / "a.npy", array),
  "mat": lambda folder, array: io.savemat(
    folder / "a.mat", {"anything": np.moveaxis(array, 0, 2)}
  ),
  "cfl": lambda folder, array: save_cfl(
    folder / "a", np.moveaxis(array, 0, 2).astype(np.complex64)
  ),
  "dicom": lambda folder, array: save_dicom(folder / "a", array),
  "png": lambda folder, array: save_png(folder / "a", array),
  "tiff": lambda folder, array: save_pages(folder / "a.tif", array),
}


@pytest.mark.parametrize("form", sorted(WRITE.keys() - {"cfl"}))
def test_every_format(tmp_path, form):
  of = volume(crop=(6, 6), slices_per_volume=2)
  WRITE[form](tmp_path, TEACHER)
  expected = TEACHER[1:3, 1:7, 2:8] / of.record["scale_factor"]
  np.testing.assert_allclose(read(tmp_path, of), expected, rtol=1e-6)


def test_cfl_holds_complex_numbers(tmp_path):
  of = prepare(Volume("a", "a", STORED + 0j), config(crop=(0, 0)))
  WRITE["cfl"](tmp_path, TEACHER)
  expected = TEACHER / of.record["scale_factor"]
  np.testing.assert_allclose(read(tmp_path, of, channels=2), expected, rtol=1e-6)
  with pytest.raises(UserError, match=r"a\.cfl: found complex images; expected real"):
    read(tmp_path, volume(crop=(0, 0)))


def test_images_in_the_scale_and_shape_of_the_run(tmp_path):
  of = volume(crop=(6, 6), slices_per_volume=2)
  scaled = (TEACHER[1:3, 1:7, 2:8] / of.record["scale_factor"]).astype(np.float32)
  WRITE["npy"](tmp_path, scaled)
  np.testing.assert_array_equal(read(tmp_path, of), scaled)


@pytest.mark.parametrize(("factor", "told"), [(1.0, False), (1.1, False), (0.5, True)])
def test_outputs_of_another_brightness_are_told(tmp_path, factor, told, caplog):
  of = volume(crop=(0, 0))
  scaled = factor * STORED / of.record["scale_factor"]
  WRITE["npy"](tmp_path, scaled.astype(np.float32))
  with caplog.at_level("WARNING"):
    read(tmp_path, of)
  assert ("the student learns their brightness" in caplog.text) == told


def test_grey_values_of_an_unknown_unit_are_fitted(tmp_path, caplog):
  """Pictures that fill their 16 bits; not where each slice does so by itself."""
  of = volume(crop=(0, 0))
  full = np.round(TEACHER * (2**16 - 1) / TEACHER.max())
  save_png(tmp_path / "a", full)
  with caplog.at_level("INFO"):
    found = read(tmp_path, of)
  target = np.asarray(of.target)
  divisor = np.square(full).sum() / (full * target).sum()
  np.testing.assert_allclose(found, full / divisor, rtol=1e-6)
  assert f"divided by {divisor:.5g}" in caplog.text
  assert np.abs(found - target).max() < 0.1 * target.max()
  darker = np.stack([full[0] / 2, *full[1:]])
  save_png(tmp_path / "own" / "a", darker)
  with pytest.raises(UserError, match=r"one by one.*one scale for the volume"):
    read(tmp_path / "own", of)


def test_nifti_has_the_axes_of_its_source(tmp_path):
  of = volume(crop=(0, 0))
  of.record["source"] = "calgary_campinas"  # slices first
  image = nibabel.Nifti1Image(TEACHER.astype(np.float32), np.eye(4))
  nibabel.save(image, tmp_path / "a.nii")
  expected = TEACHER / of.record["scale_factor"]
  np.testing.assert_allclose(read(tmp_path, of), expected, rtol=1e-6)


@pytest.mark.parametrize(
  ("write", "message"),
  [
    (
      lambda f: np.save(f / "a.npy", TEACHER / 50),
      r"in this run; expected .*\(1\), or",
    ),
    (lambda f: np.save(f / "a.npy", 0 * TEACHER), "images 0 times as bright"),
    (lambda f: np.save(f / "a.npy", TEACHER[:2]), r"shape \(2, 8, 10\); expected"),
    (lambda f: np.save(f / "b.npy", TEACHER), r"without a\.npy"),
    (lambda f: np.savez(f / "a.npz", target=TEACHER), "the array 'target' and no rec"),
    (lambda f: io.savemat(f / "a.mat", {"x": TEACHER, "y": TEACHER}), "the keys x, y"),
    (lambda f: (f / "a.txt").write_text("no"), "no weights and no images"),
  ],
)
def test_bad_outputs(tmp_path, write, message):
  write(tmp_path)
  with pytest.raises(UserError, match=message):
    read(tmp_path, volume(crop=(6, 6)))


def test_h5_files_come_first(tmp_path):
  """As before there were other formats: what lies beside them is not read."""
  of = volume(crop=(0, 0))
  scaled = (TEACHER / of.record["scale_factor"]).astype(np.float32)
  WRITE["h5"](tmp_path, scaled)
  WRITE["npy"](tmp_path, 0 * scaled)
  np.testing.assert_array_equal(read(tmp_path, of), scaled)
  with h5py.File(tmp_path / "a.h5", "a") as file:
    file.attrs["units"] = "file"
    file["reconstruction"][...] = TEACHER
  np.testing.assert_allclose(read(tmp_path, of), scaled, rtol=1e-6)


@pytest.mark.parametrize(
  ("turn", "words"),
  [
    (lambda array: array[::-1], "with slices reversed"),
    (lambda array: array[:, ::-1, ::-1], "with rows and columns reversed"),
    (lambda array: array[..., ::-1], "with columns reversed"),
  ],
)
def test_another_orientation_is_refused(tmp_path, turn, words):
  WRITE["npy"](tmp_path, turn(TEACHER))
  with pytest.raises(UserError, match=rf"a\.npy: found images that .* better {words}"):
    read(tmp_path, volume(crop=(6, 6)))

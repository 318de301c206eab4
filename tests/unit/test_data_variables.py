"""Files whose arrays have names and axes of their own."""

import dataclasses
import tracemalloc
import zipfile

import h5py
import numpy as np
import pytest
from helpers import coil_files
from helpers.data_files import all_sampled, config, images, read
from helpers.raw_files import to_kspace
from scipy import io

from kdmri_jax.config import InputsConfig
from kdmri_jax.data import load
from kdmri_jax.data.dataset import read as prepared
from kdmri_jax.errors import UserError
from kdmri_jax.inference import read_scan
from kdmri_jax.io.variables import read_variable

SHAPE = (4, 6, 5)  # slices, rows, columns


def save_mat5(path, **arrays):
  io.savemat(path.with_suffix(".mat"), arrays)


def save_mat73(path, **arrays):
  with h5py.File(path.with_suffix(".mat"), "w", userblock_size=512) as file:
    for name, array in arrays.items():
      file[name] = array.T


def save_h5(path, **arrays):
  with h5py.File(path.with_suffix(".h5"), "w") as file:
    for name, array in arrays.items():
      file[name] = array


def save_npz(path, **arrays):
  np.savez(path.with_suffix(".npz"), **arrays)


@pytest.mark.parametrize("save", [save_mat5, save_mat73, save_h5, save_npz])
def test_a_named_array_with_named_axes(tmp_path, save):
  image = images(1, SHAPE)
  arrays = {"im": image.transpose(2, 0, 1), "other": images(2, (3, 3))}
  save(tmp_path / "a", **arrays, number=np.array([[7.0]]))
  axes = ("columns", "slices", "rows")
  (volume,) = read("arrays", tmp_path, variable="im", axes=axes)
  np.testing.assert_array_equal(volume.target, image)
  assert (volume.name, volume.subject) == ("a", "a")
  assert volume.record["variable"] == "im" and volume.record["unit"] == "file"
  with pytest.raises(UserError, match=r"found several arrays: im \(5, 4, 6\), .*other"):
    read("arrays", tmp_path)
  with pytest.raises(UserError, match=r"found no array 'img' \(the arrays are: im"):
    read("arrays", tmp_path, variable="img")


def test_what_is_in_a_struct_must_be_saved_on_its_own(tmp_path):
  io.savemat(tmp_path / "a.mat", {"S": {"im": images(1, SHAPE)}})
  words = r"a\.mat: found no array 'S.im' .* saved on its own \(im = S.im\)"
  with pytest.raises(UserError, match=words):
    read("arrays", tmp_path, variable="S.im")


def test_axes_without_a_name_are_those_of_the_format(tmp_path):
  image = images(1, SHAPE)
  save_mat5(tmp_path / "a", x=image.transpose(1, 2, 0))
  save_npz(tmp_path / "b", x=image)
  np.save(tmp_path / "c.npy", image)
  for volume in read("arrays", tmp_path):
    np.testing.assert_array_equal(volume.target, image)
  save_mat5(tmp_path / "a", x=image[0])  # MATLAB has dropped the axis of one slice
  (volume,) = read("arrays", tmp_path, include=("a",))
  np.testing.assert_array_equal(volume.target, image[:1])
  np.save(tmp_path / "c.npy", image[0])
  (volume,) = read("arrays", tmp_path, include=("c",), axes=("rows", "columns"))
  np.testing.assert_array_equal(volume.target, image[:1])


def test_a_group_of_h5_and_complex_numbers(tmp_path):
  image = images(1, SHAPE) * np.exp(1j)
  with h5py.File(tmp_path / "a.h5", "w") as file:
    file["scan/image"] = image
    file["scan/name"] = "text"
  (volume,) = read("arrays", tmp_path)
  np.testing.assert_array_equal(volume.target, image)
  assert volume.record["variable"] == "scan/image"


def test_repeats_may_be_an_axis(tmp_path):
  every = images(1, (3, *SHAPE))
  save_mat5(tmp_path / "a", x=every.transpose(2, 3, 1, 0))
  settings = config(source="arrays", root=str(tmp_path), repeats=1)
  for changes in ({}, {"axes": ("rows", "columns", "slices", "repeats")}):
    volumes = list(prepared(dataclasses.replace(settings, **changes)))
    assert len(volumes) == 3
    largest = every[1].max()
    np.testing.assert_allclose(volumes[1].input, every[1] / largest, rtol=1e-6)
    target = every[[0, 2]].mean(0) / largest
    np.testing.assert_allclose(volumes[1].target, target, rtol=1e-6)


def test_a_file_may_hold_input_and_target(tmp_path):
  clean, noisy = images(1, SHAPE), images(2, SHAPE)
  for name in "ab":
    save_mat5(
      tmp_path / name,
      clean=clean.transpose(1, 2, 0) * ord(name),
      noisy=noisy.transpose(1, 2, 0),
    )
  settings = config(
    source="arrays",
    root=str(tmp_path),
    variable="clean",
    inputs=InputsConfig(variable="noisy"),
    validation=("b",),
  )
  (part,) = load(settings, all_sampled).train.parts
  np.testing.assert_allclose(part.input[..., 0], noisy / noisy.max(), rtol=1e-6)
  expected = clean * ord("a") / noisy.max()
  np.testing.assert_allclose(part.target[..., 0], expected, rtol=1e-6)
  scan = read_scan.read(tmp_path / "a.mat", settings, source="arrays")
  np.testing.assert_array_equal(scan.target, noisy)  # a new scan is an input
  scan = read_scan.read(tmp_path / "a.mat", settings, source="arrays", variable="clean")
  np.testing.assert_array_equal(scan.target, clean * ord("a"))


@pytest.mark.parametrize(
  ("axes", "message"),
  [
    (
      ("rows", "columns"),
      r"a.npz: found 'x' of shape \(4, 6, 5\); expected as many ax",
    ),
    (("rows", "rows", "columns"), r"data.axes: found rows, rows, columns; expected"),
    (("slices", "rows"), r"data.axes: found slices, rows; expected rows and columns"),
    (("time", "rows", "columns"), r"data.axes: found time, rows, columns"),
    (("repeats", "rows", "columns"), r"data.axes: found repeats, rows, columns"),
  ],
)
def test_axes_that_do_not_fit_are_refused(tmp_path, axes, message):
  save_npz(tmp_path / "a", x=images(1, SHAPE))
  with pytest.raises(UserError, match=message):
    read("arrays", tmp_path, axes=axes)


def test_what_is_no_array_of_images_is_refused(tmp_path):
  np.savez(tmp_path / "a.npz", x=np.array(["text"] * 3), y=np.array([1.0, 2]))
  with pytest.raises(UserError, match=r"a.npz: found no array of two axes or more"):
    read_variable(tmp_path / "a.npz")
  np.savez(tmp_path / "a.npz", x=np.array([["text"] * 3] * 3))
  with pytest.raises(UserError, match=r"a.npz: found 'x' of type <U4"):
    read_variable(tmp_path / "a.npz")
  np.save(tmp_path / "c.npy", images(1, SHAPE))
  with pytest.raises(UserError, match=r"c.npy: found no array 'x': .npy has no names"):
    read_variable(tmp_path / "c.npy", "x")
  (tmp_path / "b.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
  with pytest.raises(UserError, match=r"b.mat: found a file that cannot be read"):
    read_variable(tmp_path / "b.mat", "x")


def test_of_other_arrays_in_an_archive_the_headers_alone_are_read(tmp_path):
  """So what cannot be read, and is not wanted, does no harm."""
  image, size = images(1, SHAPE), 10**6
  arrays = {"a": np.zeros((2, size)), "x": image, "y": np.array([{}] * 3)}
  np.savez(tmp_path / "a.npz", **arrays)
  tracemalloc.start()
  found, _ = read_variable(tmp_path / "a.npz", "x")
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  np.testing.assert_array_equal(found, image)
  assert peak < size
  with pytest.raises(UserError, match=r"a \(2, 1000000\), .*x \(4, 6, 5\), y \(3,\)"):
    read_variable(tmp_path / "a.npz")
  with pytest.raises(UserError, match=r"a.npz: found a file that cannot be read"):
    read_variable(tmp_path / "a.npz", "y")
  with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
    archive.writestr("x.npy", "no array")
  with pytest.raises(UserError, match=r"b.npz: found a file that cannot be read"):
    read_variable(tmp_path / "b.npz")


def test_other_sources_refuse_the_settings(tmp_path):
  with pytest.raises(
    UserError, match=r"variable: found 'x'; expected '', because nift"
  ):
    read("nifti", tmp_path, variable="x")
  with pytest.raises(UserError, match=r"axes: found .*; expected \(\), because nifti"):
    read("nifti", tmp_path, axes=("rows", "columns"))


KSPACE = {"contrast": "kspace", "combine": "sense"}


def test_kspace_with_named_axes_is_combined_by_its_sensitivities(tmp_path):
  """One slice; the other file of the folder holds the sensitivities."""
  seen, maps = coil_files.coil_images(3)
  kspace = to_kspace(seen)[0]
  image = (maps[0].conj() * seen[0]).sum(0) / (np.abs(maps[0]) ** 2).sum(0)
  save_npz(tmp_path / "a", data=kspace.transpose(1, 0, 2), other=images(1, (3, 3)))
  save_npz(tmp_path / "a_sens", maps=maps[0].transpose(1, 0, 2))
  axes = ("rows", "coils", "columns")
  (volume,) = read("arrays", tmp_path, variable="data", axes=axes, **KSPACE)
  np.testing.assert_allclose(volume.target, image[None], atol=1e-5)
  assert (volume.record["coils"], volume.record["combine"]) == (4, "sense")
  (volume,) = read("arrays", tmp_path, variable="data", axes=axes, contrast="kspace")
  expected = np.sqrt((np.abs(seen[:1]) ** 2).sum(1))
  np.testing.assert_allclose(volume.target, expected, atol=1e-5)


def test_kspace_of_one_coil_needs_no_axis_of_coils(tmp_path):
  seen = coil_files.coil_images(3, coils=1)[0][:, 0]
  np.save(tmp_path / "a.npy", to_kspace(seen))
  axes = ("slices", "rows", "columns")
  (volume,) = read("arrays", tmp_path, axes=axes, contrast="kspace")
  np.testing.assert_allclose(volume.target, seen, atol=1e-5)
  lines = np.ones(20)
  lines[[3, 5, 12]] = 0
  np.save(tmp_path / "b.npy", to_kspace(seen) * lines)
  scan = read_scan.read(
    tmp_path / "b.npy", config(), source="arrays", axes=axes, contrast="kspace"
  )
  np.testing.assert_array_equal(scan.mask, np.fft.ifftshift(lines) * np.ones((24, 1)))
  np.testing.assert_allclose(
    scan.kspace, np.fft.fft2(seen, norm="ortho") * scan.mask, atol=1e-5
  )
  with pytest.raises(UserError, match=r"b\.npy: found undersampled k-space \(slice 0"):
    read("arrays", tmp_path, axes=axes, contrast="kspace")


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"axes": ("coils", "rows", "columns")}, "axes: .*; expected rows .* contrast='ks"),
    ({"combine": "rss"}, "combine: found 'rss', of images; expected ''"),
    ({"contrast": "kspace", "repeats": 2}, "repeats: found 2, of k-space; expected 0"),
    ({"contrast": "t1"}, "contrast: found 't1', .*; expected one of image, kspace"),
    (
      {"contrast": "kspace", "axes": ("slices", "rows", "columns", "coils")},
      r"a\.mat: found complex64 .* \(20, 24, 4, 2\); expected complex k-space of fewer",
    ),
  ],
)
def test_refuses_what_does_not_fit_kspace(tmp_path, changes, message):
  kspace = to_kspace(coil_files.coil_images(3)[0])
  save_mat5(tmp_path / "a", data=kspace.astype(np.complex64).transpose(3, 1, 0, 2))
  with pytest.raises(UserError, match=message):
    read("arrays", tmp_path, **changes)


def test_refuses_kspace_that_is_not_centred(tmp_path):
  np.save(tmp_path / "a.npy", np.fft.fft2(coil_files.coil_images(3)[0]))
  with pytest.raises(UserError, match="found k-space with its zero frequency at the c"):
    read("arrays", tmp_path, contrast="kspace")


@pytest.mark.parametrize("is_shifted", [False, True])
def test_images_that_are_shifted_by_half_a_field_are_told(tmp_path, is_shifted):
  image = np.zeros((2, 12, 10))
  image[:, 3:9, 3:8] = images(0, (2, 6, 5))
  centre = image if is_shifted else np.fft.ifftshift(image, axes=(1, 2))
  kspace = np.fft.fftshift(np.fft.fft2(centre, norm="ortho"), axes=(1, 2))
  save_npz(tmp_path / "a", kspace=kspace[:, None])
  (volume,) = read("arrays", tmp_path, contrast="kspace", combine="rss")
  assert ("look shifted by half" in volume.record["note"]) == is_shifted
  found = np.fft.fftshift(image, axes=(1, 2)) if is_shifted else image
  np.testing.assert_allclose(np.abs(volume.target), found, atol=1e-5)

"""Every source finds every file: endings in any case, links, and nothing twice."""

import os
import pathlib
import shutil

import numpy as np
import pytest
from helpers.data_files import images, read, save_h5, save_nifti, stack
from helpers.source_files import BUILDERS

from kdmri_jax.data import Volume
from kdmri_jax.data.sources import TRAINING
from kdmri_jax.errors import UserError
from kdmri_jax.io import volume_files, walk
from kdmri_jax.physics.masks import formats
from kdmri_jax.training import given

WITHOUT_FILES = {"phantom", "mni152"}
OF_H5 = ("fastmri", "calgary_multi", "kdmri", "ismrmrd", "prepared")


def volumes(name, root, options):
  """The values of each volume of a root, and its name, subject and split."""
  source = "calgary_campinas" if name == "calgary_single" else name
  return {(v.name, v.subject, v.split): v.target for v in read(source, root, **options)}


def assert_equal(found, expected):
  assert list(found) == list(expected)
  for key, target in expected.items():
    np.testing.assert_array_equal(found[key], target, err_msg=str(key))


@pytest.fixture(params=BUILDERS)
def data(request, tmp_path):
  """A source, the root of its files, further settings, and its volumes."""
  root = tmp_path / "data"
  options = BUILDERS[request.param](root) or {}
  expected = volumes(request.param, root, options)
  assert len(expected) >= 2
  return request.param, root, options, expected


def test_there_are_files_of_every_source():
  assert set(BUILDERS) - {"calgary_single"} == set(TRAINING) - WITHOUT_FILES


@pytest.mark.parametrize("change", [str.upper, str.title])
def test_endings_in_any_case(data, change):
  name, root, options, expected = data
  for path in [path for path in root.rglob("*") if path.is_file()]:
    stem = path.name[: -len("".join(path.suffixes[-2:]))]
    if path.suffixes[-2:] != [".nii", ".gz"]:
      stem = path.stem
    path.rename(path.with_name(stem + change(path.name[len(stem) :])))
  assert_equal(volumes(name, root, options), expected)


@pytest.mark.parametrize("data", OF_H5, indirect=True)
def test_the_long_ending_of_h5(data):
  name, root, options, expected = data
  for path in list(root.rglob("*.h5")):
    path.rename(path.with_suffix(".hdf5"))
  assert_equal(volumes(name, root, options), expected)


def annexed(root):
  """Replaces every file by a link, as git-annex does; returns the contents."""
  store = root / ".git" / "annex" / "objects"
  contents = []
  for number, path in enumerate(p for p in sorted(root.rglob("*")) if p.is_file()):
    key = f"SHA256E-s{number}{''.join(path.suffixes[-2:])}"
    content = store / "xx" / key / key
    content.parent.mkdir(parents=True)
    path.rename(content)
    path.symlink_to(os.path.relpath(content, path.parent))
    contents.append(content)
  return contents


def test_links_to_files_are_read_and_their_store_is_not(data):
  name, root, options, expected = data
  annexed(root)
  assert_equal(volumes(name, root, options), expected)


def test_content_that_was_not_fetched_is_refused_by_name(data):
  name, root, options, _ = data
  contents = annexed(root)
  content = next(path for path in contents if path.suffix not in (".png", ".json"))
  content.unlink()
  with pytest.raises(UserError) as error:
    volumes(name, root, options)
  assert pathlib.Path(error.value.where).is_symlink()
  assert "where no file is found" in error.value.found
  link = pathlib.Path(error.value.where)
  assert f"git annex get {link.name}" in error.value.remedy


def test_links_to_folders_are_followed_without_end_or_repetition(data, tmp_path):
  name, root, options, expected = data
  for path in [path for path in root.iterdir() if path.is_dir()]:
    moved = tmp_path / "elsewhere" / path.name
    moved.parent.mkdir(exist_ok=True)
    path.rename(moved)
    path.symlink_to(moved)
    (moved / "loop").symlink_to(root)
    (moved / "itself").symlink_to(moved)
  (root / "up").symlink_to(tmp_path)
  shown = root.with_name(".hidden") / "data"
  shown.parent.mkdir()
  root.rename(shown)
  root.symlink_to(shown)
  assert_equal(volumes(name, root, options), expected)


def test_what_begins_with_a_dot_is_no_data(data):
  name, root, options, expected = data
  copies = root.with_name("copies")
  shutil.copytree(root, copies)
  for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
    shutil.copytree(copies, folder / ".snapshot" / "yesterday")
    for path in [path for path in folder.iterdir() if path.is_file()]:
      path.with_name(f"._{path.name}").write_bytes(b"resource fork")
  assert_equal(volumes(name, root, options), expected)


# The walker


def test_a_folder_is_read_by_its_own_path_before_any_link(tmp_path):
  (tmp_path / "z").mkdir()
  (tmp_path / "z" / "1.nii").touch()
  (tmp_path / "a").symlink_to("z")
  (tmp_path / "outside").mkdir()
  (tmp_path / "outside" / "2.nii").touch()
  root = tmp_path / "root"
  root.mkdir()
  (tmp_path / "z").rename(root / "z")
  (tmp_path / "a").rename(root / "a")
  for link in ("b", "c"):
    (root / link).symlink_to(tmp_path / "outside")
  found = [path.relative_to(root).as_posix() for path in walk.files(root, [".nii"])]
  assert found == ["b/2.nii", "z/1.nii"]


def test_files_are_sorted_by_the_parts_of_their_paths(tmp_path):
  names = ["a/b.nii", "a-c.nii", "a.nii", "B.nii", "a/A/z.nii"]
  for name in names:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
  assert walk.files(tmp_path, [".nii"]) == sorted(tmp_path / name for name in names)
  assert walk.files(tmp_path, [".nii"], below=False) == sorted(
    tmp_path / name for name in names if "/" not in name
  )
  assert walk.files(tmp_path / "none") == []


def test_a_link_that_may_have_been_a_folder_is_refused(tmp_path):
  save_nifti(tmp_path / "a.nii", stack())
  (tmp_path / "notes.txt").symlink_to("nowhere")
  assert len(read("nifti", tmp_path)) == 1
  (tmp_path / "subject2").symlink_to("/media/disk/subject2")
  with pytest.raises(UserError, match=r"subject2: found a link to /media/disk/subj"):
    read("nifti", tmp_path)


LAYOUTS = {
  "nifti": "validation",
  "acdc": "testing",
  "mrbrains13": "TestData",
  "kdmri": "validation",
  "fastmri": "singlecoil_val",
  "calgary_multi": "Val",
  "hammernik": "coronal_pd/3",
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_missing_folder_of_a_layout_is_refused(tmp_path, name):
  root = tmp_path / "data"
  options = BUILDERS[name](root) or {}
  path = root / LAYOUTS[name]
  if path.exists():
    path.rename(tmp_path / "elsewhere")
  path.symlink_to("/media/disk")
  with pytest.raises(UserError, match=rf"{path.name}: found a link to /media/disk"):
    read(name, root, **options)


def test_a_text_that_git_annex_has_not_fetched_does_not_matter(tmp_path):
  save_nifti(tmp_path / "a.nii", stack())
  (tmp_path / "README").symlink_to(".git/annex/objects/x/y/MD5E-s1--1/MD5E-s1--1")
  assert len(read("nifti", tmp_path)) == 1


def test_links_in_a_circle_are_refused(tmp_path):
  (tmp_path / "a.nii").symlink_to("b.nii")
  (tmp_path / "b.nii").symlink_to("a.nii")
  with pytest.raises(UserError, match=r"a.nii: found a link to b.nii, where no file"):
    read("nifti", tmp_path)


def test_a_missing_file_of_an_excluded_volume_does_not_matter(tmp_path):
  save_nifti(tmp_path / "a.nii", stack())
  (tmp_path / "b.nii").symlink_to("nowhere")
  assert [v.name for v in read("nifti", tmp_path, include=("a",))] == ["a"]


@pytest.mark.parametrize(
  ("text", "remedy"),
  [
    ("/annex/objects/SHA256E-s9--1.nii\n", "git annex get a.nii"),
    ("version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
  ],
)
def test_pointers_in_place_of_files_are_refused(tmp_path, text, remedy):
  (tmp_path / "a.nii").write_text(text)
  with pytest.raises(UserError, match=rf"a pointer to content.*{remedy}"):
    read("nifti", tmp_path)
  (tmp_path / "a.nii").rename(tmp_path / "IM1")
  with pytest.raises(UserError, match="IM1: found a pointer to content"):
    read("dicom", tmp_path)


def test_a_folder_that_cannot_be_read_is_told(tmp_path):
  save_nifti(tmp_path / "a.nii", stack())
  (tmp_path / "closed").mkdir(0)
  places = [tmp_path, *tmp_path.parents]
  modes = [place.stat().st_mode for place in places]
  try:
    if os.geteuid() == 0:  # who may read everything
      for place, mode in zip(places, modes, strict=True):
        place.chmod(mode | 0o555)
      os.seteuid(65534)
    with pytest.raises(UserError, match=r"closed: found a folder that cannot be read"):
      read("nifti", tmp_path)
  finally:
    os.seteuid(os.getuid())
    for place, mode in zip(places, modes, strict=True):
      if place.stat().st_mode != mode:
        place.chmod(mode)


def test_a_pipe_is_refused_and_not_passed_over(tmp_path):
  save_nifti(tmp_path / "a.nii", stack())
  os.mkfifo(tmp_path / "b.nii")
  with pytest.raises(UserError, match=r"b.nii: found a named pipe"):
    read("nifti", tmp_path)


# Other folders and files


def test_evaluated_folders(tmp_path):
  save_h5(tmp_path / "a.hdf5", target=images(0))
  save_h5(tmp_path / "b.H5", target=images(1))
  save_nifti(tmp_path / "c.nii.gz", stack())
  (tmp_path / "c.nii.gz").rename(tmp_path / "c.Nii.Gz")
  (tmp_path / "d.h5").symlink_to(tmp_path / "a.hdf5")
  save_h5(tmp_path / ".git" / "e.h5", target=images(2))
  save_h5(tmp_path / "._a.h5", target=images(2))
  found = volume_files.find(tmp_path)
  assert list(found) == ["a", "b", "c", "d"]
  expected = [images(0), images(1), np.moveaxis(stack(), 2, 0), images(0)]
  for path, array in zip(found.values(), expected, strict=True):
    np.testing.assert_array_equal(volume_files.read_volume(path)[0], array)
  (tmp_path / "a.hdf5").unlink()
  with pytest.raises(UserError, match=r"d.h5: found a link to .*, where no file"):
    volume_files.read_volume(volume_files.find(tmp_path)["d"])


def test_given_outputs(tmp_path):
  save_h5(tmp_path / "a.HDF5", reconstruction=images(0))
  save_h5(tmp_path / ".store" / "b.h5", reconstruction=images(1))
  (tmp_path / "b.h5").symlink_to(tmp_path / ".store" / "b.h5")
  found = given.find(str(tmp_path), "given", None)
  for seed, name in enumerate("ab"):
    volume = Volume(name, name, images(seed))
    np.testing.assert_allclose(found.images(volume, 1)[..., 0], images(seed), rtol=1e-6)
  (tmp_path / ".store" / "b.h5").unlink()
  with pytest.raises(UserError, match=r"b.h5: found a link to .*where no file"):
    given.find(str(tmp_path), "given", None).images(volume, 1)


def test_two_endings_of_one_volume_are_refused(tmp_path):
  save_h5(tmp_path / "a.h5", target=images(0))
  save_h5(tmp_path / "a.H5", target=images(1))
  with pytest.raises(UserError, match=r"a.H5 and a.h5"):
    volume_files.find(tmp_path)


@pytest.mark.parametrize("name", ["m.NPY", "m.Mat", "m.HDF5", "m.CFL", "m.Hdr"])
def test_masks_in_any_case(tmp_path, name):
  from helpers.scan_files import save_cfl
  from scipy import io

  mask = np.zeros((6, 5), np.uint8)
  mask[[0, 1, 3, 5]] = 1
  path = tmp_path / name.lower()
  shown = np.fft.fftshift(mask)
  if path.suffix == ".npy":
    np.save(path, mask)
  elif path.suffix == ".mat":
    io.savemat(path, {"mask": mask})
  elif path.suffix == ".hdf5":
    save_h5(path, mask=shown)
  else:
    save_cfl(path, shown.astype(complex))
    other = path.with_suffix(".hdr" if path.suffix == ".cfl" else ".cfl")
    other.rename(tmp_path / other.name.upper())
  path.rename(tmp_path / name)
  np.testing.assert_array_equal(formats.read_mask(tmp_path / name)[0], mask)

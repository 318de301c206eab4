"""One phantom, fully sampled, in every format: the same numbers come out."""

import h5py
import nibabel
import numpy as np
import pytest
from helpers.centred import dft
from helpers.scan_files import (
  PHANTOM,
  bart_order,
  read,
  run,
  save_cfl,
  save_dicom,
  save_fastmri,
  save_nifti,
  student,
)
from scipy import io

from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import UserError
from kdmri_jax.inference import read_scan
from kdmri_jax.io.reading import split_name

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  return student(tmp_path_factory.getbasetemp())


def as_h5(folder, phantom):
  with h5py.File(folder / "a.h5", "w") as file:
    file["target"] = phantom
  return folder / "a.h5", {}


def as_published_h5(folder, phantom):
  with h5py.File(folder / "1.h5", "w") as file:
    file["volfs"] = np.moveaxis(phantom, 0, 2)
  return folder / "1.h5", {}


def as_nifti(folder, phantom):
  save_nifti(folder / "a.b.nii", phantom)
  return folder / "a.b.nii", {}


def as_compressed_nifti_2(folder, phantom):
  save_nifti(folder / "a.nii.gz", phantom, nibabel.Nifti2Image)
  return folder / "a.nii.gz", {}


def as_npz(folder, phantom):
  np.savez(folder / "knee [1].npz", image=phantom)
  np.savez(folder / "other.npz", image=phantom[:1])
  return folder / "knee [1].npz", {}


def as_subject_of_npz(folder, phantom):
  both = np.concatenate([phantom, phantom[:1] + 1])
  np.savez(folder / "a.npz", image=both, subject=[1, 1, 1, 2])
  return folder / "a.npz", {"name": "a_1"}


def as_npy(folder, phantom):
  np.save(folder / "a.npy", phantom.astype(np.uint16))
  return folder / "a.npy", {}


def as_cfl_image(folder, phantom):
  save_cfl(folder / "a.cfl", bart_order(phantom[:, None].astype(complex)))
  save_cfl(folder / "b.cfl", bart_order(phantom[:, None].astype(complex)))
  return folder / "a.hdr", {"contrast": "image"}


def as_cfl_kspace_of_coils(folder, phantom):
  coils = phantom[:, None] * np.array([0.6, 0.8j])[:, None, None]
  save_cfl(folder / "a.cfl", bart_order(dft(coils, 2, 3)))
  return folder / "a.cfl", {"contrast": "kspace"}


def as_dicom(folder, phantom):
  save_dicom(folder / "series", phantom)
  (folder / "series" / "notes.txt").write_text("no image")
  return folder / "series", {}


def as_hammernik(folder, phantom):
  coils = phantom[:, None] * np.array([0.6, 0.8j])[:, None, None]
  subject = folder / "coronal_pd" / "7"
  subject.mkdir(parents=True)
  for k, kspace in enumerate(dft(coils, 2, 3)):
    raw = np.moveaxis(kspace, 0, 2).astype(np.complex64)
    io.savemat(subject / f"rawdata{k + 3}.mat", {"rawdata": raw})
  return subject, {}


def as_fastmri(folder, phantom):
  kspace = dft(phantom.astype(complex), 1, 2)
  save_fastmri(folder / "f.h5", kspace, reconstruction_esc=np.zeros((3, 2, 2)))
  return folder / "f.h5", {"combine": "rss"}


FORMATS = [as_h5, as_published_h5, as_nifti, as_compressed_nifti_2, as_npz]
FORMATS += [as_subject_of_npz, as_npy, as_cfl_image, as_cfl_kspace_of_coils, as_dicom]
FORMATS += [as_hammernik, as_fastmri]


@pytest.fixture(scope="module")
def expected(workdir):
  """The reconstruction of the PHANTOM itself."""
  return run(workdir, Volume("a", "a", PHANTOM, record={"file": "phantom"}))


@pytest.mark.parametrize("save", FORMATS, ids=lambda save: save.__name__[3:])
def test_fully_sampled_files_hold_the_phantom(tmp_path, save):
  path, options = save(tmp_path, PHANTOM)
  scan = read(path, **options)
  assert isinstance(scan, Volume) and not np.iscomplexobj(scan.target)
  np.testing.assert_allclose(scan.target, PHANTOM, rtol=1e-5, atol=1e-3)
  assert scan.record["file"]


@pytest.mark.parametrize("change", [str.upper, str.title])
@pytest.mark.parametrize("save", FORMATS, ids=lambda save: save.__name__[3:])
def test_endings_count_in_any_case_and_links_are_followed(tmp_path, save, change):
  store = tmp_path / ".git" / "annex" / "objects"
  store.mkdir(parents=True)
  path, options = save(tmp_path, PHANTOM)
  for number, file in enumerate(p for p in sorted(tmp_path.rglob("*")) if p.is_file()):
    _, suffix = split_name(file)
    link = file.with_name(file.name.removesuffix(suffix) + change(suffix))
    file.rename(store / str(number))
    link.symlink_to(store / str(number))
    path = link if file == path else path
  scan = read(path, **options)
  np.testing.assert_allclose(scan.target, PHANTOM, rtol=1e-5, atol=1e-3)
  for content in store.iterdir():
    content.unlink()
  with pytest.raises(UserError, match="git annex get"):
    read(path, **options)


@pytest.mark.parametrize("save", [as_nifti, as_npz, as_cfl_image, as_dicom])
def test_and_give_the_same_reconstruction(workdir, expected, tmp_path, save):
  path, options = save(tmp_path, PHANTOM)
  found = run(workdir, read(path, **options))
  assert set(found) == {"reconstruction", "zero_filled", "target"}
  for key, images in found.items():
    np.testing.assert_allclose(images, expected[key], rtol=1e-5, atol=1e-3)
  np.testing.assert_allclose(found["target"], PHANTOM, rtol=1e-6)


@pytest.mark.parametrize(
  ("source", "save"),
  [("nifti", as_nifti), ("bart", as_cfl_image), ("fastmri", as_fastmri)],
)
def test_a_source_may_be_named(tmp_path, source, save):
  path, options = save(tmp_path, PHANTOM)
  scan = read(path, source=source, **options)
  np.testing.assert_allclose(scan.target, PHANTOM, rtol=1e-5, atol=1e-3)
  assert scan.record["source"] == source


def test_a_source_reads_a_folder(tmp_path):
  for name in ("a", "b"):
    save_nifti(tmp_path / f"{name}.nii", PHANTOM + (name == "b"))
  with pytest.raises(UserError, match=r"found several volumes \(a, b\)"):
    read(tmp_path, source="nifti")
  scan = read(tmp_path, source="nifti", name="b")
  np.testing.assert_array_equal(scan.target, PHANTOM + 1)
  with pytest.raises(UserError, match=r"no volume 'c'"):
    read(tmp_path, source="nifti", name="c")


def test_one_slice_of_a_knee(tmp_path):
  subject, _ = as_hammernik(tmp_path, PHANTOM)
  scan = read(subject / "rawdata4.mat")
  np.testing.assert_allclose(scan.target, PHANTOM[1:2], rtol=1e-5, atol=1e-3)


def test_calgary_campinas_by_its_name_and_shape(tmp_path):
  pairs = np.random.default_rng(0).normal(size=(1, 256, 256, 2)).astype(np.float32)
  np.save(tmp_path / "e13991s3_P01536.7.npy", pairs)
  scan = read(tmp_path / "e13991s3_P01536.7.npy", combine="rss")
  expected = np.abs(np.fft.ifft2(pairs[..., 0] + 1j * pairs[..., 1])) / 256
  np.testing.assert_allclose(scan.target, expected, rtol=1e-4)


def test_what_h5_files_hold(tmp_path):
  coils = np.random.default_rng(0).normal(size=(2, 9, 8, 4)).astype(np.float32)
  multi = tmp_path / "e13991s3_P01536.7.h5"
  groups = {"dataset/xml": np.bytes_("<a/>"), "dataset/data": np.ones(3)}
  for source, arrays in {
    "ismrmrd": groups,
    "calgary_multi": {"kspace": coils},
    "fastmri": {"kspace": coils[..., 0] * 1j, "mask": np.ones(8)},
    "h5": {"kspace": coils[..., 0] * 1j, "mask": np.ones((9, 8))},
  }.items():
    path = multi if source == "calgary_multi" else tmp_path / f"{source}.h5"
    with h5py.File(path, "w") as file:
      for key, array in arrays.items():
        file[key] = array
    assert read_scan.source_of(path) == source
  kspace = (coils[..., ::2] + 1j * coils[..., 1::2]).astype(complex)
  kspace[:, :, 7:] = 0
  images = np.fft.ifft2(np.fft.ifftshift(kspace, (1, 2)), axes=(1, 2), norm="ortho")
  scan = read(multi)
  expected = np.sqrt((np.abs(images) ** 2).sum(-1))
  np.testing.assert_allclose(scan.target, expected, rtol=1e-4)


def test_subjects_without_number_are_welcome(tmp_path):
  save_dicom(tmp_path / "series", PHANTOM, patient="")
  np.testing.assert_array_equal(read(tmp_path / "series").target, PHANTOM)


# Ambiguous and missing inputs


def no_file(folder):
  return folder / "none.nii", {}, "found no such file"


def a_text(folder):
  (folder / "a.txt").write_text("hello")
  return folder / "a.txt", {}, r"found the name ending .txt; expected h5, NIfTI"


def a_folder_of_texts(folder):
  (folder / "a.txt").write_text("hello")
  return folder, {}, "a folder that no source recognises; expected h5, NIfTI"


def an_unknown_source(folder):
  np.save(folder / "a.npy", np.ones((2, 3, 4)))
  return folder / "a.npy", {"source": "nift"}, r"--source: found 'nift'"


def a_cfl_that_may_be_both(folder):
  save_cfl(folder / "a.cfl", np.ones((2, 3), complex))
  return folder / "a.cfl", {}, r"^--contrast: found '' .*'kspace' or 'image'"


def an_npy_that_may_be_both(folder):
  np.save(folder / "a.npy", np.ones((2, 3, 4), complex))
  return folder / "a.npy", {}, r"complex numbers, which may be k-space or images"


def coils_without_header(folder):
  save_fastmri(folder / "a.h5", np.ones((2, 3, 4, 5)))
  return folder / "a.h5", {}, r"a.h5: .*\(2, 3, 4, 5\).* such as fastmri"


def a_name_of_calgary(folder):
  save_nifti(folder / "CC0001_philips_15_55_M.nii.gz", np.ones((2, 3, 4)))
  path = folder / "CC0001_philips_15_55_M.nii.gz"
  return path, {}, r"^--source: .*several.*nifti or calgary_campinas"


def one_dicom_file(folder):
  save_dicom(folder / "series", np.ones((1, 3, 4)))
  return folder / "series" / "IM9", {}, "found one file of dicom; expected the folder"


def a_file_of_a_folder_source(folder):
  save_nifti(folder / "a.nii", np.ones((2, 3, 4)))
  return folder / "a.nii", {"source": "acdc"}, "one file of acdc"


def a_contrast_of_no_series(folder):
  save_dicom(folder / "series", np.ones((1, 3, 4)))
  return folder / "series", {"contrast": "7"}, r"^--contrast: .* series: 5 'T1'"


def a_contrast_of_no_choice(folder):
  save_nifti(folder / "a.nii", np.ones((2, 3, 4)))
  message = r"^--contrast: found 'T1'; expected '', because nifti does not support it"
  message += r"\. a\.nii was taken for nifti: name its source if it is another\."
  return folder / "a.nii", {"contrast": "T1"}, message


def a_combination_of_images(folder):
  with h5py.File(folder / "a.h5", "w") as file:
    file["target"] = np.ones((2, 3, 4))
  return folder / "a.h5", {"combine": "rss"}, r"^--combine: found 'rss'"


def an_npy_of_a_contrast(folder):
  np.save(folder / "a.npy", np.ones((2, 3, 4)))
  return (
    folder / "a.npy",
    {"contrast": "T1"},
    r"^--contrast: .*'kspace' .* or 'image' for .npy",
  )


def matlab_of_another_layout(folder):
  io.savemat(folder / "scan.mat", {"ksp": np.ones((4, 5, 2, 3)), "tr": 2.0})
  message = (
    r"scan.mat: found .*variables are: ksp \(4, 5, 2, 3\), tr \(1, 1\).*'arrays'"
  )
  return folder / "scan.mat", {}, message


@pytest.mark.parametrize(
  "spoil",
  [
    a_contrast_of_no_choice,
    a_combination_of_images,
    an_npy_of_a_contrast,
    matlab_of_another_layout,
    no_file,
    a_text,
    a_folder_of_texts,
    an_unknown_source,
    a_cfl_that_may_be_both,
    an_npy_that_may_be_both,
    coils_without_header,
    a_name_of_calgary,
    one_dicom_file,
    a_file_of_a_folder_source,
    a_contrast_of_no_series,
  ],
)
def test_what_cannot_be_told_is_a_clear_error(tmp_path, spoil):
  path, options, message = spoil(tmp_path)
  with pytest.raises(UserError, match=message):
    read(path, **options)

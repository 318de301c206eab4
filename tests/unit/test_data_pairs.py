"""Given inputs and their targets."""

import dataclasses
import json
import shutil

import h5py
import jax
import nibabel
import numpy as np
import pytest
from helpers.data_files import all_sampled, config, images, save_h5, save_nifti
from helpers.tiny import tiny_config

from kdmri_jax import config as config_lib
from kdmri_jax.config import DataConfig, InputsConfig
from kdmri_jax.config.data import OtherSourceConfig
from kdmri_jax.data import load
from kdmri_jax.data.dataset import read
from kdmri_jax.data.sources.prepared import write_folder
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.training.stage_networks import complete
from kdmri_jax.types import Acquisition

pytestmark = pytest.mark.usefixtures("quick_compilation")

SHAPE = (6, 5, 4)  # rows, columns, slices


def clean(name, shape=SHAPE):
  return images(sum(map(ord, name)), shape)


def noisy(name, shape=SHAPE):
  return 0.5 * clean(name, shape) + images(sum(map(ord, name)) + 1000, shape)


def two_folders(tmp_path, names=("a", "b", "c"), **changes):
  """Settings of pairs in two folders of NIfTI."""
  for name in names:
    save_nifti(tmp_path / f"clean/{name}.nii.gz", clean(name))
    save_nifti(tmp_path / f"noisy/{name}.nii", noisy(name))
  inputs = InputsConfig(root=str(tmp_path / "noisy"))
  settings = {"source": "nifti", "root": str(tmp_path / "clean"), "inputs": inputs}
  return config(**settings | {"validation": ("c",)} | changes)


def slices_first(array):
  return np.moveaxis(array, 2, 0)


def test_files_of_one_name_are_pairs_scaled_by_the_input(tmp_path):
  data = load(two_folders(tmp_path), all_sampled)
  (part,), (volume, _) = data.train.parts, data.train.volumes
  assert volume.record["input_file"].endswith("noisy/a.nii")
  for stored, got in ((clean, part.target), (noisy, part.input)):
    scaled = [slices_first(stored(n) / noisy(n).max()) for n in "ab"]
    np.testing.assert_allclose(got[..., 0], np.concatenate(scaled), rtol=1e-6)
  assert np.shares_memory(volume.input, part.input)
  assert data.record["given_inputs"] and data.record["stored_kspace_used"] is False
  batch = complete(jax.tree.map(lambda x: x[:2], part), all_sampled((6, 5)))
  np.testing.assert_allclose(batch.zero_filled, part.input[:2], atol=1e-6)
  np.testing.assert_array_equal(batch.target, part.target[:2])


def test_mask_and_noise_measure_the_input(tmp_path):
  (part,) = load(two_folders(tmp_path), all_sampled).train.parts
  mask = np.zeros((1, 6, 5), np.uint8)
  mask[:, ::2] = 1
  measured = jax.jit(complete)
  batch = measured(part, Acquisition(mask))
  kspace = mask * np.fft.fft2(part.input[..., 0].astype(float), norm="ortho")
  np.testing.assert_allclose(batch.measurement.kspace, kspace, atol=1e-5)
  image = np.abs(np.fft.ifft2(kspace, norm="ortho"))
  np.testing.assert_allclose(batch.zero_filled[..., 0], image, atol=1e-5)
  seeds = np.arange(len(part.target), dtype=np.uint32)
  of_noise = measured(
    part._replace(draws=seeds), Acquisition(mask, np.float32([[5, 5]]))
  )
  of_input = measured(
    part._replace(target=part.input, input=None, draws=seeds),
    Acquisition(mask, np.float32([[5, 5]])),
  )
  np.testing.assert_array_equal(of_noise.zero_filled, of_input.zero_filled)


def test_complex_pairs_give_two_channels(tmp_path):
  settings = two_folders(tmp_path, source="prepared")
  for kind, of in (("clean", clean), ("noisy", noisy)):
    for name in "abc":
      image = slices_first(of(name)) * np.exp(1j * slices_first(clean("p")))
      save_h5(tmp_path / kind / f"{name}.h5", target=image.astype(np.complex64))
  (part,) = load(settings, all_sampled).train.parts
  assert part.target.shape[-1] == part.input.shape[-1] == 2
  magnitude = np.linalg.norm(part.input, axis=-1)[:4]
  np.testing.assert_allclose(
    magnitude, slices_first(noisy("a")) / noisy("a").max(), rtol=1e-5
  )


def test_volumes_that_were_scaled_apart_are_no_pairs(tmp_path):
  settings = two_folders(tmp_path)
  for part, root in (("clean", settings.root), ("noisy", settings.inputs.root)):
    alone = dataclasses.replace(settings, root=root, inputs=InputsConfig())
    write_folder(read(alone), tmp_path / f"{part}_prepared", {})
  inputs = InputsConfig(root=str(tmp_path / "noisy_prepared"))
  root = str(tmp_path / "clean_prepared")
  words = r"a\.h5: found a prepared volume that was divided by .* --inputs_root"
  with pytest.raises(UserError, match=words):
    load(config(source="prepared", root=root, inputs=inputs), all_sampled)


def test_prepared_pairs_are_those_of_the_folders_also_from_their_files(tmp_path):
  settings = two_folders(tmp_path)
  names = write_folder(read(settings), tmp_path / "prepared", {})
  assert names == ["a", "b", "c"]
  there = config(source="prepared", root=str(tmp_path / "prepared"), validation=("c",))
  (wanted,) = load(settings, all_sampled).train.parts
  (found,) = load(there, all_sampled).train.parts
  stay = load(dataclasses.replace(there, memory_mb=0), all_sampled)
  for slices in (found, stay.train.parts[0]):
    np.testing.assert_array_equal(slices.input[:], wanted.input)
    np.testing.assert_array_equal(slices.target[:], wanted.target)
  assert stay.record["given_inputs"]


def test_another_input_is_other_data(tmp_path):
  settings = two_folders(tmp_path)
  before = load(settings, all_sampled).fingerprint()
  save_nifti(tmp_path / "noisy/a.nii", noisy("q"))
  after = load(settings, all_sampled).fingerprint()
  assert before["train_digest"] != after["train_digest"]
  assert before["validation_digest"] == after["validation_digest"]


def test_partners_may_have_one_subject_instead_of_one_name(tmp_path):
  settings = two_folders(tmp_path, ("s1", "s2", "s3"), validation=("3",))
  for name in ("s1", "s2", "s3"):
    shutil.move(tmp_path / f"noisy/{name}.nii", tmp_path / f"noisy/fast_{name}.nii")
  with pytest.raises(UserError, match=r"s1.nii.gz: found no input of the name 's1'"):
    load(settings, all_sampled)
  inputs = dataclasses.replace(settings.inputs, match="subject")
  settings = dataclasses.replace(settings, inputs=inputs, subject_pattern=r"s(\d)")
  data = load(settings, all_sampled)
  (part,) = data.validation.parts
  scaled = slices_first(noisy("s3") / noisy("s3").max())
  np.testing.assert_allclose(part.input[..., 0], scaled, rtol=1e-6)
  save_nifti(tmp_path / "noisy/slow_s2.nii", noisy("s2"))
  with pytest.raises(UserError, match=r"slow_s2.nii: found a second volume of the sub"):
    load(settings, all_sampled)


def test_only_some_subjects_may_be_used(tmp_path):
  settings = two_folders(tmp_path, ("a", "b", "c", "d"), include=("a", "c"))
  data = load(settings, all_sampled)
  assert [v.name for v in data.train.volumes] == ["a"]


def test_a_file_without_its_partner_is_refused(tmp_path):
  settings = two_folders(tmp_path)
  save_nifti(tmp_path / "noisy/d.nii", noisy("d"))
  with pytest.raises(UserError, match=r"noisy/d.nii: found no target of the name 'd'"):
    load(settings, all_sampled)
  (tmp_path / "noisy/d.nii").unlink()
  (tmp_path / "noisy/b.nii").unlink()
  with pytest.raises(UserError, match=r"clean/b.nii.gz: found no input of the name"):
    load(settings, all_sampled)


@pytest.mark.parametrize(
  ("given", "message"),
  [
    (noisy("b", (6, 5, 3)), r"noisy/b.nii: found slices of shape \(3, 6, 5\)"),
    (np.where(noisy("b") > 6, np.nan, 1), r"noisy/b.nii: found \d+ NaN or infinite"),
    (noisy("b") - 5, r"noisy/b.nii: found negative intensities"),
    (np.ones(SHAPE), r"noisy/b.nii: found the same value 1.0 everywhere"),
    (noisy("b") * 1j, r"noisy/b.nii: found a complex input .* a real one in the shape"),
  ],
)
def test_an_unusable_input_is_refused_by_its_file(tmp_path, given, message):
  settings = two_folders(tmp_path)
  save_nifti(tmp_path / "noisy/b.nii", given)
  with pytest.raises(UserError, match=message):
    load(settings, all_sampled)


def test_partners_of_other_directions_are_refused(tmp_path):
  settings = two_folders(tmp_path)
  save_nifti(tmp_path / "noisy/b.nii", noisy("b"), np.diag([-1, 1, 1, 1]))
  with pytest.raises(UserError, match=r"b.nii: found axes that increase towards L, A"):
    load(settings, all_sampled)


@pytest.mark.parametrize("change", ["moved", "tilted"])
@pytest.mark.parametrize("voxels", [0.4, 0.6])
def test_partners_in_other_places_are_refused(tmp_path, change, voxels):
  """The farthest voxel, of 5x6x3 steps of 1 mm along rows, columns and slices."""
  settings = two_folders(tmp_path)
  affine = np.eye(4)
  if change == "moved":
    affine[1, 3] = voxels
  else:  # about the slices' axis, through the first voxel
    rows, columns, _ = (n - 1 for n in clean("b").shape)
    turn = voxels / np.hypot(rows, columns)
    affine[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
  save_nifti(tmp_path / "noisy/b.nii", noisy("b"), affine)
  if voxels < 0.5:
    load(settings, all_sampled)
    return
  found = r"noisy/b.nii: found voxels that lie up to 0.6 mm from those of its target"
  with pytest.raises(UserError, match=rf"{found}.*position and tilt of .*clean/b.nii"):
    load(settings, all_sampled)


@pytest.mark.parametrize("prepared", [False, True])
def test_partners_of_other_voxel_sizes_are_refused(tmp_path, prepared):
  size = np.diag([0.94, 0.94, 5, 1])
  for kind, of in (("clean", clean), ("noisy", noisy)):
    for name in "abc":
      rounded = size * (1.001 if kind == "noisy" else 1)
      save_nifti(tmp_path / kind / f"{name}.nii", of(name), rounded)
  settings = two_folders(tmp_path, ())
  load(settings, all_sampled)
  save_nifti(tmp_path / "noisy/b.nii", noisy("b"), np.diag([0.94, 0.94, 2.5, 1]))
  wrong = r"noisy/b.nii: found voxels of 0.94x0.94x2.5 mm .*0.94x0.94x5 mm.*clean/b.nii"
  if prepared:
    for kind, thick, of in (("clean", 5, clean), ("noisy", 2.5, noisy)):
      file = tmp_path / kind / "b.h5"
      save_h5(file, target=slices_first(of("b")))
      with h5py.File(file, "a") as opened:
        opened.attrs["record"] = json.dumps({"zooms": [0.94, 0.94, thick]})
    settings = dataclasses.replace(settings, source="prepared")
    wrong = wrong.replace(".nii", ".h5")
  with pytest.raises(UserError, match=wrong):
    load(settings, all_sampled)


def test_a_header_without_a_voxel_size_refuses_no_partner(tmp_path):
  settings = two_folders(tmp_path)
  for name in "abc":
    save_nifti(tmp_path / f"clean/{name}.nii.gz", clean(name), np.diag([2, 2, 5, 1]))
    unknown = nibabel.Nifti1Image(noisy(name), None)
    nibabel.save(unknown, tmp_path / f"noisy/{name}.nii")
  data = load(settings, all_sampled)
  assert data.train.volumes[0].record["zooms"] == [2, 2, 5]


def test_inputs_in_some_files_alone_are_refused(tmp_path):
  for name in "abc":
    image = slices_first(clean(name))
    save_h5(tmp_path / f"{name}.h5", target=image, input=slices_first(noisy(name)))
  settings = config(source="prepared", root=str(tmp_path), validation=("c",))
  assert load(settings, all_sampled).train.parts[0].input is not None
  save_h5(tmp_path / "b.h5", target=slices_first(clean("b")))
  with pytest.raises(UserError, match=r"b.h5: found no given input"):
    load(settings, all_sampled)
  shape = (4, 6, 5)
  kspace = np.ones(shape, np.complex64)
  more = {"kspace": kspace, "zero_filled": np.abs(np.fft.ifft2(kspace, norm="ortho"))}
  save_h5(tmp_path / "b.h5", target=images(1, shape), input=images(2, shape), **more)
  with pytest.raises(UserError, match=r"b.h5: found an input beside measured k-space"):
    load(settings, all_sampled)


def test_the_test_source_may_have_pairs_of_its_own(tmp_path):
  there = two_folders(tmp_path)
  own = OtherSourceConfig(source="nifti", root=there.root, inputs=there.inputs)
  data = load(config(test_source=own), all_sampled)
  assert data.train.parts[0].input is None
  assert data.test.parts[0].input is not None
  assert data.record["test_source"]["given_inputs"]


def test_settings_without_effect_are_refused(tmp_path):
  with pytest.raises(ArgumentError, match=r"match: found 'subject', although"):
    InputsConfig(match="subject")
  made = tiny_config()
  made.data.inputs.match = "subject"
  with pytest.raises(UserError, match=r"config.data.inputs.match: found 'subject'"):
    config_lib.parse(made)
  settings = two_folders(tmp_path)
  lost = InputsConfig(root=str(tmp_path / "nowhere"))
  with pytest.raises(UserError, match=r"nowhere: found no such folder"):
    load(dataclasses.replace(settings, inputs=lost), all_sampled)
  lost = InputsConfig(root=settings.inputs.root, contrast="T1")
  with pytest.raises(ArgumentError, match=r"^inputs.contrast: found 'T1'"):
    load(dataclasses.replace(settings, inputs=lost), all_sampled)


def test_the_settings_of_the_inputs_are_those_of_the_targets_but_for_their_own():
  whole = DataConfig(
    source="ixi", root="A", contrast="T2", inputs=InputsConfig(contrast="PD")
  )
  own = whole.of_inputs
  assert (own.source, own.root, own.contrast) == ("ixi", "A", "PD")
  assert not own.inputs.given


def test_an_archive_may_hold_both_with_the_subjects(tmp_path):
  shape = (4, 6, 5)
  arrays = {"image": images(1, shape), "input": images(2, shape)}
  np.savez(tmp_path / "all.npz", **arrays, subject=[1, 2, 1, 3])
  settings = config(source="npz", root=str(tmp_path), validation=("1",))
  (part,) = load(settings, all_sampled).validation.parts
  largest = arrays["input"][[0, 2]].max()
  for key, got in (("image", part.target), ("input", part.input)):
    expected = arrays[key][[0, 2]] / largest
    np.testing.assert_allclose(got[..., 0], expected, rtol=1e-6)
  np.savez(tmp_path / "all.npz", **arrays | {"input": images(2, (4, 6, 6))})
  with pytest.raises(UserError, match=r"all.npz: found an array 'input' of shape"):
    load(settings, all_sampled)

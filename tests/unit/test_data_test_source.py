"""Test subjects from a source of their own."""

import dataclasses
import json

import h5py
import numpy as np
import pytest
from helpers.data_files import all_sampled, config, images, save_h5
from helpers.tiny import tiny_config

from kdmri_jax import config as config_lib
from kdmri_jax.config import PhantomConfig
from kdmri_jax.config.data import OtherSourceConfig
from kdmri_jax.data import load
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.report.write_reports import comparable_numbers

HEARTS = OtherSourceConfig(
  source="phantom", phantom=PhantomConfig("cardiac", 3, 2, (28, 36), seed=1)
)


def other(root, **settings):
  return OtherSourceConfig(source="prepared", root=str(root), **settings)


def folder(path, *names):
  """Prepared volumes, each of its own images."""
  for name in names:
    save_h5(path / f"{name}.h5", target=images(sum(map(ord, path.name + name))))
  return str(path)


def two_folders(tmp_path, ours=("a", "b", "c"), theirs=("x", "y"), **settings):
  """Settings with both sources, and `settings` of the test source."""
  there = other(folder(tmp_path / "theirs", *theirs), **settings)
  root = folder(tmp_path / "ours", *ours)
  return config(source="prepared", root=root, validation=("c",), test_source=there)


def of_split(data, name):
  return [volume.subject for volume in getattr(data, name).volumes]


def test_every_subject_of_the_test_source_is_tested_and_no_other():
  data = load(config(test_source=HEARTS), all_sampled)
  assert of_split(data, "test") == ["cardiac_000", "cardiac_001", "cardiac_002"]
  assert [v.target.shape for v in data.test.volumes] == [(2, 28, 36)] * 3
  assert list(data.acquisitions) == [(32, 28), (28, 36)]
  record = json.loads(json.dumps(data.record))
  assert record["held_out_test"] and record["source"] == "phantom"
  assert record["shapes"]["28x36"] == {"test": 6}
  assert record["split_rule"].endswith("is 3 of 3 subjects of phantom (cardiac).")
  there = record["test_source"]
  assert there["trained_on"] == "phantom (mixed)"
  assert there["tested_on"] == "phantom (cardiac)"


@pytest.mark.parametrize("there", [OtherSourceConfig(), HEARTS])
def test_a_study_keeps_the_test_subjects_back(there):
  """And compares on those of the validation."""
  own = dict(test=("brain_*",)) if not there.source else {}
  whole, study = (
    load(config(test_source=there, use_test=use, **own), all_sampled)
    for use in (True, False)
  )
  assert study.test is study.validation and not study.record["held_out_test"]
  assert "test_source" not in study.record
  for name in ("train", "validation"):
    assert of_split(study, name) == of_split(whole, name)
  kept_back = study.record["unused_subjects"]
  assert kept_back == sorted(set(of_split(whole, "test")))


def test_the_training_is_that_without_a_test_source():
  alone, both = (
    load(config(), all_sampled),
    load(config(test_source=HEARTS), all_sampled),
  )
  for name in ("train", "validation"):
    for a, b in zip(getattr(alone, name).parts, getattr(both, name).parts, strict=True):
      np.testing.assert_array_equal(a.target, b.target)
  before, after = alone.fingerprint(), both.fingerprint()
  same = ("mask_digest", "train_digest", "validation_digest", "training_slices")
  assert all(before[key] == after[key] for key in same)
  assert before["test_digest"] != after["test_digest"]
  assert "test_mask_digest" in after and "test_mask_digest" not in before


def test_globs_select_test_subjects_and_leave_the_split_of_the_others():
  alone = load(config(), all_sampled)
  data = load(config(test_source=HEARTS, test=("*_00[02]",)), all_sampled)
  assert of_split(data, "test") == ["cardiac_000", "cardiac_002"]
  assert of_split(data, "train") == of_split(alone, "train")
  assert data.record["unused_subjects"] == ["cardiac_001"]
  with pytest.raises(UserError, match=r"'brain\*', which matches no subject.*cardiac"):
    load(config(test_source=HEARTS, test=("brain*",)), all_sampled)


def test_subjects_that_the_folders_hold_out_do_not_train(tmp_path):
  settings = two_folders(tmp_path)
  save_h5(tmp_path / "ours/held.h5", target=images(5))
  with h5py.File(tmp_path / "ours/held.h5", "a") as file:
    file.attrs["split"] = "test"
  settings = dataclasses.replace(settings, validation=())
  data = load(settings, all_sampled)
  assert "held" not in of_split(data, "train") + of_split(data, "validation")
  assert of_split(data, "test") == ["x", "y"]
  assert data.record["unused_subjects"] == ["held"]


def test_refuses_an_image_that_trains_and_tests(tmp_path):
  settings = two_folders(tmp_path)
  image = images(7)
  save_h5(tmp_path / "ours/d.h5", target=image)
  save_h5(tmp_path / "theirs/z.h5", target=4 * image)  # scaled to the same
  with pytest.raises(UserError, match=r"z.h5: found an image that is in .*d.h5"):
    load(settings, all_sampled)


def test_refuses_subjects_of_one_folder_or_one_seed(tmp_path):
  settings = two_folders(tmp_path)
  there = other(tmp_path / "ours/../ours", slices_per_volume=2)
  settings = dataclasses.replace(settings, test_source=there)
  with pytest.raises(UserError, match=r"a.h5: found subject 'a' .* train holds too"):
    load(settings, all_sampled)
  apart = dataclasses.replace(settings, train=("b",), test=("a",))
  assert of_split(load(apart, all_sampled), "test") == ["a"]
  same = OtherSourceConfig(source="phantom", phantom=PhantomConfig("mixed", 2))
  with pytest.raises(ArgumentError, match=r"^test_source.phantom.seed: found 0, with"):
    load(config(test_source=same), all_sampled)


def test_names_in_two_folders_are_told(tmp_path):
  data = load(two_folders(tmp_path, theirs=("a", "x")), all_sampled)
  (note,) = [text for text in data.record["notes"] if "the same people" in text]
  assert note.startswith("1 test subject of prepared (theirs) has the name of")


def test_the_channels_are_those_of_the_training(tmp_path):
  settings = two_folders(tmp_path)
  save_h5(tmp_path / "theirs/z.h5", target=images(8) + 1j)
  with pytest.raises(UserError, match=r"z.h5: found complex images in the test source"):
    load(settings, all_sampled)
  (tmp_path / "theirs/z.h5").unlink()
  save_h5(tmp_path / "ours/d.h5", target=images(8) + 1j)
  data = load(settings, all_sampled)
  assert data.test.parts[0].target.shape[-1] == 2
  assert not data.test.parts[0].target[..., 1].any()


@pytest.mark.parametrize("measured", ["ours", "theirs"])
def test_each_source_uses_its_own_kspace(tmp_path, measured):
  settings = two_folders(tmp_path)
  for path in (tmp_path / measured).iterdir():
    target = images(sum(map(ord, str(path)))).astype(np.float32)
    kspace = np.fft.fft2(target + 0j, norm="ortho").astype(np.complex64)
    save_h5(path, target=target, kspace=kspace, zero_filled=target)
  data = load(settings, all_sampled)
  assert (data.train.parts[0].kspace is not None) == (measured == "ours")
  assert (data.test.parts[0].kspace is not None) == (measured == "theirs")
  assert data.record["stored_kspace_used"] == (measured == "ours")
  assert data.record["test_source"]["stored_kspace_used"] == (measured == "theirs")


def test_errors_name_the_key(tmp_path):
  with pytest.raises(UserError, match=r"^test_source.root: found no folder"):
    load(config(test_source=other("")), all_sampled)
  settings = two_folders(tmp_path, include=("q",))
  with pytest.raises(UserError, match=r"^test_source.include: found .*, such as x, y"):
    load(settings, all_sampled)
  wrong = tiny_config()
  wrong.data.test_source.root = "there"
  with pytest.raises(UserError, match=r"^config.data.test_source.source: found none"):
    config_lib.parse(wrong)


def test_both_sources_share_the_memory():
  size = dict(subjects=8, slices=8, size=(64, 64))  # 1 MiB each
  own = dataclasses.replace(HEARTS, phantom=PhantomConfig("cardiac", seed=1, **size))
  settings = config(phantom=PhantomConfig("brain", **size), memory_mb=1)
  load(settings, all_sampled)
  with pytest.raises(UserError, match=r"cardiac_000: found images that together need"):
    load(dataclasses.replace(settings, test_source=own), all_sampled)


def test_published_numbers_hold_for_their_test_subjects():
  made = tiny_config()
  made.evaluation.published = {"student": (30.0, 0.9)}
  made.evaluation.published_source = "a table"
  assert comparable_numbers(config_lib.parse(made))[0].published
  made.data.test_source.update(source="acdc", root="ACDC", contrast="ED")
  roles, notes = comparable_numbers(config_lib.parse(made))
  assert not roles.published and "test subjects are those of acdc (ED)" in notes[0]

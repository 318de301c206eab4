"""NumPy archives."""

import numpy as np
import pytest
from helpers.data_files import all_sampled, config, images, read, refused_when_truncated

from kdmri_jax.data import dataset, load, split
from kdmri_jax.data.sources import prepared
from kdmri_jax.errors import UserError
from kdmri_jax.experiments import brain_pd


def save(path, **arrays):
  path.parent.mkdir(parents=True, exist_ok=True)
  np.savez(path, **arrays)


def test_each_subject_of_a_file_is_a_volume(tmp_path):
  stored = images(shape=(5, 6, 7))
  save(tmp_path / "sub" / "pd.npz", image=stored, subject=[2, 10, 2, 10, 2])
  second, tenth = read("npz", tmp_path)
  assert (second.name, second.subject) == ("sub_pd_02", "2")
  assert (tenth.name, tenth.subject) == ("sub_pd_10", "10")
  np.testing.assert_array_equal(second.target, stored[[0, 2, 4]])
  assert tenth.record["file_slices"] == [1, 3]
  assert tenth.record["unit"] == "subject" and tenth.record["simulated_kspace"]
  (only,) = read("npz", tmp_path, include=("*_10",))
  assert only.name == "sub_pd_10"


@pytest.mark.parametrize("numbers", [[2, 10], [2.0, 10.0], ["2", "10"]])
def test_a_subject_of_two_files_is_one_subject(tmp_path, numbers):
  save(tmp_path / "a.npz", image=images(1), subject=[1, 2, 2, 3])
  save(tmp_path / "b.npz", image=images(2, (2, 6, 5)), subject=numbers)
  subjects = [volume.subject for volume in read("npz", tmp_path)]
  assert subjects == ["1", "2", "3", "2", "10"]
  assert {type(subject) for subject in subjects} == {str}
  settings = config(source="npz", root=str(tmp_path), validation=("2",))
  data = load(settings, all_sampled)
  assert [v.name for v in data.validation.volumes] == ["a_2", "b_02"]
  prepared.write_folder(dataset.read(settings), tmp_path / "out", {})


def test_names_are_safe_and_differ(tmp_path):
  folder = tmp_path / "in"
  save(folder / "a.npz", image=images(shape=(2, 6, 5)), subject=["../../e", "a/b"])
  got = read("npz", folder)
  assert [(v.name, v.subject) for v in got] == [
    ("a_.._.._e", "../../e"),
    ("a_a_b", "a/b"),
  ]
  out = tmp_path / "out"
  prepared.write_folder(dataset.read(config(source="npz", root=str(folder))), out, {})
  assert len(list(tmp_path.rglob("*.h5"))) == len(list(out.glob("*.h5"))) == 2
  for pair in (["a/b", "a_b"], ["2", "02"]):
    save(folder / "a.npz", image=images(shape=(2, 6, 5)), subject=pair)
    with pytest.raises(
      UserError, match=rf"a.npz: found the subjects '{pair[0]}' and '{pair[1]}', whose"
    ):
      read("npz", folder)


def test_files_of_one_name_in_several_folders(tmp_path):
  for k in range(2):
    save(tmp_path / f"p{k}" / "pd 1.npz", image=images(k))
  found = [(v.name, v.subject) for v in read("npz", tmp_path)]
  assert found == [("p0_pd_1", "p0_pd 1"), ("p1_pd_1", "p1_pd 1")]


def test_the_experiment_divides_70_subjects_into_49_and_21(tmp_path):
  numbers = np.repeat(np.arange(1, 71), 2)
  save(tmp_path / "pd.npz", image=images(shape=(140, 2, 2)), subject=numbers)
  names = tuple(brain_pd.get_config().data.validation)
  found = split.divide(read("npz", tmp_path), config(validation=names))
  assert [v.subject for v in found.parts["train"]] == [str(k) for k in range(1, 50)]
  assert [v.subject for v in found.parts["validation"]] == [
    str(k) for k in range(50, 71)
  ]


def test_a_file_without_subjects_is_one_volume(tmp_path):
  save(tmp_path / "p3_a.npz", image=images())
  (volume,) = read("npz", tmp_path)
  assert (volume.name, volume.subject, volume.record["unit"]) == ("p3_a",) * 2 + (
    "file",
  )
  (named,) = read("npz", tmp_path, subject_pattern=r"p\d")
  assert (named.subject, named.record["unit"]) == ("p3", "subject")


@pytest.mark.parametrize(
  ("arrays", "message"),
  [
    ({"images": images()}, r"a.npz: found no array 'image' \(the arrays are: images"),
    ({"image": images()[0]}, r"'image' of shape \(6, 5\)"),
    ({"image": images(), "subject": [1, 2]}, r"'subject' of shape \(2,\) for 4"),
    ({"image": images(), "subject": ["1", "", "1", "2"]}, r"\(4,\) with empty texts"),
    ({"image": images()[:0], "subject": []}, r"'image' of shape \(0, 6, 5\)"),
    ({"image": np.array([None])}, r"a.npz: found a file that cannot be read"),
  ],
)
def test_other_arrays_are_refused(tmp_path, arrays, message):
  save(tmp_path / "a.npz", **arrays)
  with pytest.raises(UserError, match=message):
    read("npz", tmp_path)


def test_an_array_that_was_renamed_is_refused(tmp_path):
  with (tmp_path / "a.npz").open("wb") as file:
    np.save(file, images())
  with pytest.raises(UserError, match=r"a.npz: found .*one array.*and no archive"):
    read("npz", tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.4, 0.95])
def test_a_truncated_file_is_refused(tmp_path, share):
  save(tmp_path / "a.npz", image=images())
  refused_when_truncated("npz", tmp_path, tmp_path / "a.npz", share)


def test_no_file(tmp_path):
  (tmp_path / "a.npy").touch()
  with pytest.raises(UserError, match=r"no file \*\.npz in it or below"):
    read("npz", tmp_path)

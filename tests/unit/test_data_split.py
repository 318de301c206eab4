"""The division by subject."""

import dataclasses

import numpy as np
import pytest
from helpers.data_files import config

from kdmri_jax.data.split import (
  Split,
  divide,
  refuse_shared_slices,
  repeated_slices,
)
from kdmri_jax.data.volume import Volume, prepare
from kdmri_jax.errors import UserError


def volumes(*names, split=None, unit="subject"):
  """Two scans of each subject."""
  return [
    Volume(
      f"{name}_{k}",
      name,
      np.random.default_rng([ord(name[-1]), k]).random((2, 4, 4)).astype(np.float32),
      split=split,
      record={"file": f"{name}_{k}.h5", "unit": unit},
    )
    for name in names
    for k in range(2)
  ]


def with_digests(people):
  return [volume.with_digests() for volume in people]


PEOPLE = volumes(*(f"p{k}" for k in range(8)))


def subjects(part):
  return sorted({volume.subject for volume in part})


def test_every_subject_is_in_one_part_with_all_its_volumes():
  split = divide(PEOPLE, config(validation_fraction=0.25))
  assert len(subjects(split.parts["validation"])) == 2
  together = subjects(split.parts["train"]) + subjects(split.parts["validation"])
  assert sorted(together) == subjects(PEOPLE)
  assert len(split.parts["train"]) + len(split.parts["validation"]) == len(PEOPLE)
  assert "test" not in split.parts
  assert split.rule == "2 of 8 subjects were drawn for validation."
  slabs = divide(volumes("a", "b", unit="slab of one head"), config())
  assert slabs.rule == "1 of 2 slabs of one head were drawn for validation."


def test_the_draw_depends_on_the_seed_alone():
  drawn = [
    subjects(divide(people, config(split_seed=seed)).parts["validation"])
    for people in (PEOPLE, PEOPLE[::-1])
    for seed in range(6)
  ]
  assert drawn[:6] == drawn[6:]
  assert len({tuple(part) for part in drawn}) > 1
  assert drawn[0] == ["p2", "p4"]  # a published split must stay what it is


@pytest.mark.parametrize(("fraction", "count"), [(0.01, 1), (0.5, 4), (0.99, 7)])
def test_the_draw_leaves_somebody_on_both_sides(fraction, count):
  split = divide(PEOPLE, config(validation_fraction=fraction))
  assert len(subjects(split.parts["validation"])) == count


def test_globs_decide_and_the_rest_trains():
  split = divide(PEOPLE, config(validation=("p[01]",), test=("p7",)))
  assert subjects(split.parts["validation"]) == ["p0", "p1"]
  assert subjects(split.parts["test"]) == ["p7"]
  assert subjects(split.parts["train"]) == ["p2", "p3", "p4", "p5", "p6"]


def test_test_subjects_may_be_kept_back():
  settings = dict(validation=("p[01]",), test=("p7",))
  found = divide(PEOPLE, config(**settings))
  split = found.without_test()
  assert list(split.parts) == ["train", "validation"] and split.unused == ("p7",)
  assert all(split.parts[name] == found.parts[name] for name in split.parts)
  assert split.rule.endswith("Test subjects (1) are kept back.")


def test_a_training_list_leaves_the_others_unused():
  split = divide(PEOPLE, config(train=("p0", "p1"), validation=("p2",)))
  assert subjects(split.parts["train"]) == ["p0", "p1"]
  assert split.unused == ("p3", "p4", "p5", "p6", "p7")


def test_validation_is_drawn_from_those_that_neither_train_nor_test():
  split = divide(PEOPLE, config(train=("p[0-4]",), test=("p5",)))
  assert set(subjects(split.parts["validation"])) <= {"p6", "p7"}
  assert len(subjects(split.parts["validation"])) == 2
  assert split.rule.startswith("The settings name the subjects. 2 of 8")


def test_the_layout_decides_without_globs():
  people = volumes("a", split="train") + volumes("b", split="validation")
  people += volumes("c", split="test")
  split = divide(people, config())
  assert [subjects(part) for part in split.parts.values()] == [["a"], ["b"], ["c"]]


def test_globs_override_the_layout_and_say_so():
  people = volumes("a", split="train") + volumes("b", split="validation")
  split = divide(people, config(validation=("a",)))
  assert subjects(split.parts["validation"]) == ["a"]
  assert "split of the folders is not used" in split.rule


def test_a_layout_without_validation_draws_from_its_training_set():
  people = volumes("a", "b", "d", split="train") + volumes("c", split="test")
  split = divide(people, config())
  assert subjects(split.parts["test"]) == ["c"]
  assert len(subjects(split.parts["validation"])) == 1
  assert len(subjects(split.parts["train"])) == 2


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"validation": ("p1",), "test": ("p*",)}, "subject 'p1'.*validation holds"),
    ({"train": ("p1",), "validation": ("p[12]",)}, "validation: .*train"),
    ({"validation": ("x*",)}, r"'x\*', which matches no subject.*p0, p1"),
    ({"validation": ("p*",)}, "no subject left for training"),
    ({"train": ("p*",)}, "no subject left for validation"),
    ({"split_seed": -1}, r"split_seed: found -1"),
    ({"validation_fraction": 0.0}, "validation_fraction: found 0.0"),
  ],
)
def test_refuses(settings, message):
  with pytest.raises(UserError, match=message):
    divide(PEOPLE, config(**settings))


def test_refuses_a_single_subject():
  with pytest.raises(UserError, match=r"no subject left for validation \(1 in all: p0"):
    divide(PEOPLE[:2], config())


def test_refuses_a_subject_that_the_folders_put_into_both_splits():
  people = volumes("a", "b", split="train") + volumes("b", split="validation")
  with pytest.raises(UserError, match=r"b_0.h5: found subject 'b' .*both splits"):
    divide(people, config())


def test_refuses_two_volumes_of_one_name_in_one_split():
  people = [dataclasses.replace(v, name="x") for v in PEOPLE]
  with pytest.raises(UserError, match=r"the volume name 'x', which p\d_0.h5 has too"):
    divide(people, config())


def test_finds_the_same_image_under_two_names():
  people = volumes("a", split="train") + volumes("b", split="validation")
  refuse_shared_slices(divide(with_digests(people), config()))
  people[3].target[1] = people[0].target[0]
  with pytest.raises(UserError, match=r"b_1.h5.*a_0.h5 of the train set") as caught:
    refuse_shared_slices(divide(with_digests(people), config()))
  assert "subjects in both splits" in str(caught.value)


def test_equal_images_within_a_part_are_told():
  people = volumes("a", "b", "c", split="train") + volumes("d", split="validation")
  assert repeated_slices(divide(with_digests(people), config())) == []
  people[2].target[:] = people[0].target
  people[3].target[0] = people[3].target[1]
  (sentence,) = repeated_slices(divide(with_digests(people), config()))
  assert sentence.startswith("Equal images in the training set, which count more than")
  assert "2 slices of b_0 also in a_0, 1 slice of b_1 repeated in it." in sentence
  people[7].target[0] = people[6].target[1]
  assert "validation set" in repeated_slices(divide(with_digests(people), config()))[1]


def test_constant_slices_are_no_repetition():
  people = volumes("a", split="train") + volumes("b", split="validation")
  people[0].target[0] = people[1].target[1] = 0
  people[2].target[1] = people[3].target[0] = 0.25
  assert repeated_slices(divide(with_digests(people), config())) == []


def test_a_slice_is_known_in_a_volume_of_another_scale():
  """One slice in two volumes of other maxima; and a whole volume times 4."""
  a, b, c, d = volumes("a", "b")
  c.target[1] = a.target[0]
  c.target[0, 0, 0] = 9
  d.target[:] = 4 * b.target
  ready = tuple(prepare(volume, config()).with_digests() for volume in (a, b, c, d))
  (sentence,) = repeated_slices(Split({"train": ready}, (), ""))
  assert "1 slice of b_0 also in a_0, 2 slices of b_1 also in a_1." in sentence
  for other in (2, 3):
    parts = {"train": ready[:2], "validation": (ready[other],)}
    with pytest.raises(UserError, match=r"b_.*: found an image that is in a_.*"):
      refuse_shared_slices(Split(parts, (), ""))


def test_empty_slices_may_be_in_both_splits():
  people = volumes("a", split="train") + volumes("b", split="validation")
  people[0].target[0] = people[3].target[1] = 0
  refuse_shared_slices(divide(with_digests(people), config()))

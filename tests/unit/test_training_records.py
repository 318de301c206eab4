"""Differences between two records, in words."""

import pytest

from kdmri_jax.config import parse
from kdmri_jax.errors import UserError
from kdmri_jax.experiments import base
from kdmri_jax.training.records import in_words
from kdmri_jax.training.workdir import WorkDir

OLD = {"data": {"train": ["a"], "pairs": [[1, 2], [3]]}, "lam": None, "empty": {}}


@pytest.mark.parametrize(
  ("new", "words"),
  [
    (OLD, ""),
    ({**OLD, "lam": 1.0}, "lam: None there, 1.0 here"),
    ({k: v for k, v in OLD.items() if k != "empty"}, ""),
    ({**OLD, "data": {"train": ("a",), "pairs": ((1, 2), (3,))}}, ""),
    (
      {**OLD, "data": {"train": ("a", "b"), "pairs": [[1, 2], [4]]}},
      "data.pairs.1: [3] there, [4] here; data.train: ['a'] there, ['a', 'b'] here",
    ),
  ],
)
def test_flat_lists_are_told_whole(new, words):
  assert in_words(OLD, new) == words


def test_free_keys_may_differ():
  assert in_words({"a": 1, "b": 2}, {"a": 3, "b": 4}, "a".__eq__) == (
    "b: 2 there, 4 here"
  )


def test_a_run_continues_where_another_sentence_on_its_data_is_new(tmp_path):
  workdir, settings = WorkDir(tmp_path, 42), parse(base.get_config())
  workdir.claim(settings, {"notes": [], "train_digest": "1"}, write=True)
  workdir.claim(settings, {"notes": ["New."], "train_digest": "1"}, write=False)
  with pytest.raises(UserError, match="train_digest: '1' there, '2' here"):
    workdir.claim(settings, {"notes": [], "train_digest": "2"}, write=False)


def test_of_many_differences_the_first_are_shown():
  words = in_words({str(k): 0 for k in range(20)}, {str(k): 1 for k in range(20)})
  assert words.endswith("; and 12 more") and words.count("there") == 8

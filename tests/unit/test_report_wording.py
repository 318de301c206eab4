"""Sentences claim what the statistics found, and no more."""

import re

import numpy as np
import pytest
from helpers.measured import crossed, make_records, normal, seeded, sentence

from kdmri_jax.metrics import METRICS
from kdmri_jax.report import paired, wording


def claim(kd, student, metric="psnr", teacher=None):
  values = {"kd": kd, "student": student}
  if teacher is not None:
    values["teacher"] = teacher
  records = make_records(values, metric=metric)
  above = None if teacher is None else "teacher"
  way = {"higher_is_better": METRICS[metric].higher_is_better}
  pair = paired.paired(records, "kd", "student", metric, **way, teacher=above)
  return sentence(pair)


def test_sentence_better():
  base = normal(30, 2, 12, 0)
  text = claim(base + normal(0.12, 0.05, 12, 1), base, teacher=base + 0.4)
  assert text.startswith("kd beats student by 0.1")
  assert "dB PSNR [0." in text and "over 12 subjects (Wilcoxon p < 0.001)" in text
  assert text.endswith("% of the gap to the teacher.") and "it closes" in text


def test_sentence_worse_has_positive_numbers():
  base = normal(30, 2, 12, 0)
  text = claim(base - 0.2 - normal(0, 0.05, 12, 1), base, teacher=base + 1)
  assert text.startswith("kd falls behind student by 0.2") and "closes none" in text
  assert wording.MINUS not in text
  low, high = map(float, re.search(r"\[(.*?), (.*?)\]", text).groups())
  assert 0 < low < high


def test_sentence_lower_is_better():
  base = normal(0.02, 0.001, 12, 0)
  text = claim(base - normal(0.002, 0.0002, 12, 1), base, metric="nmse")
  assert text.startswith("kd beats student by 0.00") and "NMSE" in text
  text = claim(base + normal(0.002, 0.0002, 12, 1), base, metric="nmse")
  assert text.startswith("kd falls behind student")


def test_sentence_undecided():
  base = normal(30, 2, 12, 0)
  text = claim(base + normal(0.0, 0.3, 12, 4), base)
  assert text.startswith("No difference between kd and student can be claimed")
  assert text.endswith("includes zero (12 subjects).") and "beats" not in text


def test_sentence_equal():
  base = normal(30, 2, 12, 0)
  assert "kd and student agree on average" in claim(base, base)


def test_sentence_too_few():
  text = claim(np.array([[31.0, 32.0]]), np.array([[30.0, 30.0]]))
  assert (
    text.startswith("No difference") and "2 slices of one subject are too few" in text
  )
  text = claim(np.array([31.0]), np.array([30.0]))
  assert "1 slice of one subject is too few" in text


def test_sentence_over_slices_speaks_of_these_slices_only():
  gain = normal(0.4, 0.1, (2, 20), 0)
  text = claim(30 + gain, 30 + 0 * gain)
  assert text.startswith("On these 40 slices of 2 subjects kd beats student by 0.")


def test_sentence_tells_when_the_rank_test_disagrees():
  gain = np.array([-0.1, -0.1, -0.1, -0.1, -0.1, 3.0, 3.0, 3.0, 3.0])
  text = claim(30 + gain, 30 + 0 * gain)
  assert text.startswith("kd beats student") and "does not confirm it" in text


def test_sentence_closes_more_than_the_gap():
  base = normal(30, 2, 12, 0)
  text = claim(base + normal(1.5, 0.05, 12, 1), base, teacher=base + 1)
  assert "closes the whole gap to the teacher (15" in text


def test_sentence_counts_the_seeds_that_agree():
  gain = np.array([0.3, 0.25, 0.2, 0.2, -0.01])[:, None]
  gain = gain + normal(0, 0.02, (1, 12), 0)
  assert re.search(
    r"^kd beats student by 0.19 dB PSNR \[0.\d+, 0.\d+\], 4 of 5 seeds, "
    r"over 12 subjects \(Wilcoxon p < 0.001 for these trainings\)\.$",
    sentence(crossed(gain)),
  )
  behind = sentence(crossed(-gain))
  assert "falls behind" in behind and "4 of 5 seeds" in behind
  undecided = sentence(crossed(gain - 0.17))
  assert "better on average, 4 of 5 seeds, but the 95% interval" in undecided
  assert undecided.endswith("includes zero (12 subjects).")


@pytest.mark.parametrize(
  ("subjects", "words"),
  [(9, "over 9 slabs of one head ("), (2, "On these 40 slices of 2 slabs of one head")],
)
def test_sentence_calls_the_unit_by_its_name(subjects, words):
  gain = normal(0.4, 0.1, (subjects, 20), 0)
  records = make_records({"kd": 30 + gain, "student": 30 + 0 * gain})
  group = {"group": "slab of one head"}
  pair = paired.paired(records, "kd", "student", "psnr", **group)
  assert words in sentence(pair) and "subject" not in sentence(pair)


def test_sentence_tells_when_the_gap_is_over_fewer_seeds():
  base = normal(30, 2, (3, 10), 0)
  values = {"kd": base + 0.5, "student": base, "teacher": base[:2] + 1}
  pair = paired.paired(seeded(values), "kd", "student", "psnr", teacher="teacher")
  assert (pair["n_seeds"], pair["gap_seeds"]) == (3, 2)
  text = sentence(pair)
  assert text.endswith(
    "50% of the gap to the teacher, over 2 seeds that the teacher also has."
  )


def test_small_numbers_are_not_shown_as_zero():
  base = normal(30, 2, 12, 0)
  text = claim(base + normal(0.004, 0.0005, 12, 1), base)
  assert "by 0.00 dB" not in text and "[0.00," not in text


def equivalent(gain, margin=0.1):
  """The sentence on a test of equivalence; `gain` [seeds, subjects]."""
  return wording.equivalence(crossed(gain, margin=margin), METRICS["psnr"])


def test_equivalence_says_what_the_interval_says():
  near, far = normal(0.01, 0.05, (1, 12), 0), normal(0.3, 0.05, (1, 12), 0)
  assert re.fullmatch(
    r"kd is equivalent to student within ±0\.1 dB PSNR: the 90% interval of the "
    r"difference, \[.0\.0\d, 0\.0\d\], lies within it \(12 subjects; TOST p "
    r"(<|=) 0\.\d+\)\.",
    equivalent(near),
  )
  text = equivalent(far)
  assert text.startswith("kd is not shown to be equivalent to student within ±0.1 dB")
  assert "does not lie within it" in text
  assert equivalent(near, margin=None) == ""
  several = equivalent(np.repeat(near, 3, axis=0) + normal(0, 0.01, (3, 12), 1))
  assert "(12 subjects, 3 seeds; TOST p" in several
  assert "cannot be tested on 1 slice of one subject" in equivalent(near[:, :1])


def test_an_interval_within_the_margin_is_not_shown_as_the_margin():
  gain = normal(0, 1, (1, 12), 0)
  gain = gain - gain.mean()
  half = crossed(gain, margin=1)["equivalence"]["ci90"][1]
  text = equivalent(gain * 0.0996 / half)
  assert "is equivalent" in text and f"[{wording.MINUS}0.0996, 0.0996]" in text


def test_equivalence_on_one_subject_is_of_its_slices():
  slices = make_records({"kd": normal(30, 0.01, (1, 40), 0), "student": [[30.0] * 40]})
  pair = paired.paired(slices, "kd", "student", "psnr", margin=0.1)
  text = wording.equivalence(pair, METRICS["psnr"])
  assert text.startswith("On these 40 slices of one subject kd is equivalent")


@pytest.mark.parametrize(
  ("seconds", "text"), [(4.21, "4.2 s"), (59.7, "1 min 00 s"), (7630, "2 h 07 min")]
)
def test_duration(seconds, text):
  assert wording.duration(seconds) == text


@pytest.mark.parametrize(
  ("value", "text"), [(9.2e-7, "9e-7"), (0, "0"), (2e-12, "2e-12"), (0.4, "4e-1")]
)
def test_exponent(value, text):
  assert wording.exponent(value) == text

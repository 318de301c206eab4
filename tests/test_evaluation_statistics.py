"""Paired statistics on constructed data, and sentences that follow them."""

import re

import numpy as np
import pytest
import scipy.stats

from kdmri_jax.errors import UserError
from kdmri_jax.evaluation import metrics, statistics, wording

OPTIONS = {"bootstrap": 2000, "seed": 0}


def make_records(values, *, slices=None, metric="psnr", volumes_each=1):
  """Records of models; `values`: model -> [subjects], or [subjects, slices]."""
  records = []
  for model, rows in values.items():
    for index, row in enumerate(rows):
      for volume in range(volumes_each):
        head = {
          "model": model,
          "subject": f"s{index:02d}",
          "volume": f"s{index:02d}_{volume}",
          "protocol": "kdmri",
          **dict.fromkeys(metrics.METRICS, 0.5),
        }
        mean = float(np.mean(row))
        records.append({**head, metric: mean, "empty_slices": 0})
        for number, value in enumerate(np.atleast_1d(row)):
          records.append({**head, metric: float(value), "slice": number})
  return records


def normal(mean, sd, shape, seed):
  return mean + sd * np.random.default_rng(seed).standard_normal(shape)


def test_summary_over_volumes_only():
  records = make_records({"kd": [30.0, 32.0, 37.0], "input": [20.0, 21.0, np.inf]})
  kd, zero_filled = statistics.summary(records, "kdmri")
  assert kd["model"] == "kd"
  assert kd["metrics"]["psnr"] == {
    "mean": 33.0,
    "sd": pytest.approx(np.sqrt((9 + 1 + 16) / 2)),
    "sd_over_seeds": None,
    "n": 3,
    "left_out": 0,
  }
  assert zero_filled["metrics"]["psnr"]["mean"] == 20.5
  assert zero_filled["metrics"]["psnr"]["left_out"] == 1
  assert statistics.summary(records, "slice") == []


def test_summary_of_one_volume_has_no_spread():
  (row,) = statistics.summary(make_records({"kd": [30.0]}), "kdmri")
  nothing = dict.fromkeys(("sd", "sd_over_seeds"))
  assert row["metrics"]["psnr"] == {"mean": 30.0, **nothing, "n": 1, "left_out": 0}


def test_subjects_are_the_unit_when_there_are_enough():
  base = normal(34, 2, 12, 0)
  gain = normal(0.3, 0.1, 12, 1)
  records = make_records({"kd": base + gain, "student": base}, volumes_each=2)
  pair = statistics.paired(records, "kd", "student", "psnr", **OPTIONS)
  assert (pair["unit"], pair["n"], pair["subjects"]) == ("subject", 12, 12)
  assert pair["mean_difference"] == pytest.approx(gain.mean())
  assert pair["wilcoxon_p"] == pytest.approx(scipy.stats.wilcoxon(gain).pvalue)
  assert pair["caution"] is None and pair["verdict"] == "better"
  np.testing.assert_allclose(pair["differences"], gain)
  low, high = pair["ci95"]
  spread = gain.std(ddof=1) / np.sqrt(12)
  np.testing.assert_allclose([low, high], gain.mean() + spread * np.array([-2, 2]), 0.1)


def test_interval_covers_the_truth_about_as_often_as_it_says():
  covered = 0
  for trial in range(200):
    gain = normal(0.2, 0.5, 20, trial)
    records = make_records({"kd": gain, "student": 0 * gain})
    pair = statistics.paired(
      records, "kd", "student", "psnr", bootstrap=400, seed=trial
    )
    covered += pair["ci95"][0] <= 0.2 <= pair["ci95"][1]
  assert 175 <= covered <= 198  # 95% of 200, a few less with 20 subjects


def test_same_seed_same_interval():
  records = make_records({"kd": normal(1, 1, 8, 0), "student": normal(0, 1, 8, 1)})
  first, again = (
    statistics.paired(records, "kd", "student", "psnr", **OPTIONS) for _ in range(2)
  )
  other = statistics.paired(records, "kd", "student", "psnr", bootstrap=2000, seed=1)
  assert first == again
  assert first["ci95"] != other["ci95"]


def test_turning_the_pair_turns_every_sign():
  records = make_records({"kd": normal(1, 1, 9, 0), "student": normal(0, 1, 9, 1)})
  there = statistics.paired(records, "kd", "student", "psnr", **OPTIONS)
  back = statistics.paired(records, "student", "kd", "psnr", **OPTIONS)
  assert back["mean_difference"] == pytest.approx(-there["mean_difference"])
  np.testing.assert_allclose(back["ci95"], -np.array(there["ci95"])[::-1])
  assert back["wilcoxon_p"] == there["wilcoxon_p"]


def test_equal_models_cannot_be_told_apart():
  base = normal(34, 2, 8, 0)
  pair = statistics.paired(
    make_records({"kd": base, "student": base}), "kd", "student", "psnr", **OPTIONS
  )
  assert pair["mean_difference"] == 0 and pair["ci95"] == [0, 0]
  assert pair["wilcoxon_p"] == 1.0 and pair["verdict"] == "undecided"


def test_few_subjects_are_resampled_before_their_slices():
  """Two subjects that disagree: the interval spans both of their means."""
  gain = np.stack([normal(1.0, 0.01, 10, 0), normal(-0.5, 0.01, 10, 1)])
  records = make_records({"kd": 30 + gain, "student": 30 + 0 * gain})
  pair = statistics.paired(records, "kd", "student", "psnr", **OPTIONS)
  assert (pair["unit"], pair["n"], pair["subjects"]) == ("slice", 20, 2)
  np.testing.assert_allclose(pair["ci95"], [-0.5, 1.0], atol=0.02)
  assert "not independent" in pair["caution"]


def test_slices_of_one_subject():
  gain = normal(0.4, 0.1, (1, 30), 0)
  records = make_records({"kd": 30 + gain, "student": 30 + 0 * gain})
  pair = statistics.paired(records, "kd", "student", "psnr", **OPTIONS)
  spread = gain.std(ddof=1) / np.sqrt(30)
  expected = gain.mean() + 1.96 * spread * np.array([-1, 1])
  np.testing.assert_allclose(pair["ci95"], expected, rtol=0.03)
  assert "only one subject" in pair["caution"]


def test_cluster_bootstrap_is_wider_than_independent_slices():
  gain = normal(0.3, 0.2, (5, 1), 0) + normal(0, 0.05, (5, 20), 1)
  many = make_records({"kd": gain, "student": 0 * gain})
  one = make_records({"kd": gain.reshape(1, -1), "student": np.zeros((1, gain.size))})
  widths = []
  for records in (many, one):
    pair = statistics.paired(records, "kd", "student", "psnr", **OPTIONS)
    widths.append(np.ptp(pair["ci95"]))
  assert widths[0] > 2 * widths[1]


@pytest.mark.parametrize("count", [6, 9])
def test_a_handful_of_subjects_carries_a_caution(count):
  base = normal(0, 1, count, 0)
  records = make_records({"kd": base + 0.2, "student": base})
  pair = statistics.paired(records, "kd", "student", "psnr", **OPTIONS)
  assert pair["unit"] == "subject" and "too narrow" in pair["caution"]


@pytest.mark.parametrize("metric", ["psnr", "nmse"])
def test_gap_closed(metric):
  sign = 1 if metric == "psnr" else -1
  base = normal(30, 2, 12, 0)
  records = make_records(
    {"student": base, "teacher": base + sign, "kd": base + 0.25 * sign}, metric=metric
  )
  roles = {"teacher": "teacher", "student": "student"}
  pair = statistics.paired(records, "kd", "student", metric, **OPTIONS, **roles)
  assert pair["gap_closed"] == pytest.approx(0.25)
  np.testing.assert_allclose(pair["gap_ci95"], [0.25, 0.25])
  assert pair["gap_note"] is None
  other = statistics.paired(records, "kd", "teacher", metric, **OPTIONS, **roles)
  assert other["gap_closed"] is None and other["gap_note"] is None


def test_gap_interval_holds_the_ratio_of_means():
  base = normal(30, 2, 15, 0)
  gains = {
    "student": 0,
    "teacher": normal(1, 0.2, 15, 1),
    "kd": normal(0.4, 0.2, 15, 2),
  }
  records = make_records({name: base + gain for name, gain in gains.items()})
  pair = statistics.paired(
    records, "kd", "student", "psnr", **OPTIONS, teacher="teacher", student="student"
  )
  ratio = gains["kd"].mean() / gains["teacher"].mean()
  assert pair["gap_closed"] == pytest.approx(ratio)
  low, high = pair["gap_ci95"]
  assert low < ratio < high and high - low < 0.5


def test_no_gap_where_the_teacher_is_not_better():
  base = normal(30, 2, 8, 0)
  records = make_records({"student": base, "teacher": base - 0.1, "kd": base + 0.2})
  pair = statistics.paired(
    records, "kd", "student", "psnr", **OPTIONS, teacher="teacher", student="student"
  )
  assert pair["gap_closed"] is None and pair["gap_ci95"] is None
  assert "not better" in pair["gap_note"]
  assert "no gap to close" in wording.sentence(pair)


def test_an_uncertain_gap_has_no_interval():
  base = normal(30, 2, 8, 0)
  teacher = base + 0.05 + normal(0, 1, 8, 1) - normal(0, 1, 8, 1).mean()
  records = make_records({"student": base, "teacher": teacher, "kd": base + 0.02})
  pair = statistics.paired(
    records, "kd", "student", "psnr", **OPTIONS, teacher="teacher", student="student"
  )
  assert pair["gap_closed"] == pytest.approx(0.4)
  assert pair["gap_ci95"] is None and "uncertain" in pair["gap_note"]


def test_units_without_a_finite_value_are_left_out():
  base = normal(30, 2, 8, 0)
  kd = base + 0.5
  kd[3] = np.inf
  records = make_records({"kd": kd, "student": base})
  pair = statistics.paired(records, "kd", "student", "psnr", **OPTIONS)
  assert pair["n"] == 7 and pair["left_out"] == 1
  assert pair["mean_difference"] == pytest.approx(0.5)


def test_models_measured_on_other_images_are_refused():
  records = make_records({"kd": normal(0, 1, 8, 0), "student": normal(0, 1, 7, 0)})
  with pytest.raises(UserError, match="same images"):
    statistics.paired(records, "kd", "student", "psnr", **OPTIONS)
  with pytest.raises(UserError, match="without records"):
    statistics.paired(records, "kd", "nobody", "psnr", **OPTIONS)


def claim(kd, student, metric="psnr", teacher=None):
  values = {"kd": kd, "student": student}
  roles = {}
  if teacher is not None:
    values["teacher"], roles = teacher, {"teacher": "teacher", "student": "student"}
  records = make_records(values, metric=metric)
  pair = statistics.paired(records, "kd", "student", metric, **OPTIONS, **roles)
  return wording.sentence(pair)


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
  assert "includes zero (12 subjects, Wilcoxon p = " in text and "beats" not in text


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


def test_small_numbers_are_not_shown_as_zero():
  base = normal(30, 2, 12, 0)
  text = claim(base + normal(0.004, 0.0005, 12, 1), base)
  assert "by 0.00 dB" not in text and "[0.00," not in text


@pytest.mark.parametrize(
  ("seconds", "text"), [(4.21, "4.2 s"), (59.7, "1 min 00 s"), (7630, "2 h 07 min")]
)
def test_duration(seconds, text):
  assert wording.duration(seconds) == text


def seeded(values, metric="psnr"):
  """Records of several seeds; `values`: model -> [seeds, subjects]."""
  records = []
  for model, rows in values.items():
    for seed, row in enumerate(rows):
      found = make_records({model: row}, metric=metric)
      records += [{**record, "seed": seed} for record in found]
  return records


def crossed(gain, **options):
  """The comparison of two models whose differences are `gain` [seeds, subjects]."""
  records = seeded({"kd": 30 + gain, "student": 30 + 0 * gain})
  return statistics.paired(records, "kd", "student", "psnr", **{**OPTIONS, **options})


def effects(seeds, subjects, sd, number):
  """Differences [seeds, subjects]: effects of seeds, of subjects, and of both."""
  rng = np.random.default_rng(number)
  shapes = (seeds, 1), (1, subjects), (seeds, subjects)
  return sum(
    s * rng.standard_normal(shape) for s, shape in zip(sd, shapes, strict=True)
  )


def test_summary_over_seeds():
  values = np.array([[30.0, 32.0, 37.0], [31.0, 34.0, 34.0]])
  (row,) = statistics.summary(seeded({"kd": values}), "kdmri")
  assert row["n_seeds"] == 2
  assert row["metrics"]["psnr"] == {
    "mean": pytest.approx(33.0),
    "sd": pytest.approx(np.std([30.5, 33.0, 35.5], ddof=1)),
    "sd_over_seeds": pytest.approx(0.0),
    "n": 3,
    "left_out": 0,
  }
  values[1, 2] = np.inf
  (row,) = statistics.summary(seeded({"kd": values}), "kdmri")
  found = row["metrics"]["psnr"]
  assert (found["mean"], found["n"], found["left_out"]) == (31.75, 2, 1)
  assert found["sd_over_seeds"] == pytest.approx(np.std([31.0, 32.5], ddof=1))


def test_summary_refuses_seeds_of_other_volumes():
  records = seeded({"kd": np.ones((2, 3))})
  with pytest.raises(UserError, match="the same volumes with every seed"):
    statistics.summary(records[:-2], "kdmri")


def test_crossed_bootstrap_equals_its_definition():
  gain = effects(4, 9, (0.2, 0.4, 0.3), 0) + 0.3
  pair = crossed(gain, bootstrap=20000)
  rng = np.random.default_rng(1)
  means = [
    gain[np.ix_(rng.choice(4, 4), rng.choice(9, 9))].mean() for _ in range(20000)
  ]
  np.testing.assert_allclose(pair["ci95"], np.percentile(means, [2.5, 97.5]), atol=0.02)
  by_subject, by_seed = gain.mean(axis=0), gain.mean(axis=1)
  assert pair["mean_difference"] == pytest.approx(gain.mean())
  assert pair["wilcoxon_p"] == pytest.approx(scipy.stats.wilcoxon(by_subject).pvalue)
  np.testing.assert_allclose(pair["differences"], by_subject)
  np.testing.assert_allclose(pair["seed_differences"], by_seed)
  assert (pair["n_seeds"], pair["seeds_better"]) == (4, np.sum(by_seed > 0))


def test_crossed_bootstrap_of_clustered_slices_equals_its_definition():
  """Two subjects of 3 and 5 slices: subjects, slices within them, and seeds."""
  rng = np.random.default_rng(2)
  gain = rng.normal(0.3, 0.5, (3, 8)) + np.repeat([0.5, -0.5], [3, 5])
  records = []
  for seed in range(3):
    for model, rows in (("kd", gain[seed]), ("student", 0 * gain[seed])):
      subjects = {"a": rows[:3], "b": rows[3:]}
      for subject, slices in subjects.items():
        found = make_records({model: slices[None]})
        label = {"seed": seed, "subject": subject, "volume": subject}
        records += [{**record, **label} for record in found]
  options = {"bootstrap": 20000, "seed": 0}
  pair = statistics.paired(records, "kd", "student", "psnr", **options)
  assert (pair["unit"], pair["n"], pair["n_seeds"]) == ("slice", 8, 3)
  members, means = (np.arange(3), np.arange(3, 8)), []
  for _ in range(20000):
    chosen = [members[i] for i in rng.choice(2, 2)]
    columns = np.concatenate([rng.choice(m, len(m)) for m in chosen])
    means.append(gain[np.ix_(rng.choice(3, 3), columns)].mean())
  np.testing.assert_allclose(pair["ci95"], np.percentile(means, [2.5, 97.5]), atol=0.03)


def test_one_seed_with_a_name_is_one_without():
  gain = effects(1, 9, (0, 0.4, 0.3), 0)
  named = crossed(gain)
  records = make_records({"kd": 30 + gain[0], "student": 30 + 0 * gain[0]})
  assert statistics.paired(records, "kd", "student", "psnr", **OPTIONS) == named


def test_equal_seeds_change_nothing_but_their_number():
  gain = effects(1, 9, (0, 0.4, 0.3), 0)
  one, five = crossed(gain), crossed(np.repeat(gain, 5, axis=0))
  np.testing.assert_allclose(one["ci95"], five["ci95"], atol=1e-12)
  assert one["wilcoxon_p"] == five["wilcoxon_p"]
  assert five["n_seeds"] == 5


def test_variance_between_seeds_widens_the_interval():
  gain = effects(5, 12, (0, 0.3, 0.1), 3)
  shift = np.linspace(-1, 1, 5)[:, None]
  widths = [np.ptp(crossed(gain + scale * shift)["ci95"]) for scale in (0, 0.5, 1.5)]
  assert widths[0] * 1.3 < widths[1] < widths[2] / 1.3


def contains_zero(pair):
  low, high = pair["ci95"]
  return low <= 0 <= high


def test_crossed_interval_covers_no_effect_about_as_often_as_it_says():
  """95% of 200, a few less with 8 seeds; fewer still if seeds were not resampled."""
  covered, ignored = 0, 0
  for trial in range(200):
    gain = effects(8, 20, (0.2, 0.4, 0.3), trial)
    options = {"bootstrap": 300, "seed": trial}
    covered += contains_zero(crossed(gain, **options))
    ignored += contains_zero(crossed(gain.mean(axis=0, keepdims=True), **options))
  assert 176 <= covered <= 198
  assert ignored < covered - 10


def test_gap_over_seeds():
  base = effects(3, 10, (1, 2, 0.5), 0) + 30
  values = {"student": base, "teacher": base + 1, "kd": base + 0.25}
  values["kd"][0] += 0.3
  records = seeded(values)
  pair = statistics.paired(
    records, "kd", "student", "psnr", **OPTIONS, teacher="teacher", student="student"
  )
  assert pair["gap_closed"] == pytest.approx(0.35)
  np.testing.assert_allclose(pair["gap_ci95"], [0.25, 0.55], atol=1e-9)


@pytest.mark.parametrize(("metric", "better"), [("psnr", 2), ("nmse", 1)])
def test_seeds_better_follows_the_metric(metric, better):
  gain = np.array([0.1, 0.2, -0.1])[:, None] + 0 * np.ones((3, 8))
  records = seeded({"kd": 1 + gain, "student": 1 + 0 * gain}, metric=metric)
  pair = statistics.paired(records, "kd", "student", metric, **OPTIONS)
  assert (pair["seeds_better"], pair["n_seeds"]) == (better, 3)


def test_only_seeds_of_both_models_are_paired():
  base = effects(3, 8, (1, 1, 0.1), 0)
  records = seeded({"kd": base[:2] + 0.5, "student": base})
  pair = statistics.paired(records, "kd", "student", "psnr", **OPTIONS)
  assert pair["n_seeds"] == 2 and pair["mean_difference"] == pytest.approx(0.5)
  other = [r for r in records if r["model"] == "student" or r["seed"] == 0]
  other = [r for r in other if r["model"] == "kd" or r["seed"] > 0]
  with pytest.raises(UserError, match="with the same seeds"):
    statistics.paired(other, "kd", "student", "psnr", **OPTIONS)


def test_sentence_counts_the_seeds_that_agree():
  gain = np.array([0.3, 0.25, 0.2, 0.2, -0.01])[:, None]
  gain = gain + normal(0, 0.02, (1, 12), 0)
  assert re.search(
    r"^kd beats student by 0.19 dB PSNR \[0.\d+, 0.\d+\], 4 of 5 seeds, over 12 "
    r"subjects \(Wilcoxon p < 0.001\)\.$",
    wording.sentence(crossed(gain)),
  )
  behind = wording.sentence(crossed(-gain))
  assert "falls behind" in behind and "4 of 5 seeds" in behind
  undecided = wording.sentence(crossed(gain - 0.17))
  assert "better on average, 4 of 5 seeds, but the 95% interval" in undecided


@pytest.mark.parametrize(
  ("value", "text"), [(9.2e-7, "9e-7"), (0, "0"), (2e-12, "2e-12"), (0.4, "4e-1")]
)
def test_exponent(value, text):
  assert wording.exponent(value) == text

"""Summaries, and paired statistics of one training, on constructed data."""

import numpy as np
import pytest
import scipy.stats
from helpers.measured import make_records, normal, sentence

from kdmri_jax.errors import UserError
from kdmri_jax.report import paired, tables


def test_summary_over_volumes_only():
  records = make_records({"kd": [30.0, 32.0, 37.0], "input": [20.0, 21.0, np.inf]})
  kd, zero_filled = paired.summary(records, "kdmri", ["psnr"])
  assert kd["model"] == "kd"
  assert kd["psnr"] == {
    "mean": 33.0,
    "sd": pytest.approx(np.sqrt((9 + 1 + 16) / 2)),
    "sd_over_seeds": None,
    "n": 3,
    "left_out": 0,
  }
  assert zero_filled["psnr"]["mean"] == 20.5
  assert zero_filled["psnr"]["left_out"] == 1
  assert paired.summary(records, "slice", ["psnr"]) == []


def test_summary_of_one_volume_has_no_spread():
  (row,) = paired.summary(make_records({"kd": [30.0]}), "kdmri", ["psnr"])
  nothing = dict.fromkeys(("sd", "sd_over_seeds"))
  assert row["psnr"] == {"mean": 30.0, **nothing, "n": 1, "left_out": 0}


def test_subjects_are_the_unit_when_there_are_enough():
  base = normal(34, 2, 12, 0)
  gain = normal(0.3, 0.1, 12, 1)
  records = make_records({"kd": base + gain, "student": base}, volumes_each=2)
  pair = paired.paired(records, "kd", "student", "psnr")
  assert (pair["unit"], pair["n"], pair["subjects"]) == ("subject", 12, 12)
  assert pair["mean_difference"] == pytest.approx(gain.mean())
  assert pair["wilcoxon_p"] == pytest.approx(scipy.stats.wilcoxon(gain).pvalue)
  assert pair["verdict"] == "better"
  np.testing.assert_allclose(pair["differences"], gain)
  expected = scipy.stats.ttest_1samp(gain, 0).confidence_interval(0.95)
  np.testing.assert_allclose(pair["ci95"], expected)


def test_interval_covers_the_truth_about_as_often_as_it_says():
  covered = 0
  for trial in range(200):
    gain = normal(0.2, 0.5, 20, trial)
    records = make_records({"kd": gain, "student": 0 * gain})
    pair = paired.paired(records, "kd", "student", "psnr")
    covered += pair["ci95"][0] <= 0.2 <= pair["ci95"][1]
  assert 180 <= covered <= 198  # 95% of 200


def test_turning_the_pair_turns_every_sign():
  records = make_records({"kd": normal(1, 1, 9, 0), "student": normal(0, 1, 9, 1)})
  there = paired.paired(records, "kd", "student", "psnr")
  back = paired.paired(records, "student", "kd", "psnr")
  assert back["mean_difference"] == pytest.approx(-there["mean_difference"])
  np.testing.assert_allclose(back["ci95"], -np.array(there["ci95"])[::-1])
  assert back["wilcoxon_p"] == there["wilcoxon_p"]


def test_equal_models_cannot_be_told_apart():
  base = normal(34, 2, 8, 0)
  pair = paired.paired(
    make_records({"kd": base, "student": base}), "kd", "student", "psnr"
  )
  assert pair["mean_difference"] == 0 and pair["ci95"] == [0, 0]
  assert pair["wilcoxon_p"] == 1.0 and pair["verdict"] == "undecided"


def test_two_subjects_that_disagree_decide_nothing():
  gain = np.stack([normal(1.0, 0.01, 10, 0), normal(-0.5, 0.01, 10, 1)])
  records = make_records({"kd": 30 + gain, "student": 30 + 0 * gain})
  pair = paired.paired(records, "kd", "student", "psnr")
  assert (pair["unit"], pair["n"], pair["subjects"]) == ("slice", 20, 2)
  expected = scipy.stats.ttest_1samp(gain.mean(axis=1), 0).confidence_interval(0.95)
  np.testing.assert_allclose(pair["ci95"], expected)
  assert pair["verdict"] == "undecided"


def test_slices_of_one_subject():
  gain = normal(0.4, 0.1, (1, 30), 0)
  records = make_records({"kd": 30 + gain, "student": 30 + 0 * gain})
  pair = paired.paired(records, "kd", "student", "psnr")
  expected = scipy.stats.ttest_1samp(gain.ravel(), 0).confidence_interval(0.95)
  np.testing.assert_allclose(pair["ci95"], expected)


def test_clustered_slices_have_a_wider_interval_than_independent_ones():
  gain = normal(0.3, 0.2, (5, 1), 0) + normal(0, 0.05, (5, 20), 1)
  many = make_records({"kd": gain, "student": 0 * gain})
  one = make_records({"kd": gain.reshape(1, -1), "student": np.zeros((1, gain.size))})
  widths = []
  for records in (many, one):
    pair = paired.paired(records, "kd", "student", "psnr")
    widths.append(np.ptp(pair["ci95"]))
  assert widths[0] > 2 * widths[1]


@pytest.mark.parametrize("metric", ["psnr", "nmse"])
def test_gap_closed(metric):
  sign, way = 1 if metric == "psnr" else -1, {"higher_is_better": metric == "psnr"}
  base = normal(30, 2, 12, 0)
  records = make_records(
    {"student": base, "teacher": base + sign, "kd": base + 0.25 * sign}, metric=metric
  )
  roles = {"teacher": "teacher"}
  pair = paired.paired(records, "kd", "student", metric, **way, **roles)
  assert pair["gap_closed"] == pytest.approx(0.25)
  np.testing.assert_allclose(pair["gap_ci95"], [0.25, 0.25])
  assert pair["gap_note"] is None
  other = paired.paired(records, "kd", "teacher", metric, **way, **roles)
  assert other["gap_closed"] is None and other["gap_note"] is None


def test_gap_interval_holds_the_ratio_of_means():
  base = normal(30, 2, 15, 0)
  gains = {
    "student": 0,
    "teacher": normal(1, 0.2, 15, 1),
    "kd": normal(0.4, 0.2, 15, 2),
  }
  records = make_records({name: base + gain for name, gain in gains.items()})
  pair = paired.paired(records, "kd", "student", "psnr", teacher="teacher")
  ratio = gains["kd"].mean() / gains["teacher"].mean()
  assert pair["gap_closed"] == pytest.approx(ratio)
  low, high = pair["gap_ci95"]
  assert low < ratio < high and high - low < 0.5


def test_no_gap_where_the_teacher_is_not_better():
  base = normal(30, 2, 8, 0)
  records = make_records({"student": base, "teacher": base - 0.1, "kd": base + 0.2})
  pair = paired.paired(records, "kd", "student", "psnr", teacher="teacher")
  assert pair["gap_closed"] is None and pair["gap_ci95"] is None
  assert "not better" in pair["gap_note"]
  assert "no gap to close" in sentence(pair)


def test_an_uncertain_gap_has_no_interval():
  base = normal(30, 2, 8, 0)
  teacher = base + 0.05 + normal(0, 1, 8, 1) - normal(0, 1, 8, 1).mean()
  records = make_records({"student": base, "teacher": teacher, "kd": base + 0.02})
  pair = paired.paired(records, "kd", "student", "psnr", teacher="teacher")
  assert pair["gap_closed"] == pytest.approx(0.4)
  assert pair["gap_ci95"] is None and "uncertain" in pair["gap_note"]


def test_units_without_a_finite_value_are_left_out():
  base = normal(30, 2, 8, 0)
  kd = base + 0.5
  kd[3] = np.inf
  records = make_records({"kd": kd, "student": base})
  pair = paired.paired(records, "kd", "student", "psnr")
  assert pair["n"] == 7 and pair["left_out"] == 1
  assert pair["mean_difference"] == pytest.approx(0.5)


def test_slices_without_signal_do_not_decide():
  """kd is better wherever there is an image, and worse in the empty slices."""
  found, rng = tables.Tables([], []), np.random.default_rng(0)
  for volume in ("v0", "v1"):
    target = rng.random((6, 9, 9))
    target[3:] = 0
    noise = 0.01 * rng.standard_normal(target.shape)
    errors = {"kd": noise, "student": np.where(target > 0, 2 * noise, 1e-6)}
    for model, error in errors.items():
      label = {"model": model, "volume": volume, "subject": volume}
      tables.add_volume(found, label, target, target + error, where="test")
  pair = paired.paired(found.records, "kd", "student", "psnr")
  assert (pair["unit"], pair["n"], pair["left_out"]) == ("slice", 6, 6)
  assert pair["verdict"] == "better"
  assert pair["mean_difference"] == pytest.approx(20 * np.log10(2))


def test_models_measured_on_other_images_are_refused():
  records = make_records({"kd": normal(0, 1, 8, 0), "student": normal(0, 1, 7, 0)})
  with pytest.raises(UserError, match="same images"):
    paired.paired(records, "kd", "student", "psnr")
  with pytest.raises(UserError, match="no records"):
    paired.paired(records, "kd", "nobody", "psnr")

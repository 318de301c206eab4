"""The report of a study: several seeds, a control, published numbers, audits."""

import csv
import json
import re

import numpy as np
import pytest
from helpers.measured import load
from helpers.study import audits_of, seeded_tables, study_input

from kdmri_jax import report
from kdmri_jax.metrics import METRICS
from kdmri_jax.report import comparisons, content, tables, wording


@pytest.fixture(scope="module")
def study(tmp_path_factory):
  """The report of a study with everything, written once."""
  inputs = study_input()
  return inputs, report.write(
    tmp_path_factory.mktemp("study") / "report", inputs
  ).parent


def test_rows_are_means_over_seeds_and_volumes(study):
  inputs, folder = study
  rows = {row["model"]: row for row in load(folder)["rows"]}
  values = np.zeros((3, 8))
  for record in inputs.tables.volumes:
    if record["model"] == "kd":
      values[record["seed"], int(record["volume"][1:])] = record["psnr"]
  found = rows["kd"]["psnr"]
  assert found["mean"] == pytest.approx(values.mean())
  assert found["sd"] == pytest.approx(values.mean(axis=0).std(ddof=1))
  assert found["sd_over_seeds"] == pytest.approx(values.mean(axis=1).std(ddof=1))
  assert rows["kd"]["n_seeds"] == 3 and rows["zero_filled"]["n_seeds"] == 1
  assert rows["zero_filled"]["psnr"]["sd_over_seeds"] is None
  summary = csv.DictReader((folder / "summary.csv").read_text().splitlines())
  (line,) = [r for r in summary if (r["model"], r["metric"]) == ("kd", "psnr")]
  assert float(line["sd over seeds"]) == found["sd_over_seeds"]
  header = (folder / "volumes.csv").read_text().splitlines()[0].split(",")
  assert header[:3] == ["model", "seed", "volume"]
  volumes = json.loads((folder / "volumes.json").read_text())
  assert {v["seed"] for v in volumes if v["model"] == "kd"} == {0, 1, 2}
  assert {v["seed"] for v in volumes if v["model"] == "zero_filled"} == {None}


def test_every_distilled_network_meets_every_baseline(study):
  _, folder = study
  found = load(folder)
  pairs = [(p["a"], p["b"]) for p in found["paired"] if p["metric"] == "psnr"]
  assert pairs == [
    *(("kd", "student_long"), ("fsp", "student_long")),
    *(("kd", "student"), ("fsp", "student")),
    *(("kd", "teacher"), ("fsp", "teacher")),
    ("teacher", "student"),
  ]
  keys = {"a", "b", "metric", "mean_difference", "ci95", "wilcoxon_p", "gap_closed"}
  assert all(keys | {"seeds_better", "n_seeds"} <= p.keys() for p in found["paired"])
  first = found["paired"][0]
  assert (first["seeds_better"], first["n_seeds"]) == (3, 3)
  assert first["gap_closed"] == pytest.approx(2 / 9, abs=0.05)
  assert (found["leading"], found["baseline"]) == ("kd", "student_long")
  of = r" by 0\.\d\d dB PSNR \[.*\], 3 of 3 seeds, over 8 subjects"
  assert re.match("kd beats student_long" + of, found["answer"][0])
  assert re.match("kd beats student" + of, found["answer"][1])
  assert any(text.startswith("fsp beats student_long") for text in found["answer"])


def test_the_control_takes_the_place_of_the_warning(study):
  _, folder = study
  text = " ".join(load(folder)["cautions"])
  assert (
    "kd, fsp have been trained for 300 epochs in all, those of student for 150" in text
  )
  assert "the difference from student_long, trained alone for 300" in text
  assert "config.stages.student.epochs" not in text
  without = " ".join(report.analyse(study_input(control=""))["cautions"])
  assert "Train student as long (config.stages.student.epochs=300)" in without
  budgets = study_input().budgets | {"student_long": report.Budget(200, 2000, 90.0)}
  short = " ".join(report.analyse(study_input(budgets=budgets))["cautions"])
  assert "student_long, trained alone for 200, does not match" in short


def tiles(inputs):
  """The key numbers at the top of a report."""
  document = content.document(inputs, report.analyse(inputs), ())
  return [label for _, label in document.sections[0].blocks[0].numbers]


def test_the_tiles_measure_against_the_control(study):
  gain, gap, _ = tiles(study[0])
  assert gain.startswith(f"PSNR of kd {wording.MINUS} student_long over 8 subjects, 3")
  assert gap.startswith("of the PSNR gap from student_long to teacher closed, 95% int")


@pytest.mark.parametrize("kd", [30.1, 29.0])
def test_a_gap_is_no_headline_where_no_gain_is_claimed(kd):
  inputs = study_input(tables=seeded_tables(kd=kd), distilled=("kd",))
  gain, size = tiles(inputs)
  assert "PSNR of kd" in gain and size.startswith("of the parameters")


def test_further_pairs_have_a_section_of_their_own(study):
  _, folder = study
  (pair,) = load(folder)["further"]
  assert (pair["a"], pair["b"], pair["metric"]) == ("fsp", "kd", "psnr")
  text = (folder / "report.md").read_text()
  section = text.partition("## Further comparisons")[2].partition("\n## ")[0]
  assert pair["sentence"].startswith("fsp falls behind kd by 0.")
  assert pair["sentence"].partition(" [")[0] in section
  assert len(re.findall(r"^\| fsp", section, re.M)) == 1 and "gap closed" not in section


def test_the_note_says_how_intervals_were_made(study):
  _, folder = study
  text = (folder / "report.md").read_text()
  assert "the widest of the t intervals over subjects, over seeds and over both" in text
  assert "over the means of seeds (p holds for these trainings)" in text


def test_equivalence_with_the_teacher_is_a_claim_of_its_own(study):
  found = load(study[1])
  tested = [p for p in found["paired"] if p["equivalence"]]
  assert [(p["a"], p["b"]) for p in tested] == [
    *(("kd", "teacher"), ("fsp", "teacher"), ("teacher", "student"))
  ]
  assert {p["metric"] for p in tested} == {"psnr"} and found["margin"] == 0.1
  assert not any(p["equivalence"]["shown"] for p in tested)
  assert any(
    "kd is not shown to be equivalent to teacher" in t for t in found["answer"]
  )
  assert "| equivalent |" in (study[1] / "report.md").read_text()
  near = report.analyse(study_input(tables=seeded_tables(kd=30.97)))
  (told,) = [t for t in near["answer"] if "equivalent to teacher within ±0.1" in t]
  assert (
    told.startswith("kd falls behind teacher by 0.0") and "kd is equivalent" in told
  )
  off = report.analyse(study_input(margin=0.0))
  assert not any(p["equivalence"] for p in off["paired"])


def test_only_networks_smaller_than_the_teacher_can_be_the_best():
  large = {**study_input().parameters, "fsp": 141765}
  inputs = study_input(tables=seeded_tables(fsp=30.9), parameters=large)
  assert report.analyse(inputs)["best"] == "kd"


@pytest.mark.parametrize(
  ("seeds", "words"),
  [(1, "One training run"), (2, "Only 2 seeds: "), (3, "Only 3 seeds: ")],
)
def test_few_seeds_say_so(seeds, words):
  text = report.analyse(study_input(seeds))["cautions"]
  assert sum(words in caution for caution in text) == 1
  assert sum("seed" in caution for caution in text) == 1


def test_a_network_without_some_seeds_is_named():
  found = seeded_tables()
  records = [r for r in found.volumes if (r["model"], r["seed"]) != ("fsp", 2)]
  slices = [r for r in found.slices if (r["model"], r["seed"]) != ("fsp", 2)]
  analysis = report.analyse(study_input(tables=tables.Tables(records, slices)))
  assert any(
    c.startswith("fsp has been trained with 2 of 3") for c in analysis["cautions"]
  )
  seeds = {p["a"]: p["n_seeds"] for p in analysis["paired"]}
  assert seeds == {"kd": 3, "fsp": 2, "teacher": 3}


def test_published_numbers_and_budget_stand_beside_the_measured(study):
  _, folder = study
  for text in ((folder / "index.html").read_text(), (folder / "report.md").read_text()):
    assert "published PSNR" in text and "published SSIM" in text
    assert "24.27" in text and "0.9084" in text
    assert "Published: A paper, table 1, under the same protocol; of its own" in text
  rows = {row["model"]: row for row in load(folder)["rows"]}
  assert rows["kd"]["published"] == {"psnr": 32.07, "ssim": 0.9084}
  assert rows["student"]["published"] is None
  assert (rows["kd"]["steps"], rows["kd"]["minutes"]) == (3000, 3.1)
  assert rows["zero_filled"]["steps"] is None
  lines = report.format_table(list(rows.values()), METRICS).splitlines()
  for title in ("steps", "minutes", "PSNR sd over seeds", "published SSIM", "seeds"):
    assert title in lines[0]
  assert "3,000      3.1" in next(line for line in lines if line.startswith("kd "))


def test_an_absent_term_is_called_out(study):
  _, folder = study
  found = load(folder)
  (caution,) = [text for text in found["cautions"] if "of the gradient" in text]
  assert caution == (
    "The term imitation of stage kd contributes at most 9e-7 of the gradient: in "
    "effect it is absent."
  )
  assert (folder / "figures" / "audit.png").is_file()
  page = (folder / "index.html").read_text()
  assert 'alt="Share of each term' in page and "Contribution of each term" in page
  absent = {(e["stage"], e["term"]): e["absent"] for e in found["audit"]}
  assert absent == {
    ("feature", "attention"): False,
    ("kd", "reconstruction"): False,
    ("kd", "imitation"): True,
  }
  once = {"kd": [audits_of(imitation=9e-7), audits_of(imitation=2e-3)]}
  cautions = report.analyse(study_input(audits=once))["cautions"]
  assert not any("of the gradient" in text for text in cautions)


def test_many_pairs_are_drawn_against_the_fair_baseline():
  names = tuple(f"kd_{i}" for i in range(6))
  analysis = report.analyse(study_input())
  assert comparisons.drawn_pairs(analysis) == analysis["paired"]
  baselines = ("long", "student", "teacher")
  pairs = [{"a": a, "b": b, "metric": "psnr"} for b in baselines for a in names]
  drawn = comparisons.drawn_pairs({"paired": pairs})
  assert [(p["a"], p["b"]) for p in drawn] == [(a, "long") for a in names]

"""Two trainings of one experiment become one report."""

import dataclasses
import json
import shutil

import h5py
import numpy as np
import pytest
from helpers.tiny import make, train

from kdmri_jax.config import TermConfig
from kdmri_jax.report import gradient_audit, write_reports
from kdmri_jax.training.log import read

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compilation")]

SEEDS = (3, 4)
PUBLISHED = {
  "published": {"kd": (32.0, 0.9)},
  "published_source": "A paper",
  "published_on": {"data": {"source": "phantom"}},
}
SETTINGS = dict(seed=3, seeds=2, epochs=1, audit_every=2, evaluation=PUBLISHED)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """The tiny experiment with two seeds, and its report."""
  pipeline = make(tmp_path_factory.mktemp("run"), **SETTINGS)
  pipelines = train(pipeline)
  return pipelines, write_reports.write_reports(pipelines)[0]


def load(report, name="report.json"):
  return json.loads(report.path.with_name(name).read_text())


def test_every_seed_has_its_results_and_the_input_is_written_once(trained):
  (first, second), _ = trained
  for name in ("teacher", "student", "kd"):
    values = []
    for pipeline in (first, second):
      path = next(pipeline.workdir.results(name).glob("*.h5"))
      assert f"seed_{pipeline.seed}" in str(path)
      with h5py.File(path) as file:
        values.append(file["reconstruction"][()])
    assert np.abs(values[0] - values[1]).max() > 1e-6
  assert first.workdir.results("zero_filled").is_dir()
  assert not second.workdir.results("zero_filled").exists()


def test_rows_and_pairs_are_over_both_seeds(trained):
  _, report = trained
  found, volumes = load(report), load(report, "volumes.json")
  assert found["seeds"] == list(SEEDS)
  rows = {row["model"]: row for row in found["rows"]}
  for name in ("teacher", "student", "kd"):
    values = {
      seed: [
        v["psnr"]
        for v in volumes
        if (v["model"], v["seed"], v["protocol"]) == (name, seed, "kdmri")
      ]
      for seed in SEEDS
    }
    means = [np.mean(values[seed]) for seed in SEEDS]
    assert rows[name]["psnr"]["mean"] == pytest.approx(np.mean(means))
    assert rows[name]["psnr"]["sd_over_seeds"] == pytest.approx(np.std(means, ddof=1))
  assert {p["n_seeds"] for p in found["paired"]} == {2}
  assert any("Only 2 seeds" in caution for caution in found["cautions"])


def test_the_budget_counts_what_a_stage_starts_from(trained):
  (pipeline, other), report = trained
  rows = {row["model"]: row for row in load(report)["rows"]}
  steps = pipeline.progress("student").step
  assert (rows["student"]["steps"], rows["kd"]["steps"]) == (steps, 2 * steps)
  seconds = [
    p.progress(n).seconds for p in (pipeline, other) for n in ("feature", "kd")
  ]
  assert rows["kd"]["minutes"] == pytest.approx(sum(seconds) / 2 / 60)
  assert rows["zero_filled"]["steps"] is None


def test_attention_maps_name_their_layers_and_whom_they_taught(trained):
  _, report = trained
  text = report.path.with_name("report.md").read_text().replace("\\", "")
  assert "asks the maps of kd to equal the teacher's" in text
  assert "the stage feature: cascade_1/activation_3" in text


def test_audits_are_drawn_for_distillation_only(trained):
  (pipeline, _), report = trained
  stages = {entry["stage"] for entry in load(report)["audit"]}
  assert stages == {"feature", "kd"}
  assert (report.path.parent / "figures" / "audit.png").is_file()
  names = pipeline.config.pipeline
  histories = {n: [read(pipeline.workdir.stage(n) / "metrics.jsonl")] for n in names}
  for name, (lines,) in histories.items():
    assert any(line["event"] == "audit" for line in lines) == (name in stages)
  assert set(gradient_audit.collect(pipeline.config, histories)) == stages


def test_audits_of_one_term_by_an_earlier_version_are_not_drawn(trained):
  (pipeline, _), _ = trained
  terms = {"reconstruction": {"value": 1.0, "share": 1.0, "cosine": 1.0}}
  histories = {"teacher": [[{"event": "audit", "step": 0, "terms": terms}]]}
  assert not gradient_audit.collect(pipeline.config, histories)
  stage = pipeline.config.stages["teacher"]
  second = TermConfig("mse", 1.0, "", (), ())
  two = dataclasses.replace(stage, terms={**stage.terms, "squared": second})
  none = dataclasses.replace(second, weight=0.0)
  assert two.audited
  assert not dataclasses.replace(stage, terms={**stage.terms, "squared": none}).audited


def test_published_numbers_of_other_data_are_left_out_and_the_report_says_so(
  trained, tmp_path
):
  (pipeline, _), report = trained
  assert "published PSNR" in (report.path.parent / "report.md").read_text()
  shutil.copytree(pipeline.workdir.stage(""), tmp_path / "seed_3")
  evaluation = {**PUBLISHED, "published_on": {"data": {"source": "kdmri"}}}
  other = make(tmp_path, **{**SETTINGS, "evaluation": evaluation})
  report = write_reports.write_reports([other])[0]
  assert "published PSNR" not in (report.path.parent / "report.md").read_text()
  difference = "data.source is 'phantom' here and 'kdmri' there"
  assert any(difference in text for text in load(report)["cautions"])


def test_one_of_the_seeds_alone_gives_a_report_without_seeds(trained, tmp_path):
  (pipeline, _), _ = trained
  shutil.copytree(pipeline.workdir.stage(""), tmp_path / "seed_3")
  shutil.rmtree(tmp_path / "seed_3" / "feature")  # kd started from it
  report = write_reports.write_reports([make(tmp_path, **SETTINGS)])[0]
  assert "seed" not in load(report, "volumes.json")[0]
  rows = load(report)["rows"]
  assert all(row["psnr"]["sd_over_seeds"] is None for row in rows)
  assert [row["steps"] is None for row in rows] == [True, False, False, True]
  assert rows[3]["minutes"] is None
  assert any("trained for 2 epochs in all" in c for c in load(report)["cautions"])
  assert "sd over seeds" not in report.table


def test_pipelines_that_differ_in_more_than_the_seed_are_refused(trained, tmp_path):
  (first, _), _ = trained
  elsewhere = make(tmp_path, **SETTINGS).for_seed(4)
  longer = make(first.workdir.path, **{**SETTINGS, "epochs": 2}).for_seed(4)
  for other in (first, elsewhere, longer):
    with pytest.raises(ValueError, match="in nothing else"):
      write_reports.write_reports([first, other])


def test_a_stage_that_one_seed_lacks_is_over_the_others(trained, tmp_path):
  (first, second), _ = trained
  shutil.copytree(first.workdir.path, tmp_path, dirs_exist_ok=True)
  shutil.rmtree(tmp_path / "seed_4" / "kd")
  pipeline = make(tmp_path, **SETTINGS)
  report = write_reports.write_reports([pipeline, pipeline.for_seed(second.seed)])[0]
  found = load(report)
  assert {row["model"]: row["n_seeds"] for row in found["rows"]} == {
    "zero_filled": 1, "teacher": 2, "student": 2, "kd": 1
  }  # fmt: skip
  assert any("kd has been trained with 1 of 2 seeds" in c for c in found["cautions"])

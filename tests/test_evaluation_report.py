"""The report: its numbers, its honesty, its files, and what it never destroys."""

import csv
import dataclasses
import html.parser
import json
import re

import numpy as np
import pytest

from kdmri_jax.evaluation import report, tables
from kdmri_jax.evaluation.report import comparisons

BARE = {
  **dict.fromkeys(("mask_image", "comparison_images", "attention")),
  "histories": {},
  "seconds": {},
}
OFFSETS = {"zero_filled": 0.3, "teacher": 0.03, "student": 0.06, "kd": 0.05}


def measure(models, subjects=7):
  """Tables of real metrics on small random volumes."""
  rng = np.random.default_rng(0)
  found = tables.Tables([], [])
  for index in range(subjects):
    target = rng.random((2, 16, 12))
    for model in models:
      noise = OFFSETS[model] * rng.standard_normal(target.shape)
      label = {"model": model, "volume": f"v{index}", "subject": f"s{index}"}
      tables.add_volume(found, label, target, target + noise, where="test")
  return found


def make_input(models=tuple(OFFSETS), subjects=7, **changes):
  rng = np.random.default_rng(1)
  images = {name: rng.random((16, 12)) for name in ("input", "target", *models[1:])}
  epoch = {"event": "epoch", "epoch": 1, "train": {"loss": 0.2}, "best": True}
  epoch["validation"] = {"loss": 0.3, "psnr": 21.0}
  parameters = {"teacher": 141765, "student": 49285, "kd": 49285}
  inputs = report.ReportInput(
    title="Brain <T1> & friends",
    protocol="kdmri",
    tables=measure(models, subjects),
    dataset={
      "source": "nifti",
      "simulated_kspace": True,
      "subjects": {"train": [f"t{i}" for i in range(30)], "validation": ["s0"]},
      "notes": ["A note from the data."],
    },
    evaluated_on="validation",
    mask={"kind": "cartesian", "acceleration": 4.0},
    parameters={k: n for k, n in parameters.items() if k in models},
    teacher="teacher",
    student="student",
    distilled=("kd",),
    control="",
    bootstrap=200,
    seed=0,
    config={"models": {"teacher": {"lam": float("inf")}}},
    environment={"jax": "0.10.2"},
    seeds=(42,),
    histories={name: [[epoch]] for name in models[1:]},
    seconds={name: 61.0 for name in models[1:]},
    mask_image=np.eye(16, 12),
    comparison_images=images,
    attention={name: rng.random((2, 16, 12)) for name in models[1:]},
  )
  return dataclasses.replace(inputs, **changes)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
  """A complete report, written once: its input and its folder."""
  inputs = make_input()
  path = report.write(tmp_path_factory.mktemp("run") / "report", inputs)
  return inputs, path.parent


def load(folder):
  text = (folder / "report.json").read_text()
  return json.loads(text, parse_constant=pytest.fail)


class Page(html.parser.HTMLParser):
  """Collects links and text of a page and checks that its tags match."""

  def __init__(self, text):
    super().__init__()
    self.links, self.open, self.words = [], [], []
    self.feed(text)
    self.close()
    assert not self.open

  def handle_starttag(self, tag, attributes):
    self.links += [v for k, v in attributes if k in ("src", "href")]
    if tag not in ("meta", "img"):
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.words.append(data)


def test_json_holds_rows_and_pairs(written):
  inputs, folder = written
  found = load(folder)
  assert found["protocol"] == "kdmri" and found["dataset"]["source"] == "nifti"
  assert [row["model"] for row in found["rows"]] == list(OFFSETS)
  assert [row["parameters"] for row in found["rows"]] == [None, 141765, 49285, 49285]
  volumes = [
    r["psnr"]
    for r in inputs.tables.volumes
    if r["model"] == "kd" and r["protocol"] == "kdmri"
  ]
  kd = found["rows"][3]["psnr"]
  assert kd["mean"] == pytest.approx(np.mean(volumes)) and kd["n"] == 7
  assert kd["sd"] == pytest.approx(np.std(volumes, ddof=1))
  pairs = [(p["a"], p["b"], p["metric"]) for p in found["paired"]]
  metric = ("psnr", "ssim", "nmse")
  order = [("kd", "student"), ("kd", "teacher"), ("teacher", "student")]
  assert pairs == [(a, b, m) for a, b in order for m in metric]
  first = found["paired"][0]
  rows = {row["model"]: row["psnr"]["mean"] for row in found["rows"]}
  gain = rows["kd"] - rows["student"]
  assert first["mean_difference"] == pytest.approx(gain)
  assert first["gap_closed"] == pytest.approx(
    gain / (rows["teacher"] - rows["student"])
  )
  assert first["ci95"][0] < gain < first["ci95"][1]
  assert (first["unit"], first["n"]) == ("subject", 7)
  assert first["wilcoxon_p"] < 0.05 and first["sentence"].startswith("kd beats student")
  assert found["paired"][3]["gap_closed"] is None
  assert found["best"] == "kd"
  assert found["config"]["models"]["teacher"]["lam"] is None


def test_page_is_whole_and_needs_nothing_else(written):
  _, folder = written
  text = (folder / "index.html").read_text()
  page = Page(text)
  assert len(re.findall("<img", text)) == 5
  for link in page.links:
    assert (folder / link).is_file(), link
  assert "<script" not in text and "url(" not in text and "@import" not in text
  assert "Brain &lt;T1&gt; &amp; friends" in text


def test_page_and_markdown_say_what_json_says(written):
  _, folder = written
  found = load(folder)
  page = " ".join(Page((folder / "index.html").read_text()).words)
  markdown = (folder / "report.md").read_text().replace("\\", "")
  for text in (page, markdown):
    for sentence in found["answer"] + found["cautions"]:
      assert sentence in text
    assert found["protocol_definition"] in text
    assert "Shimron et al., PNAS 2022" in text and "141,765" in text
    assert "and 18 more (see report.json)" in text
  for picture in re.findall(r"\]\((figures/.*?)\)", markdown):
    assert (folder / picture).is_file()
  assert len(re.findall(r"!\[", markdown)) == 5


def test_highlight_is_the_best_small_network(written):
  _, folder = written
  (row,) = re.findall(r'<tr class="best">.*?</tr>', (folder / "index.html").read_text())
  assert ">kd<" in row.replace("</i>", ">")
  assert re.search(r"^\| \*\*kd\*\*", (folder / "report.md").read_text(), re.M)


def test_tables_stand_beside(written):
  inputs, folder = written
  volumes = json.loads((folder / "volumes.json").read_text())
  assert len(volumes) == len(inputs.tables.volumes)
  lines = (folder / "slices.csv").read_text().splitlines()
  assert len(lines) == 1 + len(inputs.tables.slices)


@pytest.mark.parametrize(
  ("models", "answer"),
  [
    (("zero_filled", "teacher"), "Measured so far: zero_filled, teacher."),
    (("zero_filled", "student", "kd"), "kd beats student"),
    (("zero_filled", "teacher", "student"), "teacher beats student"),
  ],
)
def test_models_may_be_missing(tmp_path, models, answer):
  path = report.write(tmp_path / "report", make_input(models, **BARE))
  found = load(path.parent)
  assert found["answer"][0].startswith(answer)
  assert [row["model"] for row in found["rows"]] == list(models)
  assert all(p["gap_closed"] is None for p in found["paired"])
  Page(path.read_text())


def test_without_pictures(tmp_path):
  path = report.write(tmp_path / "report", make_input(**BARE))
  assert [p.name for p in (path.parent / "figures").iterdir()] == ["differences.png"]
  assert "How the networks were trained" not in path.read_text()


def test_few_subjects_say_so():
  found = report.analyse(make_input(subjects=2))
  assert found["paired"][0]["unit"] == "slice"
  assert any("not independent" in caution for caution in found["cautions"])


def test_cautions_follow_the_data():
  measured = make_input(
    dataset={"source": "kdmri", "simulated_kspace": False}, evaluated_on="test"
  )
  cautions = " ".join(report.analyse(measured)["cautions"])
  assert "Shimron" not in cautions and "validation subjects" not in cautions
  simulated = " ".join(report.analyse(make_input())["cautions"])
  assert "Shimron" in simulated and "validation subjects" in simulated
  assert "A note from the data." in simulated


@pytest.mark.parametrize(
  ("protocol", "words"), [("slice", "left out"), ("kdmri", "kept")]
)
def test_empty_slices_are_reported(protocol, words):
  found = tables.Tables([], [])
  target = np.random.default_rng(0).random((3, 9, 9))
  target[0] = 0
  for model in ("teacher", "student"):
    label = {"model": model, "volume": "v", "subject": "s"}
    tables.add_volume(found, label, target, target + 0.1, where="test")
  analysis = report.analyse(make_input(tables=found, protocol=protocol))
  (caution,) = [text for text in analysis["cautions"] if "no signal" in text]
  assert "1 slices of 1 volumes" in caution and words in caution


def test_a_perfect_network_is_valid_json(tmp_path):
  found = measure(("teacher", "student"))
  for record in found.records:
    if record["model"] == "teacher":
      record["psnr"] = float("inf")
  path = report.write(tmp_path / "report", make_input(tables=found, **BARE))
  content = load(path.parent)
  nothing = dict.fromkeys(("mean", "sd", "sd_over_seeds"))
  assert content["rows"][0]["psnr"] == {**nothing, "n": 0, "left_out": 7}
  assert [pair["metric"] for pair in content["paired"]] == ["ssim", "nmse"]
  assert "were left out of means" in path.read_text()


def test_an_earlier_report_is_replaced_and_other_files_are_kept(tmp_path):
  folder = tmp_path / "report"
  report.write(folder, make_input(("zero_filled", "teacher"), **BARE))
  (folder / "notes.txt").write_text("mine")
  (folder / "figures").mkdir()
  (folder / "figures" / "stale.png").write_text("old")
  report.write(folder, make_input(**BARE))
  assert len(load(folder)["rows"]) == 4
  assert (folder / "notes.txt").read_text() == "mine"
  assert not (folder / "figures" / "stale.png").exists()
  assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_a_failing_report_leaves_the_earlier_one(tmp_path):
  folder = tmp_path / "report"
  report.write(folder, make_input(("zero_filled", "teacher"), **BARE))
  before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
  with pytest.raises(KeyError, match="target"):
    report.write(folder, make_input(comparison_images={"kd": np.ones((9, 9))}))
  after = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
  assert after == before
  assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_same_input_same_report(tmp_path):
  folders = [
    report.write(tmp_path / name, make_input(**BARE)).parent for name in ("a", "b")
  ]
  for name in ("index.html", "report.json", "figures/differences.png"):
    first, second = ((folder / name).read_bytes() for folder in folders)
    assert first == second


def test_plain_table():
  rows = report.analyse(make_input())["rows"]
  lines = report.format_table(rows).splitlines()
  assert lines[0].split() == [
    *("model", "parameters", "PSNR,", "dB", "SSIM", "NMSE", "volumes")
  ]
  assert set(map(len, lines)) == {len(lines[0])}
  kd = rows[3]["psnr"]
  assert lines[-1].startswith("kd ") and lines[-1].endswith(" 7")
  assert f"49,285  {kd['mean']:.2f} ± {kd['sd']:.2f}" in lines[-1]
  bare = report.summary_rows(measure(("kd",)).volumes, "slice", {})
  assert "parameters" not in report.format_table(bare)


NETWORKS = ("teacher", "student", "student_long", "kd", "fsp")
QUALITY = {
  "student": 30.0,
  "student_long": 30.1,
  "kd": 30.3,
  "fsp": 30.2,
  "teacher": 31,
}


def seeded_tables(seeds=3, subjects=8, networks=NETWORKS):
  """Tables of several seeds; a network's PSNR is `QUALITY` and a little noise."""
  rng = np.random.default_rng(0)
  found = tables.Tables([], [])
  level = rng.normal(0, 1, subjects)
  for model in ("zero_filled", *networks):
    for seed in range(seeds) if model in QUALITY else (None,):
      for index in range(subjects):
        psnr = QUALITY.get(model, 25.0) + level[index] + rng.normal(0, 0.02)
        label = {"model": model, "seed": seed, "volume": f"v{index}"}
        label |= {"subject": f"s{index}", "protocol": "kdmri"}
        values = dict.fromkeys(("mse", "hfn", "hfen"), 0.1)
        values |= {"psnr": psnr, "ssim": psnr / 40, "nmse": 1 / psnr}
        found.volumes.append({**label, **values, "empty_slices": 0})
        found.slices.append({**label, "slice": 0, **values})
  return found


def audits_of(**shares):
  terms = {t: {"value": 0.1, "share": s, "cosine": 0.5} for t, s in shares.items()}
  return [{"event": "audit", "step": step, "terms": terms} for step in (0, 100)]


def study_input(seeds=3, **changes):
  """Several seeds and distilled networks, a control, published numbers, audits."""
  short, long = report.Budget(150, 1500, 90.0), report.Budget(300, 3000, 186.0)
  budgets = dict.fromkeys(NETWORKS, long) | dict.fromkeys(("teacher", "student"), short)
  return make_input(
    ("zero_filled", "teacher", "student", "kd"),
    **{
      "tables": seeded_tables(seeds),
      "parameters": dict.fromkeys(NETWORKS, 49285) | {"teacher": 141765},
      "distilled": ("kd", "fsp"),
      "control": "student_long",
      "seeds": tuple(range(seeds)),
      "published": {"zero_filled": (24.27, 0.6996), "kd": (32.07, 0.9084)},
      "published_source": "A paper, table 1",
      "budgets": budgets,
      "histories": {},
      "audits": {
        "feature": [audits_of(attention=1.0)] * seeds,
        "kd": [audits_of(reconstruction=0.9999991, imitation=9e-7)] * seeds,
      },
      **changes,
    },
  )


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
    *(("kd", "student"), ("fsp", "student")),
    *(("kd", "student_long"), ("fsp", "student_long")),
    *(("kd", "teacher"), ("fsp", "teacher")),
    ("teacher", "student"),
  ]
  keys = {"a", "b", "metric", "mean_difference", "ci95", "wilcoxon_p", "gap_closed"}
  assert all(keys | {"seeds_better", "n_seeds"} <= p.keys() for p in found["paired"])
  first = found["paired"][0]
  assert (first["seeds_better"], first["n_seeds"]) == (3, 3)
  assert first["gap_closed"] == pytest.approx(0.3, abs=0.05)
  assert found["leading"] == "kd"
  beats = r"kd beats student by 0\.\d\d dB PSNR \[.*\], 3 of 3 seeds, over 8 subjects"
  assert re.match(beats, found["answer"][0])
  assert found["answer"][1].startswith("kd beats student_long by")
  assert any(text.startswith("fsp beats student_long") for text in found["answer"])


def test_the_control_takes_the_place_of_the_warning(study):
  _, folder = study
  text = " ".join(load(folder)["cautions"])
  assert (
    "kd, fsp have been trained for 300 epochs in all, those of student for 150" in text
  )
  assert "the difference from student_long, trained alone for 300" in text
  assert "--config.stages.student.epochs" not in text
  without = " ".join(report.analyse(study_input(control=""))["cautions"])
  assert "Train student as long (--config.stages.student.epochs=300)" in without
  budgets = study_input().budgets | {"student_long": report.Budget(200, 2000, 90.0)}
  short = " ".join(report.analyse(study_input(budgets=budgets))["cautions"])
  assert "student_long, trained alone for 200, is no match" in short


@pytest.mark.parametrize(
  ("seeds", "words"),
  [(1, "One training run"), (2, "Only 2 seeds: trainings vary"), (3, "of 3 seeds is")],
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
    assert "Published: A paper, table 1." in text
  rows = {row["model"]: row for row in load(folder)["rows"]}
  assert rows["kd"]["published"] == {"psnr": 32.07, "ssim": 0.9084}
  assert rows["student"]["published"] is None
  assert (rows["kd"]["steps"], rows["kd"]["minutes"]) == (3000, 3.1)
  assert rows["zero_filled"]["steps"] is None
  lines = report.format_table(list(rows.values())).splitlines()
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
  assert "figures/audit.png" in page and "What each term contributes" in page
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
  pairs = [
    {"a": a, "b": b, "metric": "psnr"}
    for b in ("student", "long", "teacher")
    for a in names
  ]
  for control, baseline in (("long", "long"), ("", "student")):
    drawn = comparisons.drawn_pairs({"paired": pairs, "control": control})
    assert [(p["a"], p["b"]) for p in drawn] == [(a, baseline) for a in names]

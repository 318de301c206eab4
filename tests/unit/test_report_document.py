"""The content of a report is the same in page, Markdown, JSON and plain table."""

import base64
import dataclasses
import html.parser
import json
import re

import jinja2
import numpy as np
import pytest
from helpers.measured import BARE, OFFSETS, load, make_input, measure

from kdmri_jax import report
from kdmri_jax.metrics import METRICS, Metric
from kdmri_jax.report import comparisons, folder, pages, viewer
from kdmri_jax.report.blocks import Document, Section
from kdmri_jax.report.rows import summary_records


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
    if tag not in ("meta", "img", "input"):
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.words.append(data)


def slices_of(inputs):
  (shown,) = viewer.blocks_of(inputs, {})
  return shown.slices


@pytest.fixture(scope="module")
def written(tmp_path_factory):
  """A complete report, written once: its input and its folder."""
  inputs = make_input()
  path = report.write(tmp_path_factory.mktemp("run") / "report", inputs)
  return inputs, path.parent


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
  assert found["config"]["models"]["teacher"]["lam"] == "inf"


def test_page_is_whole_and_needs_nothing_else(written):
  inputs, folder = written
  text = (folder / "index.html").read_text()
  page = Page(text)
  pictures = [path.read_bytes() for path in (folder / "figures").glob("*.png")]
  assert len(pictures) == 5
  pictures += [p.png for each in slices_of(inputs) for p in each.pictures]
  uris = {
    f"data:image/png;base64,{base64.b64encode(each).decode()}" for each in pictures
  }
  for link in page.links:
    anchored = link.startswith("#") and f'<section id="{link[1:]}">' in text
    assert anchored or link in uris or (folder / link).is_file(), link[:80]
  assert uris <= set(page.links)
  assert "url(" not in text and "@import" not in text and "<script src" not in text
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


def test_only_taught_networks_are_said_to_look_where_the_teacher_looks(written):
  _, folder = written
  text = (folder / "report.md").read_text().replace("\\", "")
  section = text.partition("## Attention maps")[2]
  assert "Distillation asks the maps of kd to equal the teacher's." in section
  layers = (
    "the stage feature: cascade_1/activation_3, cascade_2/activation_3 of teacher"
  )
  assert layers in section


@pytest.mark.parametrize(
  ("subjects", "words"),
  [
    (1, "The intervals are t intervals over slices."),
    (2, "The intervals are t intervals over subjects."),
    (7, "The intervals are t intervals over subjects."),
  ],
)
def test_the_note_says_what_the_intervals_are_over(subjects, words):
  analysis = report.analyse(make_input(("teacher", "student"), subjects))
  table, *_ = comparisons.main(analysis, METRICS)
  assert words in table.note and "are omitted" not in table.note


def test_what_a_pair_leaves_out_is_shown():
  found = measure(("teacher", "student"), subjects=8)
  for record in found.records:
    if record["volume"] == "v3" and record["model"] == "teacher":
      record["psnr"] = float("inf")
  analysis = report.analyse(make_input(tables=found))
  table, *_ = comparisons.main(analysis, METRICS)
  assert [row[-1] for row in table.rows] == [
    "7 subjects (1 left out)",
    *["8 subjects"] * 2,
  ]
  assert "are omitted" in table.note


def test_volumes_are_those_measured(written):
  rows = report.analyse(written[0])["rows"]
  rows[3]["psnr"] |= {"n": 5, "left_out": 2}
  records = summary_records(rows, METRICS)
  (line,) = [r for r in records if (r["model"], r["metric"]) == ("kd", "psnr")]
  assert (line["volumes"], line["left out"]) == (7, 2)
  assert report.format_table(rows, METRICS).splitlines()[-1].endswith(" 7")


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
  names = {p.name for p in (path.parent / "figures").iterdir()}
  assert names == {"differences.png", "differences.pdf"}
  assert "How the networks were trained" not in path.read_text()


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
  assert "were omitted from means" in path.read_text()


def test_plain_table():
  rows = report.analyse(make_input())["rows"]
  lines = report.format_table(rows, METRICS).splitlines()
  assert lines[0].split() == [
    *("model", "parameters", "PSNR,", "dB", "SSIM", "NMSE", "volumes")
  ]
  assert set(map(len, lines)) == {len(lines[0])}
  kd = rows[3]["psnr"]
  assert lines[-1].startswith("kd ") and lines[-1].endswith(" 7")
  assert f"49,285  {kd['mean']:.2f} ± {kd['sd']:.2f}" in lines[-1]
  bare = report.summary_rows(measure(("kd",)), "slice", {})
  assert "parameters" not in report.format_table(bare, METRICS)


def absolute_error(target, prediction):
  return abs(prediction - target).mean(axis=(1, 2))


def test_a_report_follows_its_metrics(tmp_path):
  """Without PSNR: another metric ranks, is compared, drawn and written."""
  own = Metric(absolute_error, "MAE", higher_is_better=False, unit="%", decimals=3)
  stored = dataclasses.replace(own, title="Other", shown="stored")
  metrics = {"mae": own, "ssim": METRICS["ssim"], "other": stored}
  inputs = make_input()
  inputs = dataclasses.replace(inputs, tables=measure(OFFSETS, metrics=metrics))
  report.write(tmp_path / "report", inputs)
  found = load(tmp_path / "report")
  assert [pair["metric"] for pair in found["paired"][:2]] == ["mae", "ssim"]
  assert {row["model"] for row in found["rows"]} == set(OFFSETS)
  assert found["best"] == "kd"  # the smaller error
  assert re.match(r"kd beats student by 0\.\d+ % MAE \[", found["answer"][0])
  text = (tmp_path / "report" / "report.md").read_text()
  assert "| model | parameters | MAE, % ↓ | SSIM ↑ |" in text
  assert "with the lowest MAE" in text and "Numbers: MAE and SSIM" in text
  assert "PSNR of" not in text and "Other" not in text
  header, *_ = (tmp_path / "report" / "volumes.csv").read_text().splitlines()
  assert header == "model,volume,subject,protocol,mae,ssim,other,empty_slices"
  summary = (tmp_path / "report" / "summary.csv").read_text()
  assert "kd,other," in summary and "psnr" not in summary


@pytest.mark.parametrize("name", folder.PAGES)
def test_a_block_without_a_layout_is_an_error(name):
  document = Document("A", "b", [Section("c", [3])], {})
  with pytest.raises(jinja2.UndefinedError):
    pages.render(name, document, {})

"""A part of a report that fails is told in its place, and everything else is made."""

import csv
import dataclasses
import errno
import json

import numpy as np
import pytest
from helpers.failing import ALWAYS, EXACT, SINGLE
from helpers.measured import BARE, OFFSETS, load, make_input

from kdmri_jax import json_text, report
from kdmri_jax.errors import Interrupted, UserError
from kdmri_jax.metrics import METRICS
from kdmri_jax.report import content, figures, speed, tables
from kdmri_jax.report.parts import Parts
from kdmri_jax.report.roi_snr import Measured, Roi
from kdmri_jax.statistics import mixed_effects


def measured(metrics, made=None):
  """Tables of made-up images; the metrics that fail are told to `made`."""
  rng, pairs = np.random.default_rng(0), []
  for index in range(7):
    target = rng.random((2, 16, 12))
    for model, noise in OFFSETS.items():
      label = {"model": model, "volume": f"v{index}", "subject": f"s{index}"}
      image = target + noise * rng.standard_normal(target.shape)
      volumes = (tables.StoredVolume(each) for each in (target, image))
      pairs.append(tables.Pair(label, f"{model}/v{index}.h5", *volumes))
  return tables.evaluate(pairs, metrics, made)


def read_csv(path):
  with path.open() as file:
    return list(csv.DictReader(file))


def test_a_metric_that_fails_changes_no_other_number(tmp_path):
  made = Parts()
  whole = make_input(tables=measured(METRICS), **BARE)
  broken = measured({**METRICS, "single": SINGLE}, made)
  broken = dataclasses.replace(whole, tables=broken, parts=made)
  for name, inputs in (("whole", whole), ("broken", broken)):
    report.write(tmp_path / name, inputs)
  expected, found = load(tmp_path / "whole"), load(tmp_path / "broken")
  for row, other in zip(expected["rows"], found["rows"], strict=True):
    assert other.pop("single") == {
      **dict.fromkeys(("mean", "sd", "sd_over_seeds")), "n": 0, "left_out": 7
    }  # fmt: skip
    assert row == other
  for key in ("answer", "paired", "best", "leading", "cautions"):
    assert expected[key] == found[key]
  for file in ("volumes.csv", "slices.csv"):
    others = read_csv(tmp_path / "broken" / file)
    assert {row.pop("single") for row in others} == {""}
    assert others == read_csv(tmp_path / "whole" / file)
  (failure,) = found["failed"]
  assert failure["section"] == "Results"
  assert failure["part"] == "the metric Single (all or some of its values)"
  reason = "RuntimeError: one slice, please (zero_filled/v0.h5)"
  assert failure["reason"] == reason
  assert "in of_single_slices" in failure["traceback"]
  for file in ("index.html", "report.md"):
    text = (tmp_path / "broken" / file).read_text().replace("\\", "")
    assert (
      f"the metric Single (all or some of its values) is missing: {reason}." in text
    )
    assert "This report is not complete." in text
    assert "not complete" not in (tmp_path / "whole" / file).read_text()
  assert expected["failed"] == []


def test_a_metric_that_fails_for_some_volumes_keeps_the_others():
  made = Parts()
  found = measured({"psnr": METRICS["psnr"], "exact": EXACT}, made)
  rows = report.summary_rows(found, "kdmri", {})
  assert {row["model"]: row["exact"]["n"] for row in rows} == {
    **dict.fromkeys(OFFSETS, 7), "zero_filled": 0
  }  # fmt: skip
  assert made.failed[0].reason == "ZeroDivisionError: too far (zero_filled/v0.h5)"


def test_without_parts_a_metric_that_fails_is_an_error():
  with pytest.raises(KeyError, match="never"):
    measured({"always": ALWAYS})


def test_where_all_metrics_fail_the_report_is_written(tmp_path):
  made = Parts()
  inputs = make_input()
  found = measured({"always": ALWAYS}, made)
  report.write(tmp_path / "r", dataclasses.replace(inputs, tables=found, parts=made))
  assert [row["model"] for row in load(tmp_path / "r")["rows"]] == list(OFFSETS)
  assert (tmp_path / "r" / "figures" / "attention_maps.png").is_file()
  text = (tmp_path / "r" / "index.html").read_text()
  assert "KeyError: &#39;never&#39;" in text
  failed = {failure.part for failure in made.failed}
  assert failed == {
    "the metric Always (all or some of its values)", "the figure of comparison"
  }  # fmt: skip


def snr(values, regions, subjects, reference="student"):
  """SNR in regions of made-up networks; `values`: model -> [regions]."""
  owners = np.repeat(subjects, [len(found) for found in regions.values()])
  places = np.arange(len(owners))
  effects = mixed_effects(
    np.concatenate(list(values.values())),
    np.repeat(list(values), len(owners)),
    np.tile(owners, len(values)),
    np.tile(places, len(values)),
    reference=reference,
  )
  return Measured(regions, values, effects, "", reference, ())


def test_one_region_for_each_subject_is_told():
  roi = Roi(0, 1, 1, 3, 3)
  regions = {f"v{k}": [roi] for k in range(4)}
  values = {
    "student": np.array([9.0, 11, 10, 14]),
    "kd": np.array([9.5, 11.7, 10.4, np.inf]),
  }
  inputs = make_input(snr=snr(values, regions, ["a", "b", "c", "d"]), **BARE)
  found = report.analyse(inputs)["snr"]
  kd = values["kd"][:3]
  assert found["rows"][1] == {
    "model": "kd",
    "mean": pytest.approx(kd.mean()),
    "sd": pytest.approx(kd.std(ddof=1)),
    "n": 3,
    "left_out": 1,
  }
  (effect,) = found["effects"]
  assert effect["levels"] == "subject"
  gain = (kd - values["student"][:3]).mean()
  assert effect["difference"] == pytest.approx(gain, abs=0.01)


def broken(*arguments, **options):
  raise IndexError("broken on purpose")


@pytest.mark.parametrize(
  ("place", "name", "section", "others"),
  [
    (report.analysis, "summary_rows", "Results", ["report.md"]),
    (report.analysis, "cautions", "Before you quote a number", ["report.md"]),
    (report.analysis.wording, "sentence", "Is the difference real?", ["report.md"]),
    (report.analysis.gradient_audit, "summarise", "Contribution of each term", []),
    (content.networks, "attention", "Attention maps", []),
    (content.networks, "training", "How the networks were trained", []),
    (content.result_tables, "_table", "Results", ["figures/mask.png"]),
    (content, "_environment",
     "Files, environment, configuration", ["figures/mask.png"]),
  ],
)  # fmt: skip
def test_any_part_may_fail(monkeypatch, tmp_path, place, name, section, others):
  monkeypatch.setattr(place, name, broken)
  inputs = make_input(comparison_images=None, slices=())
  path = report.write(tmp_path / "report", inputs)
  found = load(path.parent)
  assert found["failed"]
  for failure in found["failed"]:
    assert failure["section"] == section
    assert failure["reason"] == "IndexError: broken on purpose"
  markdown = (path.parent / "report.md").read_text().replace("\\", "")
  own = markdown.partition(f"## {section}\n")[2].partition("\n## ")[0]
  reason = "IndexError: broken on purpose"
  assert f"{found['failed'][0]['part']} is missing: {reason}" in own
  assert reason in path.read_text()
  for file in ("volumes.csv", "summary.csv", "slices.json", *others):
    assert (path.parent / file).is_file()


def test_any_figure_may_fail(tmp_path):
  images = {"kd": np.ones((9, 9))}  # without a target
  path = report.write(tmp_path / "report", make_input(comparison_images=images))
  drawn = {picture.name for picture in (path.parent / "figures").iterdir()}
  names = ("attention_maps", "differences", "learning_curves", "mask")
  assert drawn == {f"{name}.{kind}" for name in names for kind in ("png", "pdf")}
  assert "the figure of comparison is missing: KeyError" in path.read_text()
  assert "comparison.png" not in path.read_text()


class TestParts:
  def test_the_first_failure_of_a_part_is_told(self):
    made = Parts()
    for text in ("one", "two"):
      found = made.make("Results", "a part", broken_with, ValueError(text), otherwise=3)
      assert found == 3
    (failure,) = made.failed
    assert str(failure) == "a part is missing: ValueError: one"
    assert made.make("Results", "another", str, 5, otherwise="") == "5"

  @pytest.mark.parametrize(
    "error",
    [
      KeyboardInterrupt(),
      SystemExit(1),
      Interrupted(15, "stopped"),
      OSError(errno.ENOSPC, "full"),
      OSError(errno.EIO, "broken"),
    ],
  )
  def test_what_stops_a_run_stops_a_report(self, error):
    with pytest.raises(type(error)):
      Parts().make("Results", "a part", broken_with, error, otherwise=None)

  def test_a_full_disk_is_no_failure_of_a_part(self):
    error = UserError("a.png", "no space left on the disk", "room")
    error.__cause__ = OSError(errno.ENOSPC, "full")
    with pytest.raises(UserError):
      Parts().make("Results", "a part", broken_with, error, otherwise=None)

  @pytest.mark.parametrize("error", [MemoryError("9 TB"), RecursionError(), OSError(2)])
  def test_other_errors_are_told(self, error):
    made = Parts()
    made.make("Results", "a part", broken_with, error, otherwise=None)
    assert made.failed[0].reason.startswith(type(error).__name__)


def broken_with(error):
  raise error


@pytest.mark.parametrize("repeats", [1, 2, 3])
@pytest.mark.parametrize("spread", [0.0, 1e-3])
def test_times_without_spread_have_no_test(repeats, spread):
  base = 1.0 + spread * np.arange(repeats) ** 2
  found = {"teacher": base, "kd": base / 2}
  inputs = make_input(timing=found, **BARE)
  _, kd = json.loads(json_text.dumps(report.analyse(inputs)["timing"]))
  tested = repeats > 1 and spread > 0
  assert kd["share"] == pytest.approx(0.5) and (kd["p"] is not None) == tested
  assert (kd["sd"] is None) == (repeats == 1)
  assert not inputs.parts.failed
  assert speed.blocks_of(report.analyse(inputs)["timing"], "")


def test_a_published_speed_up_stands_beside_the_measured_one():
  found = {"teacher": np.array([1.0, 1.2]), "kd": np.array([0.1, 0.12])}
  roles = dict(published_seconds={"teacher": 5.162, "kd": 0.145}, published_source="X")
  inputs = make_input(timing=found, **roles, **BARE)
  analysis = report.analyse(inputs)
  (table,) = speed.blocks_of(analysis["timing"], analysis["published_source"])
  assert table.header[-2:] == ("speed-up ↑", "published speed-up")
  assert [row[-2:] for row in table.rows] == [("", ""), ("10.0x", "35.6x")]
  assert table.note.endswith("Speed-up: over teacher. Published: X.")
  (bare,) = speed.blocks_of(report.analyse(make_input(timing=found))["timing"], "")
  assert bare.header == table.header[:-2]


@pytest.mark.parametrize(
  "shape", [(400, 6), (6, 400), (1, 1), (1, 9), (2, 2), (3000, 8)]
)
def test_images_of_any_shape_are_drawn(shape):
  rng = np.random.default_rng(0)
  images = {name: rng.random(shape) for name in ("input", "target", "kd")}
  figure = figures.comparison(images, metrics=(METRICS["psnr"],))
  assert np.prod(figure.get_size_inches() * figure.dpi) < 5e7
  assert figures.png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("subjects", [1, 2])
@pytest.mark.parametrize("value", [0.5, np.nan, np.inf])
def test_equal_and_undefined_values_make_a_whole_report(tmp_path, subjects, value):
  found = measured(METRICS)
  keep = {f"s{k}" for k in range(subjects)}
  records = ([r for r in rows if r["subject"] in keep] for rows in found[:2])
  found = tables.Tables(*records, METRICS)
  for record in found.records:
    record.update(dict.fromkeys(METRICS, value))
  inputs = make_input(tables=found, **BARE)
  report.write(tmp_path / "report", inputs)
  assert not inputs.parts.failed
  assert load(tmp_path / "report")["failed"] == []

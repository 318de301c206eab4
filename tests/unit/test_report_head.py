"""The head of a report claims no more than its sentences, and explains its names."""

import numpy as np
import pytest
from helpers.measured import BARE, OFFSETS, crossed, make_input, measure, normal

from kdmri_jax import report
from kdmri_jax.metrics import METRICS
from kdmri_jax.report import comparisons, content, headline, in_words, networks, wording
from kdmri_jax.report.rows import shown

STAGES = {
  "teacher": {"model": "large", "teacher": "", "start_from": "", "terms": {}},
  "student": {
    "model": "small",
    "teacher": "",
    "start_from": "",
    "epochs": 12,
    "terms": {},
  },
  "feature": {
    "model": "small",
    "teacher": "teacher",
    "start_from": "",
    "terms": {"a": {"loss": "attention_transfer", "weight": 1, "hint": ["x"]}},
  },
  "kd": {
    "model": "small",
    "teacher": "teacher",
    "start_from": "feature",
    "terms": {
      "target": {"loss": "l1", "weight": 0.5, "hint": []},
      "image": {"loss": "imitation", "weight": 0.5, "hint": ["image"]},
      "off": {"loss": "fsp", "weight": 0, "hint": ["y"]},
    },
  },
}


def tiles(subjects, **changes):
  """The key numbers of a report, and its first sentence."""
  inputs = make_input(subjects=subjects, **changes, **BARE)
  analysis = report.analyse(inputs)
  (answer,) = headline.blocks_of(inputs, analysis)
  return answer.numbers, analysis["answer"][0]


def alike(subjects):
  """Tables in which kd is as good as the student on average."""
  found = measure(OFFSETS, subjects)
  rng = np.random.default_rng(0)
  for records in (found.volumes, found.slices):
    student = [r["psnr"] for r in records if r["model"] == "student"]
    of_kd = (record for record in records if record["model"] == "kd")
    for record, value in zip(of_kd, student, strict=True):
      record["psnr"] = value + rng.normal(0, 1)
  return found


def test_slabs_of_one_head_are_told_before_any_difference():
  slabs = make_input(subjects=8, **BARE).dataset | {"unit": "slab of one head"}
  _, sentence = tiles(8, dataset=slabs)
  assert sentence.startswith("One head, cut into slabs, cannot show")


@pytest.mark.parametrize("subjects", [3, 8])
def test_without_a_claim_no_number_stands_at_the_head(subjects):
  (first, *_), sentence = tiles(subjects, tables=alike(subjects))
  assert sentence.startswith("No difference between kd and student can be claimed")
  value, label = first
  assert value == "no difference shown" and "includes zero" in label
  assert not any("gap" in text for text in label.split())


def test_too_few_units_are_told_at_the_head():
  (first, *_), sentence = tiles(2, tables=alike(2))
  assert "too few to judge by" in sentence
  assert first[0] == "too few" and "4 slices of 2 subjects" in first[1]


def test_a_claim_stands_at_the_head_with_its_interval():
  numbers, sentence = tiles(8)
  (value, label), (share, _), _ = numbers
  assert sentence.startswith(f"kd beats student by {value[1:-3]} dB PSNR [")
  assert value.startswith("+") and "95% interval [" in label and share.endswith("%")


@pytest.mark.parametrize(
  ("share", "ends", "known"),
  [
    (2.29, None, False),
    (0.96, None, False),
    (0.44, [0.37, 0.5], True),
    (1.1, [0.2, 2.1], False),
  ],
)
def test_an_uncertain_share_of_the_gap_is_nowhere(share, ends, known):
  gain = normal(0.4, 0.05, (1, 12), 0)
  pair = {**crossed(gain), "gap_closed": share, "gap_ci95": ends, "gap_seeds": 1}
  pair["gap_note"] = "no interval" if ends is None else None
  analysis = {"paired": [pair], "further": []}
  text = wording.sentence(pair, METRICS["psnr"])
  table, *_ = comparisons.main(analysis, METRICS)
  cell = table.rows[0][table.header.index("gap closed")]
  assert (wording.percent(share) in text) == (wording.percent(share) in cell) == known
  assert ("too uncertain" in text) == (cell == wording.ABSENT) == (not known)
  assert known or "uncertain" in table.note or "No interval" in table.note


@pytest.mark.parametrize(("subjects", "unit"), [(3, "slice"), (7, "volume")])
def test_the_table_shows_the_means_that_the_headline_compares(subjects, unit):
  inputs = make_input(subjects=subjects, **BARE)
  analysis = report.analyse(inputs)
  rows, found = shown(analysis)
  assert found == unit
  means = {row["model"]: row for row in rows}
  for pair in analysis["paired"]:
    difference = (means[pair[k]][pair["metric"]]["mean"] for k in ("a", "b"))
    assert pair["mean_difference"] == pytest.approx(np.subtract(*difference))
  table = report.format_table(rows, METRICS, found)
  assert table.splitlines()[0].endswith(f"{unit}s")
  first, *more = (
    *content.result_tables.first(inputs, analysis),
    *content.result_tables.further(inputs, analysis),
  )
  assert first.header[-1] == f"{unit}s"
  assert (len(more) == 2) == (unit == "slice")


def test_the_names_are_explained():
  inputs = make_input(config={"stages": STAGES})
  inputs.histories["feature"] = inputs.histories["kd"]
  (facts,) = in_words.blocks_of(inputs, report.analyse(inputs))
  words = dict(facts.items)
  assert words["zero_filled"].startswith("the input")
  assert words["teacher"] == "the large network, which teaches"
  assert words["student"] == "the small network, trained alone for 12 epochs"
  maps = "the teacher's attention maps (attention_transfer)"
  assert words["feature"] == f"the small network: learns {maps}"
  assert words["kd"] == (
    "the small network, distilled: learns the teacher's images "
    "(imitation) and the target (l1), after the stage feature"
  )
  assert {"HFN", "HFEN", "PSNR", "SSIM", "NMSE"} <= words.keys()


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    (
      {"kd": {"teacher": "", "teachers": {"a": "teacher", "b": "student"}}},
      {
        "kd": "the small network, distilled: learns each task's teacher's images "
        "(imitation) and the target (l1), after the stage feature",
        "student": "the small network, which teaches",
      },
    ),
    (
      {"kd": {"teacher": "teacher,student", "start_from": ""}},
      {
        "kd": "the small network, distilled: learns the mean of the teachers' images "
        "(imitation) and the target (l1)"
      },
    ),
    (
      {"student": {"start_from": "pretrained:/a/card.json"}},
      {
        "student": "the small network, trained alone for 12 epochs, beginning as "
        "pretrained:/a/card.json"
      },
    ),
  ],
)
def test_several_teachers_and_given_starts_in_words(changes, words):
  stages = {
    name: dict(stage, **changes.get(name, {})) for name, stage in STAGES.items()
  }
  inputs = make_input(config={"stages": stages})
  (facts,) = in_words.blocks_of(inputs, report.analyse(inputs))
  assert dict(facts.items).items() >= words.items()


def test_given_networks_are_named_with_what_is_known_of_them():
  there = {**STAGES["kd"], "model": "other", "start_from": ""}
  given = {
    "kd": report.GivenStage("a run", record={"stage": there}, taught_by=("teacher",)),
    "student": report.GivenStage("a file"),
    "teacher": report.GivenStage("images", has_network=False),
  }
  inputs = make_input(config={"stages": STAGES}, given=given)
  (facts,) = in_words.blocks_of(inputs, report.analyse(inputs))
  words = dict(facts.items)
  assert words["kd"] == (
    "the small network, distilled: learns the teacher's images (imitation) and the "
    "target (l1); given, not trained in this run, taught by teacher"
  )
  assert words["student"] == (
    "the small network; given, not trained in this run; its training is not known"
  )
  assert words["teacher"].endswith("; its network and its training are not known")


def test_maps_that_left_the_teachers_are_explained_where_they_are_shown():
  rng = np.random.default_rng(0)
  teacher = rng.random((2, 6, 5)) + 0.1
  away = np.stack([teacher[0] * 3, rng.random((6, 5))])
  maps = {"teacher": teacher, "kd": away, "feature": 2 * teacher}
  known = dict(stage="feature", hint=("a", "b"), guided=("c", "d"), taught=("kd",))
  one = [each[1] / np.linalg.norm(each[1]) for each in (teacher, away)]
  for released in ((), ("kd",)):
    shown_maps = report.Attention(maps=maps, released=released, **known)
    made = networks.attention(make_input(attention=shown_maps))
    assert len(made) == 2 + len(released)
  text = made[1].text
  assert "The last stage of kd does not ask for the teacher's maps any more" in text
  residue = f"{np.linalg.norm(one[0] - one[1]):.3f}"
  assert f"most in cascade 2, with a residue of {residue}; at the end of" in text
  assert "feature it was 0.000" in text

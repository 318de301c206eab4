"""The report's cautions about its data."""

import numpy as np
import pytest
from helpers.measured import BARE, load, make_input, measure

from kdmri_jax import config as config_lib
from kdmri_jax import report
from kdmri_jax.experiments import base
from kdmri_jax.report import other_causes, tables
from kdmri_jax.report.inputs import Budget

SLABS = {"source": "mni152", "unit": "slab of one head"}


@pytest.mark.parametrize(
  ("subjects", "unit", "words"),
  [
    (
      1,
      "slice",
      "there is only one subject. Slices of the same subject are not",
    ),
    (
      2,
      "slice",
      "there are only 2 subjects. Slices of the same subject are not",
    ),
    (7, "subject", "Intervals over 7 subjects assume that the differences are"),
    (10, "subject", ""),
  ],
)
def test_few_subjects_say_so(subjects, unit, words):
  found = report.analyse(make_input(("teacher", "student"), subjects))
  assert {pair["unit"] for pair in found["paired"]} == {unit}
  few = [t for t in found["cautions"] if "The unit is" in t or "Intervals over" in t]
  assert "too narrow" in "".join(few) or subjects > 1
  assert len(few) == bool(words) and all(words in text for text in few)


@pytest.mark.parametrize("subjects", [2, 7])
def test_what_is_no_subject_is_not_called_one(tmp_path, subjects):
  dataset = {**SLABS, "split_rule": "Drawn.", "subjects": {"train": ["a"]}}
  inputs = make_input(subjects=subjects, dataset=dataset, **BARE)
  folder = report.write(tmp_path / "report", inputs).parent
  found = load(folder)
  (caution,) = [text for text in found["cautions"] if text.startswith("Not subjects")]
  assert "slabs of one head are split and compared" in caution
  page = (folder / "report.md").read_text().replace(caution, "")
  page = page.replace("split by slab of one head, not by subject", "")
  assert "subject" not in page.partition("## Files")[0]
  assert "7 slabs of one head" in page or "2 slabs of one head" in page


def test_subjects_with_more_volumes_than_others_are_mentioned():
  found = measure(("teacher", "student"), subjects=8)
  words = "have different numbers of volumes"
  equal = report.analyse(make_input(tables=found))["cautions"]
  assert not any(words in text for text in equal)
  for record in found.records:
    record["subject"] = "s0" if record["volume"] == "v1" else record["subject"]
  unequal = report.analyse(make_input(tables=found))["cautions"]
  assert sum(words in text for text in unequal) == 1


def history(*psnr):
  return [{"event": "epoch", "validation": {"psnr": value}} for value in psnr]


@pytest.mark.parametrize(
  ("last", "words"),
  [((30.0, 30.04), ""), ((30.0, 30.4), "of kd by 0.20 dB. Longer"), ((), "")],
)
def test_trainings_that_have_not_converged_are_told(last, words):
  """The best PSNR counts, the mean over seeds, of networks that are compared."""
  runs = [history(28.0, 29.0, 30.0, 29.5, 29.0, 30.0, *last), history(*[30.0] * 8)]
  histories = {"kd": runs, "student": [history(*[29.0] * 7, 28.0)], "other": [runs[0]]}
  found = report.analyse(make_input(histories=histories))["cautions"]
  told = [text for text in found if text.startswith("Not converged")]
  assert len(told) == bool(words) and all(words in text for text in told)


def test_cautions_follow_the_data():
  measured = make_input(
    dataset={"source": "kdmri", "unit": "file", "simulated_kspace": False},
    evaluated_on="test",
  )
  cautions = " ".join(report.analyse(measured)["cautions"])
  assert "Shimron" not in cautions and "validation subjects" not in cautions
  simulated = " ".join(report.analyse(make_input())["cautions"])
  assert "Shimron" in simulated and "held-out subjects in data.test" in simulated
  study = make_input(config={"data": {"use_test": False}})
  assert "set data.use_test=True" in " ".join(report.analyse(study)["cautions"])
  assert "A note from the data." in simulated


@pytest.mark.parametrize(
  ("protocol", "words"),
  [
    ("slice", "omitted."),
    ("kdmri", "kept in the volumes' values, omitted from comparisons over slices."),
  ],
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
  assert caution == f"1 slice of 1 volume has no signal: {words}"
  (pair,) = [p for p in analysis["paired"] if p["metric"] == "psnr"]
  assert (pair["n"], pair["left_out"]) == (2, 1)


def test_a_report_on_another_source_says_what_was_trained_and_what_tested(tmp_path):
  there = {"trained_on": "acdc", "tested_on": "nifti (knees)", "unit": "file"}
  there["simulated_kspace"] = True
  known = {"source": "acdc", "unit": "subject", "simulated_kspace": False}
  inputs = make_input(dataset={**known, "test_source": there}, **BARE)
  folder = report.write(tmp_path / "report", inputs).parent
  text = (folder / "report.md").read_text()
  assert "were trained on acdc and are tested on nifti (knees); evaluated are" in text
  page = (folder / "index.html").read_text()
  assert "data: trained on acdc, tested on nifti (knees)" in page
  found = load(folder)["cautions"]
  assert any(text.startswith("Not subjects but files are split") for text in found)
  assert any(text.startswith("K-space was simulated") for text in found)


def test_files_of_a_test_source_are_not_called_subjects(tmp_path):
  """Subjects train, files are tested: each split has its own unit."""
  there = {"trained_on": "acdc", "tested_on": "nifti (knees)", "unit": "file"}
  known = make_input(**BARE).dataset | {"held_out_test": True, "unused_subjects": ["u"]}
  known["subjects"] = {**known["subjects"], "test": ["a", "b"]}
  known["test_source"] = there | {"simulated_kspace": True}
  inputs = make_input(dataset=known, evaluated_on="test", **BARE)
  folder = report.write(tmp_path / "report", inputs).parent
  methods = (folder / "methods.md").read_text()
  assert "30 subjects for training" in methods and "split by subject" in methods
  assert "2 files held out for the test" in methods
  claim = (folder / "claim.csv").read_text()
  assert "1 subject in no split" in claim.lower() and "evaluated: 7 files" in claim
  text = (folder / "report.md").read_text()
  assert "- subjects train: t0" in text and "- files test: a, b" in text
  assert known["subjects"]["test"] == ["a", "b"]


def compared(changes, **more):
  """The cautions on what other causes a gain has; stages and settings as changed."""
  made = config_lib.parse(base.get_config())
  values = config_lib.to_dict(made)
  for name, own in changes.items():
    if "augment" in own:
      own = {"augment": values["augment"] | own["augment"]}
    values["stages"].get(name, values).update(own)
  inputs = make_input(config=values, **more)
  found = report.analyse(inputs)["cautions"]
  return [text for text in found if "one of distillation alone" in text]


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({}, []),
    ({"kd": {"model": "wide"}}, ["kd is another network than student"]),
    (
      {"feature": {"optimiser": "muon"}},
      ["kd was trained with another optimiser than"],
    ),
    ({"feature": {"augment": {"flips": True}}}, ["with another augment than student"]),
    (
      {"student": {"augment": {"flips": True, "patch": [0, 0]}}},
      ["with another augment than student"],
    ),
    ({"kd": {"decay_epochs": 75}}, ["with another decay_epochs than student"]),
    ({"kd": {"decay_epochs": 1, "epochs": 150}, "student": {"decay_epochs": 1}}, []),
    (
      {"feature": {"start_from": "pretrained:/a/card.json"}},
      ["kd started from weights of pretrained:/a/card.json, unlike student"],
    ),
  ],
)
def test_other_causes_of_a_gain_are_told(changes, words):
  """A stage goes on with the weights of feature, so its optimisation counts, too."""
  found = compared(changes)
  assert len(found) == len(words)
  assert all(text in each for text, each in zip(words, found, strict=True))


def test_the_same_augmentation_may_be_the_experiments():
  own = {"augment": {"flips": True}}
  assert len(compared({"kd": own, "feature": own})) == 1
  assert not compared({"kd": own, "feature": own, "experiment": own})


def recorded(name, **changes):
  """A given stage whose record has the settings of the stage, but for changes."""
  values = config_lib.to_dict(config_lib.parse(base.get_config()))
  record = {**values, "stage": values["stages"][name] | {"start_from": ""} | changes}
  return report.GivenStage("a run", record=record)


@pytest.mark.parametrize(
  ("changes", "given", "words"),
  [
    ({"kd": {"model": "wide"}}, {"kd": recorded("kd")}, ["kd is another network than"]),
    (
      {"kd": {"model": "wide"}},
      {"kd": report.GivenStage("a file")},
      ["kd is another network than student", "It is not known how kd was trained: "],
    ),
    ({"student": {"optimiser": "muon"}}, {"student": recorded("student")}, []),
    (
      {},
      {"student": recorded("student", optimiser="muon")},
      ["kd was trained with another optimiser than student"],
    ),
    ({}, {"kd": recorded("kd"), "student": recorded("student")}, []),
    (
      {},
      {"kd": recorded("kd", start_from="feature")},
      ["It is not known how feature, before kd, was trained: "],
    ),
    (
      {},
      {"feature": report.GivenStage("a file")},
      ["It is not known how feature was trained: "],
    ),
    (
      {"student": {"model": "wide"}},
      {"student": report.GivenStage("images", has_network=False)},
      ["It is not known which network student is and how it was trained: "],
    ),
    ({}, {"teacher": report.GivenStage("a file")}, []),
  ],
)
def test_other_causes_of_given_networks_are_told(changes, given, words):
  """The networks are known, the training as far as its record tells."""
  found = compared(changes, given=given)
  assert len(found) == len(words)
  assert all(text in each for text, each in zip(words, found, strict=True))


def test_a_control_of_another_network_is_no_measure_of_distillation():
  """Of two distilled students the narrow one is not named with the gain."""
  values = config_lib.to_dict(config_lib.parse(base.get_config()))
  stages = values["stages"]
  stages["control"] = stages["student"]
  stages["kd_narrow"] = stages["kd"] | {"model": "narrow"}
  inputs = make_input(config=values, distilled=("kd", "kd_narrow"), control="control")
  epochs = {"student": 10, "control": 20, "kd": 20, "kd_narrow": 20}
  inputs.budgets.update({name: Budget(n, 0, 0.0) for name, n in epochs.items()})
  pairs = [
    dict(a=name, b=other)
    for name in ("kd", "kd_narrow")
    for other in ("student", "control")
  ]
  (text, *_) = other_causes.sentences(inputs, pairs)
  assert "The gain of distillation itself is the difference from control" in text
  assert text.startswith("The weights of kd have been trained for 20 epochs")

"""Methods paragraphs, checklist and references: what a run knows, in words."""

import csv
import dataclasses
import importlib
import re

import pytest
from helpers.measured import BARE, make_input

from kdmri_jax import config as config_lib
from kdmri_jax import losses, models, report
from kdmri_jax.data.sources import TRAINING
from kdmri_jax.distillation.methods import METHODS
from kdmri_jax.experiments import base
from kdmri_jax.report import claim, methods_text, references

EXPERIMENTS = {
  "demo": (),
  "knee_4x": ("reference",),
  "sft": ("acdc",),
  "super_resolution": ("calgary",),
  "model_based": ("brain_t1",),
  "task_based": ("brain_t1",),
  "pairs": (),
  "pretrained": ("cardiac_4x",),
  "levers": ("acdc_small",),
  "shrink": ("acdc_small",),
}
EPOCH = {"event": "epoch", "epoch": 1, "train": {"loss": 0.2}}
EPOCH["validation"] = {"loss": 0.3, "psnr": 21.0}


def run_of(config, **changes):
  """A report's input of this config, all of its stages trained for an epoch."""
  parsed = config_lib.parse(config)
  given = changes.get("given", {})
  histories = {name: [[EPOCH]] for name in parsed.pipeline if name not in given}
  bare = {**BARE, "histories": histories, "config": config_lib.to_dict(parsed)}
  return make_input(**{**bare, **changes})


def texts_of(config, **changes):
  inputs = run_of(config, **changes)
  return methods_text.paragraphs(inputs, report.analyse(inputs))


def test_the_published_pipeline_in_words():
  texts = texts_of(base.get_config())
  assert list(texts) == [
    *("Data", "Measurement", "Networks", "Training", "Evaluation", "Software")
  ]
  sizes = "30 subjects for training (240 slices), 1 subject for validation (8 slices)"
  assert f"{sizes}. They were split by subject. No subject was held" in texts["Data"]
  assert "simulated by the Fourier transform" in texts["Measurement"]
  assert "4.00-fold acceleration" in texts["Measurement"]
  assert "Network teacher: DC-CNN (cascades 5" in texts["Networks"]
  assert "), 141,765 parameters." in texts["Networks"]
  training = texts["Training"]
  assert (
    "Stage feature trained network student for 1 of 150 epochs to minimise "
    "attention_transfer (variant paper) of cascade_1/activation_2 ... "
    "cascade_5/activation_2 (5 layers) to cascade_1/activation_3 ... "
    "cascade_5/activation_3 (5 layers), taught by teacher; the weights with the lowest "
    "validation attention were kept." in training
  )
  both = "0.5 imitation (variant paper) of the images + 0.5 l1"
  assert f"to minimise {both}, taught by teacher" in training
  assert "taught by teacher, starting from the best weights of feature" in training
  assert (
    "All these stages: Adam, learning rate 0.0001, batches of 4 slices." in training
  )
  assert "Each stage was trained once, with seed 42." in training
  evaluation = texts["Evaluation"]
  assert "Measured on 7 volumes of 7 subjects: PSNR, SSIM" in evaluation
  assert "The intervals are t intervals over subjects." in evaluation
  assert "within ±0.1 dB PSNR" in evaluation
  assert "jax 0.10.2" in texts["Software"]


def test_stages_that_were_not_trained_are_not_said_to_be():
  config = base.get_config()
  texts = texts_of(
    config,
    given={"teacher": report.GivenStage("runs/other/teacher, seed 1")},
    seeds=(1, 2),
  )
  training = texts["Training"]
  assert "Stage teacher was not trained here; given: runs/other/teacher" in training
  assert "Stage teacher trained" not in training
  assert "Each stage trained here was trained with 2 seeds (1, 2)." in training
  assert "student, feature, kd: Adam, learning rate" in training
  assert "All these stages" not in training
  others = dict.fromkeys(config.pipeline, report.GivenStage("a run"))
  assert "was trained with" not in texts_of(config, given=others)["Training"]
  inputs = run_of(config, histories={"teacher": [[EPOCH]]})
  texts = methods_text.paragraphs(inputs, report.analyse(inputs))
  assert "Stage kd" not in texts["Training"]


def test_friendly_teachers_and_other_training():
  config = base.get_config()
  base.student_friendly_teacher(config, "paper")
  config.stages.kd.update(optimiser="muon", schedule="cosine", warmup=0.02, ema=0.999)
  config.stages.kd.augment.update(flips=True, gain=0.3)
  training = texts_of(config)["Training"]
  assert (
    "with branches of network student after each cascade (SFT-KD-Recon)" in training
  )
  assert (
    "kd: Muon, learning rate 0.0001 that falls to 0 as a cosine, after a rise over 2% "
    "of the steps, batches of 4 slices, averaged weights of decay 0.999, augmented by "
    "flips, gain 0.3." in training
  )
  assert "teacher, student, feature: Adam" in training


@pytest.mark.parametrize(
  ("changes", "record", "expected"),
  [
    ({"mask.kind": "central"}, {}, "Only its centre was kept, 1/4 of each axis"),
    ({"mask.kind": "full"}, {}, "It was fully sampled."),
    ({"mask.kind": "gaussian2d"}, {}, "a mask of random points of Gaussian density"),
    ({}, {"stored_kspace_used": True}, "K-space is that of the files."),
    (
      {"mask.kind": "full"},
      {"given_inputs": True},
      "The networks' inputs are images that were given beside the targets.",
    ),
    (
      {},
      {"coils": 8, "stored_kspace_used": True},
      "It has 8 coils, with sensitivities",
    ),
    (
      {"coils.count": 4},
      {"complex_file": None},
      "4 receiver coils were simulated (seed 0). Each image got a smooth phase that "
      "varies by up to 3 radians.",
    ),
    (
      {"coils.count": 4},
      {"test_source": {"coils": 8, "stored_kspace_used": True}},
      "4 receiver coils were simulated (seed 0). K-space of the test is that of the "
      "files. It has 8 coils, with sensitivities estimated by ESPIRiT.",
    ),
  ],
)
def test_measurements_in_words(changes, record, expected):
  config = base.get_config()
  config.update_from_flattened_dict(changes)
  inputs = run_of(config)
  inputs = dataclasses.replace(inputs, dataset={**inputs.dataset, **record})
  text = " ".join(methods_text.measurement(inputs, config_lib.parse(config)))
  assert expected in text
  if record.get("given_inputs"):
    assert text == expected


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_kind_of_experiment_has_methods_and_references(name):
  module = importlib.import_module(f"kdmri_jax.experiments.{name}")
  config = module.get_config(*EXPERIMENTS[name])
  inputs = run_of(config)
  analysis = report.analyse(inputs)
  text = methods_text.markdown(inputs, analysis)
  assert text.count("\n## ") == 6 and "None" not in text
  assert "  " not in text and ".." not in text.replace(" ... ", "")
  for stage in config.pipeline:
    assert f"Stage {stage} trained network" in text
  assert len(claim.items(inputs, analysis)) == 44
  bibtex = references.bibtex(references.keys(inputs))
  assert bibtex.count("\n@") == len(references.keys(inputs))


def test_the_references_are_those_of_the_run():
  config = base.get_config()
  found = references.keys(run_of(config))
  assert found[:2] == ["kdmri_jax", "murugesan2020kdmri"]
  assert {"schlemper2018dccnn", "zagoruyko2017attention", "kingma2015adam"} <= {*found}
  assert {"wang2004ssim", "ravishankar2011hfen"} <= {*found}
  assert not {"gayathri2023sft", "bernard2018acdc", "kim2016vdsr"} & {*found}
  base.student_friendly_teacher(config, "paper")
  config.data.update(source="acdc", root="x")
  more = {*references.keys(run_of(config))} - {*found}
  assert more == {"gayathri2023sft", "bernard2018acdc"}


def test_every_method_network_and_data_set_has_its_papers():
  assert {*references.LOSSES} == {*METHODS, *losses.PIXEL_LOSSES, losses.PERCEPTUAL}
  assert {*references.NETWORKS} == {*models.NETWORKS} == {*methods_text.NETWORKS}
  files = {"h5", "nifti", "npz", "npy", "kdmri", "bart", "ismrmrd", "dicom"}
  files |= {"images", "arrays", "prepared", "phantom"}
  assert {*references.SOURCES} == {*TRAINING} - files
  entries = references.entries_by_key()
  tables = references.LOSSES, references.NETWORKS, references.SOURCES
  named = {key for table in tables for keys in table.values() for key in keys}
  assert named <= {*entries}
  for key, entry in entries.items():
    assert entry.count("{") == entry.count("}"), key
    assert {"title", "author"} <= {*re.findall(r"^  (\w+) = ", entry, re.MULTILINE)}, (
      key
    )
    assert entry.isascii(), key


def test_the_checklist_holds_what_the_run_knows(tmp_path):
  inputs = run_of(base.get_config())
  report.write(tmp_path, inputs)
  with (tmp_path / "claim.csv").open() as file:
    rows = list(csv.DictReader(file))
  assert [row["number"] for row in rows] == [str(k) for k in range(1, 45)]
  answers = {int(row["number"]): row["answer"] for row in rows}
  yours = {k for k, answer in answers.items() if answer == claim.YOURS}
  assert yours == {2, 3, 4, 5, 6, 8, 11, 15, 34, 36, 41, 44}
  assert "30 subjects for training" in answers[19] and answers[20].startswith(
    "by subject"
  )
  assert "of the validation split, which also chose the weights" in answers[32]
  assert answers[37].startswith("kd beats student")
  assert answers[39].startswith("worst slice of kd: PSNR ")
  page = (tmp_path / "index.html").read_text()
  methods = (tmp_path / "methods.md").read_text()
  for heading, text in methods_text.paragraphs(inputs, report.analyse(inputs)).items():
    assert f"## {heading}\n\n{text}\n" in methods
  assert "Checklist for Artificial Intelligence in Medical Imaging" in page
  assert 'href="methods.md"' in page and 'href="claim.csv"' in page

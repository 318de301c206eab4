"""Networks under shifted conditions: their values, what is kept, what fails."""

import dataclasses

import jax
import nibabel as nib
import numpy as np
import pytest
from helpers.measured import BARE, make_input, make_records
from helpers.tiny import edited, make

from kdmri_jax import report
from kdmri_jax.config import MaskConfig, TaskConfig
from kdmri_jax.config.data import OtherSourceConfig
from kdmri_jax.config.robustness import RobustnessConfig
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.inference import reconstruct
from kdmri_jax.metrics import METRICS
from kdmri_jax.physics.masks.describe import phase_encode_axis
from kdmri_jax.report import robustness, shifted, stability, tables
from kdmri_jax.report.parts import ROBUSTNESS, Parts
from kdmri_jax.report.results import Finished
from kdmri_jax.training.step import make_predict

pytestmark = pytest.mark.usefixtures("quick_compilation")

CHOSEN = {name: METRICS[name] for name in ("psnr", "ssim")}


def experiment(folder, evaluation=(), **changes):
  changes |= {"evaluation": {"models": ("student", "kd"), **dict(evaluation)}}
  return make(folder, **{"devices": 1, **changes})


def untrained(pipeline, names=("student",)):
  """The networks as if they had been trained: with other weights each."""
  params = {
    name: jax.device_get(pipeline.for_seed(k).initial_params(name))
    for k, name in enumerate(names)
  }
  return Finished(pipeline, params, {})


def values(measured, model, metric="psnr"):
  return [
    r[metric]
    for r in measured.volumes
    if (r["model"], r["protocol"]) == (model, "kdmri")
  ]


@pytest.mark.parametrize(
  ("asked", "setting", "name"),
  [
    ({"axes": (1,)}, {"mask": {"axis": 1}}, "phase-encode axis 1"),
    ({"snr": (10.0,)}, {"noise": {"snr": (10.0, 10.0)}}, "SNR 10"),
  ],
)
def test_a_condition_has_the_values_of_a_run_with_that_setting(
  tmp_path, asked, setting, name
):
  pipeline = experiment(tmp_path, {"robustness": asked})
  finished = untrained(pipeline)
  parts = Parts()
  found = robustness.measure([finished], CHOSEN, parts)
  assert list(found) == [name] and not parts.failed
  there = experiment(tmp_path / "other", **setting)
  predict = make_predict(there.models["student"], there.devices)
  parts, acquisitions = there.dataset.test.parts, there.dataset.acquisitions
  params = finished.params["student"]
  noisy = there.for_task("").dataset.test.parts
  images = reconstruct.run(predict, params, noisy, acquisitions, 4, "")
  direct = tables.Tables([], [], CHOSEN)
  for volume, span, image in reconstruct.by_volume(images, there.dataset.test):
    target = parts[span.part].target[span.start : span.stop, ..., 0]
    for model, result in (("zero_filled", image.zero_filled), ("student", image.image)):
      label = {"model": model, "volume": volume.name, "subject": volume.subject}
      tables.add_volume(direct, label, target, result[..., 0], where="test")
  for model in ("zero_filled", "student"):
    for metric in CHOSEN:
      here, other = (values(each, model, metric) for each in (found[name], direct))
      np.testing.assert_allclose(here, other, rtol=1e-5)


@pytest.mark.slow
def test_another_source_is_measured_and_must_not_be_the_training_data(tmp_path):
  phantom = {"family": "knee", "subjects": 2, "slices": 2, "size": (20, 28), "seed": 9}
  asked = {"sources": {"knee": {"source": "phantom", "phantom": phantom}}}
  pipeline = experiment(tmp_path, {"robustness": asked})
  found = robustness.measure([untrained(pipeline)], CHOSEN, parts := Parts())
  assert not parts.failed and len(values(found["knee"], "student")) == 2
  assert min(values(found["knee"], "student")) > 5
  phantom.update(family="brain", seed=0)
  pipeline = experiment(tmp_path, {"robustness": asked})
  where = "config.evaluation.robustness.sources.knee.phantom.seed: found 0"
  with pytest.raises(UserError, match=where):
    robustness.check(pipeline)


def test_networks_get_the_data_consistency_of_the_masks(tmp_path):
  own = {"network": "dccnn", "cascades": 2, "features": 4, "consistency": "line0"}
  models = {"student": {**own, "convolutions": 3}}
  pipeline = experiment(tmp_path, {"robustness": {"axes": (1,)}}, models=models)
  (condition,) = robustness.conditions(pipeline)
  (measured,) = shifted.prepare(pipeline, condition).acquisitions.values()
  assert phase_encode_axis(measured.masks) == 1
  model = pipeline.models["student"]
  assert model.consistency == "line0"
  assert shifted.network(model, measured) == model.clone(consistency="line1")


@pytest.mark.slow
def test_perturbations_hurt_and_the_values_are_kept(tmp_path):
  asked = {"perturbations": (0.05,), "steps": 4}
  pipeline = experiment(tmp_path, {"robustness": asked})
  finished = untrained(pipeline)
  found = robustness.measure([finished], CHOSEN, Parts())
  random, worst = found.values()
  assert not values(worst, "zero_filled") and values(random, "zero_filled")
  lost = np.subtract(values(random, "student"), values(worst, "student"))
  assert np.all(lost > 0.05), lost

  def refuse(*_):
    raise RuntimeError("measured again")

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(shifted, "make_predict", refuse)
    (path,) = tmp_path.glob("seed_*/student/robustness/worst_perturbation_of_5_.json")
    with edited(path) as record:  # a file is read again ...
      record["volumes"][0]["psnr"] = "inf"
    again = robustness.measure([finished], CHOSEN, Parts())
    assert again["random perturbation of 5%"] == random
    assert again["worst perturbation of 5%"].volumes[0]["psnr"] == np.inf
    with edited(path) as record:  # ... unless it is of something else
      record["measured_with"]["weights"] = "other"
    robustness.measure([finished], CHOSEN, parts := Parts())
  (failure,) = parts.failed
  assert str(failure).startswith("student under worst perturbation of 5% is missing")


@pytest.mark.slow
def test_a_network_that_fails_is_told_and_the_others_are_measured(tmp_path):
  pipeline = experiment(tmp_path, {"robustness": {"mask_seeds": (1,)}}, devices=2)
  finished = untrained(pipeline)
  params = finished.params
  params["student"] = jax.tree.map(lambda x: x + np.nan, params["student"])
  found = robustness.measure([finished], CHOSEN, parts := Parts())
  (failure,) = parts.failed
  assert failure.section == ROBUSTNESS and "NaN or infinite" in failure.reason
  assert failure.part == "student under mask of seed 1"
  models = {r["model"] for r in found["mask of seed 1"].volumes}
  assert models == {"zero_filled"}


def own_task(**mask):
  return TaskConfig(MaskConfig(**mask))


def test_every_value_is_a_condition_and_changes_one_property():
  asked = RobustnessConfig(
    accelerations=(4.0, 8.0),
    mask_seeds=(0, 3),
    axes=(0, 1),
    snr=(20.0,),
    perturbations=(0.01,),
    steps=5,
  )
  found = {each.name: each for each in shifted.conditions(own_task(), asked)}
  assert list(found) == [
    *("8x", "mask of seed 3", "phase-encode axis 1", "SNR 20"),
    *("random perturbation of 1%", "worst perturbation of 1%"),
  ]
  assert found["8x"].task == own_task(acceleration=8.0)
  assert found["SNR 20"].task.mask == own_task().mask
  assert found["SNR 20"].task.noise.snr == (20.0, 20.0)
  sizes = [(each.size, each.steps) for each in found.values()]
  assert sizes == [(0, 0)] * 4 + [(0.01, 0), (0.01, 5)]
  assert shifted.conditions(own_task(), RobustnessConfig()) == []


def test_masks_without_the_property_are_refused(tmp_path):
  asked = RobustnessConfig(axes=(1,))
  with pytest.raises(ArgumentError, match=r"axes: found .* 'gaussian2d' have no axis"):
    shifted.conditions(own_task(kind="gaussian2d"), asked)
  asked = RobustnessConfig(sources={"heart": OtherSourceConfig()})
  with pytest.raises(ArgumentError, match=r"sources.heart.source: found none"):
    shifted.conditions(own_task(), asked)
  pipeline = experiment(tmp_path, {"robustness": {"accelerations": (12.0,)}})
  with pytest.raises(UserError, match=r"12x, mask.centre_lines: found 4"):
    robustness.check(pipeline)


def shifted_input(gain, subjects=7):
  """A report's input; `gain`: condition -> change of kd's values."""
  base = {name: np.linspace(28, 30, subjects) for name in ("teacher", "student")}
  base["kd"] = base["student"] + 0.2 + 0.01 * np.arange(subjects)

  def measured(change):
    own = {**base, "kd": base["kd"] + change}
    records = make_records(own)
    volumes = [r for r in records if "slice" not in r]
    slices = [r for r in records if "slice" in r]
    return tables.Tables(volumes, slices, CHOSEN)

  found = {name: measured(change) for name, change in gain.items()}
  return make_input(("teacher", "student", "kd"), tables=measured(0), robustness=found)


def test_changes_are_differences_of_differences():
  noise = np.random.default_rng(0).normal(0, 0.05, 7)
  inputs = shifted_input({"8x": -0.5 + noise, "SNR 10": noise - noise.mean()})
  found = report.analyse(inputs)["robustness"]
  assert found["networks"] == ["teacher", "student", "kd"]
  assert [row["condition"] for row in found["rows"]] == [stability.OWN, "8x", "SNR 10"]
  change = found["rows"][1]["changes"][0]
  assert (change["a"], change["b"], change["metric"]) == ("kd", "student", "psnr")
  np.testing.assert_allclose(change["mean_difference"], np.mean(-0.5 + noise))
  np.testing.assert_allclose(change["differences"], -0.5 + noise)
  assert change["verdict"] == "worse"
  difference = found["rows"][1]["paired"][0]["mean_difference"]
  np.testing.assert_allclose(difference, 0.23 - 0.5 + noise.mean())
  difference, over = "the PSNR difference kd \u2212 student", "(7 subjects)"
  assert found["sentences"][:2] == [
    f"Under 8x: {difference} is less favourable to kd than without the shift {over}.",
    f"Under SNR 10: no change of {difference} can be claimed {over}.",
  ]


def test_few_subjects_and_other_images_claim_nothing():
  inputs = shifted_input({"8x": np.full(3, -0.5)}, subjects=3)
  tables_ = inputs.robustness["8x"]
  renamed = [dict(row, subject=f"other {row['subject']}") for row in tables_.records]
  other = tables.Tables(
    [r for r in renamed if "slice" not in r],
    [r for r in renamed if "slice" in r],
    CHOSEN,
  )
  inputs = dataclasses.replace(inputs, robustness={"8x": tables_, "heart": other})
  first, second, *_ = report.analyse(inputs)["robustness"]["sentences"]
  assert first.startswith("Under 8x: a change of the PSNR difference kd \u2212 student")
  assert first.endswith("cannot be judged by so few units (3 slices of 3 subjects).")
  assert second.startswith("heart: No difference between kd and student can be claimed")


def test_files_of_another_source_are_not_called_subjects():
  """Their unit and their notes are the source's, and equal names are no change."""
  inputs = shifted_input({"8x": np.full(6, -0.5), "heart": np.full(6, -0.5)}, 6)
  source = {"unit": "file", "notes": ["A zero."], "simulated_kspace": True}
  inputs.robustness["heart"] = inputs.robustness["heart"]._replace(source=source)
  found = report.analyse(inputs)
  first, *_, last = (t for t in found["robustness"]["sentences"] if "teacher" not in t)
  assert first.endswith("(6 subjects).")
  assert last.startswith("heart: ") and "over 6 files" in last
  told = [text for text in found["cautions"] if "heart" in text]
  assert [text.partition(".")[0] for text in told] == [
    "heart: Intervals over 6 files assume that the differences are normally "
    "distributed, which so few cannot show",
    "heart: A zero",
    "heart: Not subjects but files are compared",
  ]
  assert not any("Not subjects" in t for t in found["cautions"] if t not in told)


def test_the_unit_of_a_source_is_that_of_its_volumes(tmp_path):
  for name in ("p1_s1", "p1_s2", "p2_s1"):
    image = np.random.default_rng(len(name)).random((24, 20, 2)) + len(name)
    nib.save(nib.Nifti1Image(image, np.eye(4)), tmp_path / f"{name}.nii")
  nifti = {"source": "nifti", "root": str(tmp_path)}
  named = nifti | {"subject_pattern": "(p[0-9])"}
  asked = {"sources": {"files": nifti, "named": named}}
  pipeline = experiment(tmp_path / "run", {"robustness": asked})
  conditions = {c.name: c for c in robustness.conditions(pipeline)}
  found = {k: shifted.prepare(pipeline, c).source for k, c in conditions.items()}
  assert {k: source["unit"] for k, source in found.items()} == {
    "files": "file",
    "named": "subject",
  }


def test_the_report_has_the_part_only_if_it_was_asked_for(tmp_path):
  plain = report.write(tmp_path / "plain", make_input(**BARE))
  assert ROBUSTNESS not in plain.read_text()
  assert not plain.with_name("robustness.csv").exists()
  inputs = dataclasses.replace(shifted_input({"8x": np.full(7, -0.5)}), **BARE)
  path = report.write(tmp_path / "shifted", inputs)
  markdown = path.with_name("report.md").read_text()
  section = markdown.partition(f"## {ROBUSTNESS}")[2].partition("\n## ")[0]
  assert "| 8x |" in section and "kd \u2212 student" in section
  assert path.with_name("robustness.csv").read_text().startswith("condition,model")

"""Metrics without networks: records, comparisons and reports of made-up results."""

import dataclasses
import json

import numpy as np
import pytest

from kdmri_jax import config as config_lib
from kdmri_jax import report
from kdmri_jax.config.schema import EvaluationConfig
from kdmri_jax.experiments import base
from kdmri_jax.metrics import METRICS
from kdmri_jax.report import paired, tables, wording
from kdmri_jax.report.shown_slices import ShownSlice

BARE = {
  **dict.fromkeys(("mask_image", "comparison_images", "attention")),
  "slices": (),
  "histories": {},
  "seconds": {},
}
OFFSETS = {"zero_filled": 0.3, "teacher": 0.03, "student": 0.06, "kd": 0.05}


def normal(mean, sd, shape, seed):
  """Normal numbers of this shape, the same for the same seed."""
  return mean + sd * np.random.default_rng(seed).standard_normal(shape)


def make_records(values, *, metric="psnr", volumes_each=1):
  """Records of models; `values`: model -> [subjects], or [subjects, slices]."""
  records = []
  for model, rows in values.items():
    for index, row in enumerate(rows):
      for volume in range(volumes_each):
        head = {
          "model": model,
          "subject": f"s{index:02d}",
          "volume": f"s{index:02d}_{volume}",
          "protocol": "kdmri",
          **dict.fromkeys(METRICS, 0.5),
        }
        mean = float(np.mean(row))
        records.append({**head, metric: mean, "empty_slices": 0})
        for number, value in enumerate(np.atleast_1d(row)):
          records.append({**head, metric: float(value), "slice": number})
  return records


def seeded(values, metric="psnr"):
  """Records of several seeds; `values`: model -> [seeds, subjects]."""
  records = []
  for model, rows in values.items():
    for seed, row in enumerate(rows):
      found = make_records({model: row}, metric=metric)
      records += [{**record, "seed": seed} for record in found]
  return records


def crossed(gain, **options):
  """The comparison of two models whose differences are `gain` [seeds, subjects]."""
  records = seeded({"kd": 30 + gain, "student": 30 + 0 * gain})
  return paired.paired(records, "kd", "student", "psnr", **options)


def sentence(pair):
  """The report's sentence on a pair."""
  return wording.sentence(pair, METRICS[pair["metric"]])


def measure(models, subjects=7, metrics=METRICS):
  """Tables of real metrics on small random volumes."""
  rng = np.random.default_rng(0)
  found = tables.Tables([], [], metrics)
  for index in range(subjects):
    target = rng.random((2, 16, 12))
    for model in models:
      noise = OFFSETS[model] * rng.standard_normal(target.shape)
      label = {"model": model, "volume": f"v{index}", "subject": f"s{index}"}
      tables.add_volume(found, label, target, target + noise, where="test")
  return found


def make_input(models=tuple(OFFSETS), subjects=7, **changes):
  """A report's input with everything, one seed.

  `changes` replace its fields, or those of its `roles`.
  """
  rng = np.random.default_rng(1)
  images = {name: rng.random((16, 12)) for name in ("input", "target", *models[1:])}
  epoch = {"event": "epoch", "epoch": 1, "train": {"loss": 0.2}, "best": True}
  epoch["validation"] = {"loss": 0.3, "psnr": 21.0}
  parameters = {"teacher": 141765, "student": 49285, "kd": 49285}
  inputs = report.ReportInput(
    title="Brain <T1> & friends",
    roles=EvaluationConfig(teacher="teacher", student="student", distilled=("kd",)),
    tables=measure(models, subjects),
    dataset={
      "source": "nifti",
      "unit": "subject",
      "simulated_kspace": True,
      "subjects": {"train": [f"t{i}" for i in range(30)], "validation": ["s0"]},
      "slices": {"train": 240, "validation": 8},
      "notes": ["A note from the data."],
    },
    evaluated_on="validation",
    mask={"kind": "cartesian", "acceleration": 4.0},
    parameters={k: n for k, n in parameters.items() if k in models},
    config=config_lib.to_dict(config_lib.parse(base.get_config())),
    environment={"jax": "0.10.2"},
    seeds=(42,),
    histories={name: [[epoch]] for name in models[1:]},
    seconds={name: 61.0 for name in models[1:]},
    mask_image=np.eye(16, 12),
    comparison_images=images,
    slices=[
      ShownSlice("s0", "v0", 0, "", images),
      ShownSlice(
        "s1", "v1", 1, "lowest PSNR of kd", {**images, "kd": images["target"]}
      ),
    ],
    attention=report.Attention(
      maps={name: rng.random((2, 16, 12)) for name in models[1:]},
      stage="feature",
      hint=("cascade_1/activation_3", "cascade_2/activation_3"),
      guided=("cascade_1/activation_2", "cascade_2/activation_2"),
      taught=("kd",),
    ),
  )
  of_roles = {k: changes.pop(k) for k in set(changes) - vars(inputs).keys()}
  roles = dataclasses.replace(inputs.roles, **of_roles)
  return dataclasses.replace(inputs, roles=roles, **changes)


def load(folder):
  """report.json of a folder; fails where it holds NaN or infinity."""
  text = (folder / "report.json").read_text()
  return json.loads(text, parse_constant=pytest.fail)

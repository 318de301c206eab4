"""What the report says of its data before a number is quoted."""

import numpy as np
import pytest
from measured import make_input

from kdmri_jax.evaluation import report, tables


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

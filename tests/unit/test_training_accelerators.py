"""Training steps in the form that they have on a GPU or a TPU, without one.

They are lowered for it, so what XLA is given there can be read: no C++ of this package,
each convolution as one operation, and products as precise as the network's name says.
"""

import collections
import re

import jax
import numpy as np
import pytest
from helpers.small_step import make, small_problem, small_stage

ROWS = np.array([[0, 3], [7, 1]])


def lowered(platform, stage_name, precision="float32"):
  """The text of each compiled function of a stage."""
  stage = small_stage("paper", stage_name)
  slices, acquisition, models, params = small_problem(features=32)
  models = {role: model.clone(precision=precision) for role, model in models.items()}
  steps, state, teacher = make(
    stage, models, params, slices, acquisition, jax.devices()[:1]
  )
  many = (state, teacher, slices, ROWS, acquisition)
  arguments = dict.fromkeys(["train_many", "validate_many"], many)
  arguments |= dict.fromkeys(["train", "audit"], (state, teacher, slices, acquisition))
  if stage.teacher:
    arguments["teach"] = (teacher, slices, acquisition)
  return {
    name: jax.export.export(getattr(steps, name), platforms=[platform])(
      *given
    ).mlir_module()
    for name, given in arguments.items()
  }


def convolutions(text):
  """How many there are of each precision and type of the operands."""
  lines = [line for line in text.splitlines() if "stablehlo.convolution" in line]
  found = collections.Counter()
  for line in lines:
    precisions = re.findall(r"#stablehlo<precision (\w+)>", line)
    kinds = {text.split("x")[-1] for text in re.findall(r"tensor<([^>]*)>", line)}
    found[*sorted({*precisions}), *sorted(kinds)] += 1
  return found


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["cuda", "rocm", "tpu"])
@pytest.mark.parametrize("stage", ["teacher", "feature", "kd"])
def test_accelerators_are_given_plain_convolutions(platform, stage):
  for name, text in lowered(platform, stage).items():
    assert "kdmri_con" not in text
    assert set(convolutions(text)) == {("HIGHEST", "f32")}, name


def test_a_step_computes_no_convolution_twice():
  """Two cascades of 3: forward, and for each the gradients of kernel and image."""
  found = convolutions(lowered("cuda", "student")["train_many"])
  assert found.total() == 6 + 6 + 6 - 1  # no gradient of the first image is needed


def test_the_gradient_of_a_relu_does_not_ask_whether_its_result_is_positive():
  """XLA would ask that of what came before the ReLU, and keep it.

  A GPU's convolutions could then not apply the ReLU themselves.
  """
  text = lowered("cuda", "teacher")["train_many"]
  hidden = [
    line for line in text.splitlines() if "compare" in line and "x32xf32" in line
  ]
  assert len(hidden) == 2 * 4
  assert all(re.search(r"compare +NE", line) for line in hidden)


@pytest.mark.parametrize(
  ("precision", "expected"),
  [("tensorfloat32", ("HIGH", "f32")), ("bfloat16", ("HIGHEST", "bf16"))],
)
def test_precision_by_name(precision, expected):
  for text in lowered("cuda", "feature", precision).values():
    assert set(convolutions(text)) == {expected}

"""Training steps in the form that they have on a GPU or a TPU, without one.

They are lowered for it, so what XLA is given there can be read: no C++ of this package,
each convolution as one operation, and products as precise as the network's name says.
"""

import collections
import re

import jax
import jaxlib
import numpy as np
import pytest
from helpers.marks import slow
from helpers.small_step import make, small_problem, small_stage

from kdmri_jax.ops import convolution

pytestmark = pytest.mark.usefixtures("quick_compilation")

ROWS = np.array([[0, 3], [7, 1]])


def lowered(platform, stage_name, precision="float32", only=None):
  """The text of each compiled function of a stage, or of one."""
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
  triton = jax.export.DisabledSafetyCheck.custom_call("__gpu$xla.gpu.triton")
  options = {"platforms": [platform], "disabled_checks": [triton]}
  return {
    name: jax.export.export(getattr(steps, name), **options)(*given).mlir_module()
    for name, given in arguments.items()
    if only in (None, name)
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


@pytest.mark.parametrize(
  "precision", ["tensorfloat32", slow("bfloat16"), slow("float32")]
)
def test_a_step_of_pallas_kernels(precision, monkeypatch):
  """One for each convolution, its input's gradient and its kernel's; little beside.

  No activation is put into another layout, and none is summed for a bias.
  """
  if jaxlib.version.__version_info__ > (0, 10, 2):
    pytest.skip("later releases compile the kernels when they lower them")
  monkeypatch.setenv(convolution.GPU, "pallas")
  [text] = lowered("cuda", "student", precision, "train_many").values()
  lines = [re.sub('ir = ".*?", name', "name", line) for line in text.splitlines()]
  calls = [line for line in lines if "@__gpu$xla.gpu.triton" in line]
  found = collections.Counter(re.search(r'name = "(\w+)"', call)[1] for call in calls)
  assert found == {
    "kdmri_convolve_from_few": 2 + 2,  # of two cascades: 1->32, and back to the image
    "kdmri_convolve_between": 2 + 2,
    "kdmri_convolve_to_few": 2 + 1,  # no gradient of the first image is needed
    "kdmri_gradient_sums_of_few": 2 + 2,
    "kdmri_gradient_sums_between": 2,
  }
  wide = "x16x12x32x", "<384x32x"  # activations, as images and as flat pixels
  rest = [line for line in lines if any(w in line for w in wide) and line not in calls]
  operations = set(re.findall(r"= stablehlo\.(\w+)", "\n".join(rest)))
  assert operations <= {"reshape"}
  assert not convolutions(text)

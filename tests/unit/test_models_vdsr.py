"""VDSR: size, names, golden input, outputs, attention maps and loss, import."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdmri_jax import interop
from kdmri_jax.distillation import METHODS
from kdmri_jax.losses import pixel
from kdmri_jax.models import features
from kdmri_jax.models.vdsr import VDSR
from kdmri_jax.physics.masks import recipes
from kdmri_jax.physics.undersample import undersample

MIDDLE = {"teacher": "cnn/activation_6", "student": "cnn/activation_4"}


@pytest.fixture
def numbers(golden):
  return golden("vdsr_64x64")


def run(numbers, role):
  weights = {k.split("/")[1]: v for k, v in numbers.items() if k.startswith(f"{role}/")}
  model, variables = interop.from_kdmri_state_dict(weights)
  image = jnp.asarray(numbers["low_res"])[..., None]
  outputs, sown = features.apply(model, variables["params"], image, None)
  return model, outputs.image, sown


@pytest.mark.parametrize(
  ("convolutions", "expected"), [(11, 333_569), (7, 185_857), (20, 665_921)]
)
def test_published_parameter_counts(convolutions, expected):
  model = VDSR(convolutions=convolutions)
  image = jnp.zeros((1, 4, 4, 1))
  params = jax.eval_shape(model.init, jax.random.key(0), image)["params"]
  assert features.count_parameters(params) == expected


def test_golden_low_resolution(numbers):
  target = jnp.asarray(numbers["target"])[..., None]
  image, _ = undersample(target, recipes.central((64, 64), 4.0))
  np.testing.assert_allclose(image[..., 0], numbers["low_res"], atol=1e-6)


@pytest.mark.parametrize(("role", "convolutions"), [("teacher", 11), ("student", 7)])
def test_golden_outputs_and_attention(numbers, role, convolutions):
  model, image, sown = run(numbers, role)
  assert model == VDSR(convolutions=convolutions)
  np.testing.assert_allclose(image[..., 0], numbers[f"out_{role}"], atol=1e-6)
  attention = jnp.square(sown[MIDDLE[role]]).sum(axis=-1)
  np.testing.assert_allclose(attention, numbers[f"attn_{role}"], rtol=1e-4, atol=1e-6)


def test_golden_losses(numbers):
  (_, _, teacher), (_, image, student) = (run(numbers, role) for role in MIDDLE)
  method = METHODS["attention_transfer"]["reference"]
  hint, guided = (
    method.represent((sown[MIDDLE[role]],))
    for role, sown in (("teacher", teacher), ("student", student))
  )
  value = method.distance(guided, hint)
  assert value == pytest.approx(float(numbers["loss_at_reference"]), rel=1e-5)
  l1 = pixel.l1(image, jnp.asarray(numbers["target"])[..., None]).mean()
  assert l1 == pytest.approx(float(numbers["loss_student_l1"]), rel=1e-5)


def test_other_channels_are_refused():
  with pytest.raises(ValueError, match="expected"):
    VDSR(convolutions=3).init(jax.random.key(0), jnp.zeros((1, 8, 8, 2)))

"""The public distillation methods, as functions of arrays."""

import numpy as np
import pytest
from helpers import distilling

import kdmri_jax as kd
from kdmri_jax.distillation import METHODS
from kdmri_jax.errors import ArgumentError

pytestmark = pytest.mark.usefixtures("quick_compilation")

rng = np.random.default_rng(0)


@pytest.mark.parametrize("name", ["recon_48x40_rows", "recon_36x50_cols"])
def test_distillation_gives_the_golden_numbers(golden, name):
  numbers = golden(name)
  student, teacher = (
    # A layer of one channel whose attention map, its square, is the golden one.
    [np.sqrt(numbers[f"attn_{role}_{c}"])[..., None] for c in range(1, 6)]
    for role in ("student", "teacher")
  )
  images = numbers["out_student"], numbers["out_teacher"]
  transfer, imitation = kd.distillation.attention_transfer, kd.distillation.imitation
  for key, value in {
    "at_paper": transfer(student, teacher, variant="paper"),
    "at_reference": transfer(tuple(student), teacher, variant="reference"),
    "imitation_l1": imitation(*images),
    "imitation_reference": imitation(*images, variant="reference"),
  }.items():
    assert float(value) == pytest.approx(float(numbers[f"loss_{key}"]), abs=4e-7), key


LAYERS = rng.random((2, 3, 8, 6, 4)).astype(np.float32)


@pytest.mark.parametrize(("name", "variant"), distilling.ALL)
def test_every_method_is_a_function_of_arrays(name, variant):
  method, record = getattr(kd.distillation, name), METHODS[name][variant]
  arguments = LAYERS[..., 0] if record.reads_image else ([x, x] for x in LAYERS)
  student, teacher = arguments
  context = {}
  if record.uses_context and name != "masked_generative":
    mask = kd.masks.cartesian((8, 6), 2, 2)
    context = {
      "target": LAYERS[0, ..., 0],
      "measurement": kd.undersample(LAYERS[0, ..., 0], mask)[1],
    }
    context |= {"teacher_error": np.full(3, 0.1), "error_range": 0.5}
  params = method.init(student, teacher, variant=variant, **context)
  assert bool(params) == record.owns_weights
  value = method(student, teacher, variant=variant, params=params, **context)
  assert value.shape == ()
  assert np.isfinite(value)
  assert variant in method.__doc__


def test_distillation_with_weights_and_context():
  student, teacher = LAYERS
  wide = np.concatenate([teacher, teacher], axis=-1)
  fitnets = kd.distillation.fitnets
  params = fitnets.init(student, wide, seed=3)
  regressor = params["method"]["regressor_1"]
  regressed = student.astype(np.float64) @ np.asarray(regressor["kernel"][0, 0])
  expected = np.square(regressed + regressor["bias"] - wide).mean() / 2
  assert float(fitnets(student, wide, params=params)) == pytest.approx(expected, 1e-5)
  target, x, t = rng.random((3, 2, 8, 6))
  error, bound = (np.square(z - target).mean((1, 2)) for z in (x, t))
  found = kd.distillation.teacher_bounded(x, t, target=target)
  expected = np.where(error > bound, error, 0).mean()
  assert float(found) == pytest.approx(expected, 1e-5)


@pytest.mark.parametrize(
  ("call", "words"),
  [
    (lambda d: d.fsp(*LAYERS, variant="papr"), r"^variant: .* Did you mean 'paper'\?"),
    (lambda d: d.fsp(LAYERS[0, 0], LAYERS[1]), r"^student: found float32 of shape"),
    (lambda d: d.fsp([], LAYERS[1]), r"^student: found no layer"),
    (lambda d: d.fsp(LAYERS[0], [*LAYERS]), r"^teacher: found 2 layers; expected 1"),
    (lambda d: d.fsp(LAYERS[0, :2], LAYERS[1]), r"^teacher: found batches of 3"),
    (
      lambda d: d.fitnets(*LAYERS),
      r"^params: found none; expected the weights that fit",
    ),
    (
      lambda d: d.teacher_bounded(*LAYERS[..., 0]),
      r"^target: found none; expected a v",
    ),
    (lambda d: d.teacher_bounded(*LAYERS, taget=1), r"Did you mean 'target'\?"),
  ],
)
def test_distillation_says_what_does_not_fit(call, words):
  with pytest.raises(ArgumentError, match=words):
    call(kd.distillation)

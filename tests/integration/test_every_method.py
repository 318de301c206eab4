"""A train step with all distillation methods at once."""

import dataclasses

import jax
import pytest
from helpers.small_step import assert_close, run, small_stage

from kdmri_jax import config as config_lib
from kdmri_jax.distillation import METHODS

pytestmark = pytest.mark.usefixtures("quick_compilation")


def everything():
  """A stage with every distillation method and variant as a term."""
  stage = small_stage("paper", "kd")
  terms = dict(stage.terms)
  for name, variants in METHODS.items():
    for variant, method in variants.items():
      layers = ("image",) if method.reads_image else None
      terms[f"{name}_{variant}"] = config_lib.TermConfig(
        name,
        1e-2,
        variant,
        layers or ("cascade_1/activation_2", "cascade_2/activation_2"),
        layers or ("cascade_1/activation_3", "cascade_2/activation_3"),
      )
  return dataclasses.replace(stage, terms=terms)


@pytest.mark.slow
def test_every_method_gives_the_same_step_on_several_devices_and_from_a_cache():
  stage = everything()
  one = run(stage, jax.devices()[:1], count=2)
  four = run(stage, jax.devices()[:4], hints=True, count=2)
  for a, b in zip(one[1], four[1], strict=True):
    assert a.keys() == b.keys()
    for name, value in a.items():
      assert value == pytest.approx(b[name], rel=1e-3, abs=1e-7), name
  assert_close(one[0], four[0], atol=1e-4)

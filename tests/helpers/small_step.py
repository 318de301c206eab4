"""Compiled steps of a stage on random images small enough for a test."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from kdmri_jax import config as config_lib
from kdmri_jax.experiments import base
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.training.optimiser import make_optimiser
from kdmri_jax.training.stage_networks import (
  Networks,
  Teacher,
  as_trained,
  init_auxiliary,
)
from kdmri_jax.training.stage_shapes import fit_terms
from kdmri_jax.training.step import init_state, make_steps
from kdmri_jax.training.terms import resolve
from kdmri_jax.types import Acquisition, Measurement, Slices


def make(stage, models, params, slices, acquisition, devices, **more):
  """The compiled steps, the state to start from, and the teacher.

  Further arguments are settings of `Networks`.
  """
  networks = Networks(
    models[stage.model],
    resolve(stage),
    (models["teacher"],) if stage.teacher else (),
    kernels=stage.kernels,
    **more,
  )
  terms = fit_terms(networks, slices, acquisition, "stage")
  networks = networks._replace(terms=terms)
  teacher = Teacher((params["teacher"],) if stage.teacher else (), np.float32(0.5))
  start = jax.device_get(params[stage.model])
  key = jax.random.key(0)
  auxiliary = init_auxiliary(networks, start, teacher.params, slices, acquisition, key)
  optimiser = make_optimiser(stage, steps_per_epoch=100)
  state = init_state(*as_trained(networks, start, auxiliary, ()), optimiser)
  return make_steps(networks, optimiser, devices), state, teacher


def small_problem(channels=1, batch=8, features=4):
  rng = np.random.default_rng(0)
  slices = Slices(rng.random((batch, 16, 12, channels), np.float32))
  mask = np.ones((16, 12), np.uint8)
  mask[3:13:2] = 0
  return slices, Acquisition(mask[None]), *_networks(channels, features)


@functools.cache
def _networks(channels, features):
  """Teacher and student, and their initial weights."""
  models = {
    role: DCCNN(2, convolutions, features, channels)
    for role, convolutions in (("teacher", 5), ("student", 3))
  }
  image = jnp.zeros((1, 16, 12, channels))
  measurement = Measurement(jnp.ones((1, 16, 12), jnp.complex64), jnp.ones((16, 12)))
  params = {
    role: jax.jit(model.init)(jax.random.key(k), image, measurement)["params"]
    for k, (role, model) in enumerate(models.items())
  }
  return models, params


def small_stage(protocol, name):
  config = base.get_config(protocol)
  for term in config.stages[name].terms.values():
    term.guided, term.hint = term.guided[:2], term.hint[:2]
  return config_lib.parse(config).stages[name]


def run(stage, devices, channels=1, hints=False, count=3, features=4):
  slices, acquisition, models, params = small_problem(channels, features=features)
  steps, state, teacher = make(stage, models, params, slices, acquisition, devices)
  if hints:
    slices = slices._replace(hints=steps.teach(teacher, slices, acquisition))
  values = []
  for _ in range(count):
    state, value = steps.train(state, teacher, slices, acquisition)
    values.append(jax.device_get(value))
  validation = steps.validate(state, teacher, slices, acquisition)
  return jax.device_get((state.params, values, validation))


def assert_close(a, b, atol):
  """Compares (params, training values, validation) of two runs."""
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, atol=atol, rtol=1e-5), a, b
  )

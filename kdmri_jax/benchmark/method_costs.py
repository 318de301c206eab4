"""Time and memory of each distillation method."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from kdmri_jax.distillation import METHODS
from kdmri_jax.distillation.adapter import AdaptedMethod
from kdmri_jax.distillation.method import Context
from kdmri_jax.losses import pixel
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.physics.masks import recipes
from kdmri_jax.physics.undersample import undersample
from kdmri_jax.types import Array, Shape


class Cost(NamedTuple):
  """The cost of value and gradient.

  Attributes:
    method: name of the method; "" for the student's own training step.
    variant: its variant.
    seconds: median time; 0 where nothing was timed.
    memory: bytes of temporary values that XLA reserves.
  """

  method: str
  variant: str
  seconds: float
  memory: int


def measure(
  names: Sequence[str], size: Shape, batch: int, repeats: int
) -> Iterator[Cost]:
  """Measures the student's training step on the target, then each variant of methods.

  A method compares the layers that KD-MRI distils, five maps of 32 channels or the
  image; the teacher's part is precomputed.

  Args:
    names: names of methods.
    size: rows and columns of the images.
    batch: number of images.
    repeats: timed runs after compilation; 0 only compiles, for the memory.
  """
  yield Cost("", "", *_cost(*_student_step(size, batch), repeats))
  for name in names:
    for variant, method in METHODS[name].items():
      adapted = AdaptedMethod(method)
      yield Cost(name, variant, *_cost(*_term(adapted, size, batch), repeats))


def _context(key: Array, size: Shape, batch: int) -> Context:
  target = jax.random.uniform(key, (batch, *size, 1))
  mask = recipes.cartesian(size, 4, min(10, size[0] // 8), 0, 0)
  zero_filled, measurement = undersample(target, mask)
  draws = jnp.arange(batch, dtype=jnp.uint32)
  return Context(target, zero_filled, measurement, jnp.ones(batch), jnp.ones(()), draws)


def _student_step(size, batch) -> tuple[Callable, Callable]:
  """A function of (params, context), and a function that creates its arguments."""
  student = DCCNN(convolutions=3, consistency="line0")

  def make(key):
    context = _context(key, size, batch)
    kspace = context.measurement.kspace[:1]
    first = context.measurement._replace(kspace=kspace)
    return student.init(key, context.image[:1], first), context

  def value(params, context):
    image = student.apply(params, context.image, context.measurement).image
    return pixel.l1(image, context.target).mean()

  return value, make


def _term(adapted: AdaptedMethod, size, batch) -> tuple[Callable, Callable]:
  """A function of (trained, hints, context), and one that creates its arguments."""
  count, channels = (1, 1) if adapted.method.reads_image else (5, 32)

  def make(key):
    keys = jax.random.split(key, 2 * count)
    maps = [nn.relu(jax.random.normal(k, (batch, *size, channels))) for k in keys]
    guided, hints = tuple(maps[:count]), adapted.represent_teacher(tuple(maps[count:]))
    context = _context(key, size, batch)
    return (guided, adapted.init(key, guided, hints, context)), hints, context

  def value(trained, hints, context):
    guided, weights = trained
    return adapted.apply(weights, guided, hints, context)

  return value, make


def _cost(value: Callable, make: Callable, repeats: int) -> tuple[float, int]:
  key = jax.random.key(0)
  shapes = jax.eval_shape(make, key)
  compiled = jax.jit(jax.value_and_grad(value)).lower(*shapes).compile()
  memory = compiled.memory_analysis().temp_size_in_bytes
  if not repeats:
    return 0.0, memory
  arguments = jax.jit(make)(key)
  jax.block_until_ready(compiled(*arguments))
  times = []
  for _ in range(repeats):
    start = time.perf_counter()
    jax.block_until_ready(compiled(*arguments))
    times.append(time.perf_counter() - start)
  return statistics.median(times), memory

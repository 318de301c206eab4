"""What each distillation method costs in time and memory, as a Markdown table.

  kdmri method_costs --size=240,240 --batch=4

For every method and variant: value and gradient on the layers that KD-MRI distils
(five maps of 32 channels, or the image), the teacher's half given. Time is the median
of several runs, after compilation, and so is that of the student's own training step
on the target, to which it compares. Memory is what XLA reserves for temporary values.
"""

if __name__ == "__main__":
  from _missing import explain_missing_packages

  explain_missing_packages()

import statistics
import time

from absl import flags

from kdmri_jax import cli
from kdmri_jax.errors import UserError

_SIZE = flags.DEFINE_list("size", ["240", "240"], "Rows, columns.")
_BATCH = flags.DEFINE_integer("batch", 4, "Images.", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 5, "Timed runs; 0 for memory only.")
_METHODS = flags.DEFINE_list("methods", None, "Names; default: all.")


def main(argv):
  cli.refuse_arguments(argv)
  import jax
  import jax.numpy as jnp
  from flax import linen as nn

  from kdmri_jax.distillation import METHODS
  from kdmri_jax.distillation.adapter import Guide
  from kdmri_jax.distillation.method import Context
  from kdmri_jax.losses import pixel
  from kdmri_jax.models.dccnn import DCCNN
  from kdmri_jax.physics.masks import recipes
  from kdmri_jax.physics.undersample import undersample
  from kdmri_jax.training import parallel

  parallel.use_cores()
  try:
    height, width = map(int, _SIZE.value)
  except ValueError:
    raise UserError(
      "--size", ",".join(_SIZE.value), "rows,columns", "Write --size=240,240."
    ) from None
  names = _METHODS.value or sorted(METHODS)
  for name in names:
    if name not in METHODS:
      raise UserError(
        "--methods", f"{name!r}", f"some of {', '.join(METHODS)}", "Correct it."
      )
  shape = (_BATCH.value, height, width)
  mask = recipes.cartesian((height, width), 4, 10, 0, 0)
  student = DCCNN(convolutions=3, consistency="line0")

  def make_context(key):
    target = jax.random.uniform(key, (*shape, 1))
    zero_filled, measurement = undersample(target, mask)
    error, draws = jnp.ones(len(target)), jnp.arange(len(target), dtype=jnp.uint32)
    return Context(target, zero_filled, measurement, error, jnp.ones(()), draws)

  def make_student(key):
    context = make_context(key)
    params = student.init(key, context.image[:1], _first(context.measurement))
    return params, context

  def reconstruction(params, context):
    image = student.apply(params, context.image, context.measurement).image
    return pixel.l1(image, context.target).mean()

  step, memory = _measure(reconstruction, make_student)
  print(f"{height}x{width}, batch {_BATCH.value}, {jax.devices()[0].device_kind}\n")
  print("| method | variant | time, ms | of a step | memory, MB |")
  print("|---|---|---|---|---|")
  print(f"| (student's step) | | {_ms(step)} | | {memory / 1e6:.0f} |", flush=True)
  for name in names:
    for variant, method in METHODS[name].items():
      guide = Guide(method)

      def make_terms(key, guide=guide):
        count, channels = (1, 1) if guide.method.reads_image else (5, 32)
        keys = jax.random.split(key, 2 * count)
        maps = [nn.relu(jax.random.normal(k, (*shape, channels))) for k in keys]
        guided, hints = (
          tuple(maps[:count]),
          guide.represent_teacher(tuple(maps[count:])),
        )
        context = make_context(key)
        weights = guide.init(key, guided, hints, context)
        return (guided, weights), hints, context

      def value(trained, hints, context, guide=guide):
        guided, weights = trained
        return guide.apply(weights, guided, hints, context)

      seconds, memory = _measure(value, make_terms)
      share = f"{100 * seconds / step:.0f}%" if step else ""
      cells = f"{_ms(seconds)} | {share} | {memory / 1e6:.0f}"
      print(f"| `{name}` | `{variant}` | {cells} |", flush=True)


def _first(measurement):
  return measurement._replace(kspace=measurement.kspace[:1])


def _ms(seconds):
  return f"{1e3 * seconds:.1f}" if seconds else ""


def _measure(function, make):
  """(median seconds or 0, bytes of temporary values) of value and gradient.

  Without repeats nothing is computed, only compiled for the shapes.
  """
  import jax

  key = jax.random.key(0)
  arguments = jax.eval_shape(make, key)
  compiled = jax.jit(jax.value_and_grad(function)).lower(*arguments).compile()
  memory = compiled.memory_analysis().temp_size_in_bytes
  times = []
  if _REPEATS.value:
    arguments = jax.jit(make)(key)
    jax.block_until_ready(compiled(*arguments))
  for _ in range(_REPEATS.value):
    start = time.perf_counter()
    jax.block_until_ready(compiled(*arguments))
    times.append(time.perf_counter() - start)
  return statistics.median(times) if times else 0.0, memory


if __name__ == "__main__":
  cli.run_main(main)

"""What each distillation method costs in time and memory, as a Markdown table.

  python scripts/method_costs.py --size=240,240 --batch=4

For every method and variant: value and gradient on the layers that KD-MRI distils
(five maps of 32 channels, or the image), the teacher's half given. Time is the median
of several runs, after compilation, and so is that of the student's own training step
on the target, to which it compares. Memory is what XLA reserves for temporary values.
"""

import statistics
import sys
import time

from absl import flags

from kdmri_jax import cli
from kdmri_jax.errors import UserError

_SIZE = flags.DEFINE_list("size", ["240", "240"], "Rows, columns.")
_BATCH = flags.DEFINE_integer("batch", 4, "Images.", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 5, "Timed runs; 0 for memory only.")
_METHODS = flags.DEFINE_list("methods", None, "Names; default: all.")


def main(argv):
  del argv
  import jax
  import jax.numpy as jnp

  from kdmri_jax.distillation import METHODS
  from kdmri_jax.distillation.guide import Guide
  from kdmri_jax.distillation.method import Context
  from kdmri_jax.losses import pixel
  from kdmri_jax.models.dccnn import DCCNN
  from kdmri_jax.physics import masks
  from kdmri_jax.physics.undersample import undersample

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
  keys = iter(jax.random.split(jax.random.key(0), 100))
  mask = masks.cartesian((height, width), 4, 10, 0, 0)
  target = jax.random.uniform(next(keys), (*shape, 1))
  zero_filled, measurement = undersample(target, mask)
  student = DCCNN(convolutions=3)
  params = student.init(jax.random.key(1), zero_filled[:1], _first(measurement))
  context = Context(
    target,
    zero_filled,
    measurement,
    jnp.ones(len(target)),
    jnp.ones(()),
    jnp.arange(len(target), dtype=jnp.uint32),
  )

  def layers(is_image):
    if is_image:
      return (jax.random.uniform(next(keys), (*shape, 1)),)
    return tuple(
      jax.nn.relu(jax.random.normal(next(keys), (*shape, 32))) for _ in range(5)
    )

  def reconstruction(params):
    image = student.apply(params, zero_filled, measurement).image
    return pixel.l1(image, target).mean()

  step, memory = _measure(jax.value_and_grad(reconstruction), params)
  print(f"{height}x{width}, batch {_BATCH.value}, {jax.devices()[0].device_kind}\n")
  print("| method | variant | time, ms | of a step | memory, MB |")
  print("|---|---|---|---|---|")
  print(f"| (student's step) | | {_ms(step)} | | {memory / 1e6:.0f} |", flush=True)
  for name in names:
    for variant, method in METHODS[name].items():
      guide = Guide(method)
      guided, hint = layers(method.reads_image), layers(method.reads_image)
      hints = guide.represent_teacher(hint)
      weights = guide.init(next(keys), guided, hints, context)

      def value(trained, guide=guide, hints=hints):
        guided, weights = trained
        return guide.apply(weights, guided, hints, context)

      seconds, memory = _measure(jax.value_and_grad(value), (guided, weights))
      share = f"{100 * seconds / step:.0f}%" if step else ""
      print(
        f"| {name} | {variant} | {_ms(seconds)} | {share} | {memory / 1e6:.0f} |",
        flush=True,
      )


def _first(measurement):
  return measurement._replace(kspace=measurement.kspace[:1])


def _ms(seconds):
  return f"{1e3 * seconds:.1f}" if seconds else ""


def _measure(function, argument):
  """(median seconds or 0, bytes of temporary values)."""
  import jax

  compiled = jax.jit(function).lower(argument).compile()
  memory = compiled.memory_analysis().temp_size_in_bytes
  times = []
  for repeat in range(_REPEATS.value + 1 if _REPEATS.value else 0):
    start = time.perf_counter()
    jax.block_until_ready(compiled(argument))
    if repeat:
      times.append(time.perf_counter() - start)
  return statistics.median(times) if times else 0.0, memory


if __name__ == "__main__":
  sys.exit(cli.run_main(main))

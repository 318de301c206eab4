"""Measures the time and memory of every distillation method, as a Markdown table.

  kdmri method_costs --size=240,240 --batch=4

For every method and variant: value and gradient on the layers that KD-MRI distils (five
maps of 32 channels, or the image), with the teacher's part precomputed. Time is the
median of several runs after compilation, and is compared with the student's own
training step on the target. Memory is XLA's allocation for temporary values.
"""

if __name__ == "__main__":
  from _missing import explain_missing_packages

  explain_missing_packages()

from absl import flags

from kdmri_jax import cli
from kdmri_jax.errors import UserError, arguments_of

_SIZE = flags.DEFINE_list("size", ["240", "240"], "Rows, columns.")
_BATCH = flags.DEFINE_integer("batch", 4, "Images.", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 5, "Timed runs; 0 for memory alone.")
_METHODS = flags.DEFINE_list("methods", None, "Names; default: all.")


def main(argv):
  cli.refuse_arguments(argv)
  from kdmri_jax import lookup
  from kdmri_jax.training import parallel

  parallel.use_cores()
  import jax

  from kdmri_jax.benchmark import method_costs
  from kdmri_jax.distillation import METHODS

  names, size = _METHODS.value or sorted(METHODS), _size()
  for name in names:
    if name not in METHODS:
      with arguments_of("--"):
        raise lookup.unknown("methods", name, METHODS)
  rows, columns = size
  print(f"{rows}x{columns}, batch {_BATCH.value}, {jax.devices()[0].device_kind}\n")
  print("| method | variant | time, ms | of a step | memory, MB |")
  print("|---|---|---|---|---|")
  costs = method_costs.measure(names, size, _BATCH.value, _REPEATS.value)
  step = next(costs)
  print(f"| (student's step) | | {_time(step)} | | {_memory(step)} |", flush=True)
  for cost in costs:
    share = f"{100 * cost.seconds / step.seconds:.0f}%" if step.seconds else ""
    cells = f"{_time(cost)} | {share} | {_memory(cost)}"
    print(f"| `{cost.method}` | `{cost.variant}` | {cells} |", flush=True)


def _size() -> tuple[int, int]:
  if len(_SIZE.value) != 2 or not all(n.isdecimal() and int(n) for n in _SIZE.value):
    found = repr(",".join(_SIZE.value))
    raise UserError("--size", found, "rows,columns, such as 240,240")
  return tuple(map(int, _SIZE.value))


def _time(cost) -> str:
  return f"{1e3 * cost.seconds:.1f}" if cost.seconds else ""


def _memory(cost) -> str:
  return f"{cost.memory / 1e6:.0f}"


if __name__ == "__main__":
  cli.run_main(main)

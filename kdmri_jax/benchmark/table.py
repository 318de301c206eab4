"""The results as Markdown."""

from collections.abc import Iterable, Sequence

import numpy as np

from kdmri_jax.benchmark import race
from kdmri_jax.benchmark.race import Result
from kdmri_jax.benchmark.worker import FRAMEWORKS

_HEADS = {"jax, exported": "exported bundle"}


def make(results: Sequence[Result]) -> str:
  """Two tables: times and ratios, then compile times and memory.

  A ratio is the time of another framework over JAX's, with the lowest and the highest
  of the rounds: above 1, JAX is faster. The shares compare the convolutions with a
  matrix product, by the operations of plain convolutions, and with a copy, by the bytes
  of reading each input and writing each output once. Both were timed on the same
  machine in the same rounds. A convolution with fewer products may exceed the first,
  one whose data stay in a cache the second.
  """
  parts = []
  for what, title in (("inference", "Inference"), ("training", "A training step")):
    rows = [result for result in results if result.case.what == what]
    if rows:
      parts.append(f"**{title}**\n\n{_times(rows)}\n\n{_costs(rows)}")
  return "\n\n".join(parts)


def _times(results: Sequence[Result]) -> str:
  others = [
    name
    for name in (*FRAMEWORKS[1:], "jax, exported")
    if any(race.best(result, name) for result in results)
  ]
  ratios = [f"{_HEADS.get(name, name)} / JAX" for name in others]
  heads = ["", "JAX, ms", *ratios, "of a matrix product", "of a copy"]
  rows = []
  for result in results:
    seconds, machine = np.median(result.seconds["jax"]), result.machine()
    cells = [result.case.name, f"{1e3 * seconds:.1f}"]
    for name in others:
      runner = race.best(result, name)
      if runner is None:
        cells.append("")
        continue
      middle, low, high = race.ratio(result, runner, "jax")
      way = runner.removeprefix(name)
      cells.append(f"{middle:.2f} [{low:.2f}, {high:.2f}]{way}")
    cells.append(f"{result.operations / seconds / machine['operations']:.0%}")
    cells.append(f"{result.traffic / seconds / machine['bytes']:.0%}")
    rows.append(cells)
  return markdown(heads, rows)


def _costs(results: Sequence[Result]) -> str:
  runners = list(dict.fromkeys(r for result in results for r in result.compile_seconds))
  runners = [runner for runner in runners if runner not in ("matmul", "copy")]
  rows = []
  for result in results:
    cells = [result.case.name]
    for runner in runners:
      seconds = result.compile_seconds.get(runner)
      peak = result.peak_bytes.get(runner)
      shown = "" if seconds is None else f"{seconds:.1f}"
      cells.append(shown if peak is None else f"{shown} / {peak / 1e6:.0f}")
    rows.append(cells)
  return markdown(["compile s / peak MB", *runners], rows)


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  """A table of Markdown."""
  first, *others = (f"| {' | '.join(cells)} |" for cells in (heads, *rows))
  return "\n".join([first, "|---" * len(heads) + "|", *others])

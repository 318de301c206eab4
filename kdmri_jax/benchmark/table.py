"""The results as Markdown."""

from collections.abc import Sequence

import numpy as np

from kdmri_jax.benchmark import race
from kdmri_jax.benchmark.race import Result

_TIMES_FORWARD = {"inference": 1, "training": 3}


def make(results: Sequence[Result]) -> str:
  """Two tables: times and ratios, then what it takes to run.

  A ratio says how many times as long another framework takes, with the lowest and the
  highest of the rounds: above 1, JAX is faster. The share is that of the speed of a
  matrix product on the same cores in the same rounds, which the convolutions, written
  out, reach; a convolution by fewer products may exceed it.
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
    for name in ("torch", "onnxruntime")
    if any(race.best(result, name) for result in results)
  ]
  heads = ["", "JAX, ms", *(f"{name} / JAX" for name in others), "of a matrix product"]
  lines = [_line(heads), "|---" * len(heads) + "|"]
  for result in results:
    cells = [result.case.name, _ms(result, "jax")]
    for name in others:
      runner = race.best(result, name)
      if runner is None:
        cells.append("")
        continue
      middle, low, high = race.ratio(result, runner, "jax")
      way = runner.partition(", ")[2]
      way = f", {way}" if way else ""
      cells.append(f"{middle:.2f} [{low:.2f}, {high:.2f}]{way}")
    operations = result.operations * _TIMES_FORWARD[result.case.what]
    speed = operations / np.median(result.seconds["jax"])
    cells.append(f"{speed / result.machine()['operations']:.0%}")
    lines.append(_line(cells))
  return "\n".join(lines)


def _costs(results: Sequence[Result]) -> str:
  runners = list(dict.fromkeys(r for result in results for r in result.compile_seconds))
  runners = [runner for runner in runners if runner not in ("matmul", "copy")]
  heads = ["compile s / peak MB", *runners]
  lines = [_line(heads), "|---" * len(heads) + "|"]
  for result in results:
    cells = [result.case.name]
    for runner in runners:
      seconds = result.compile_seconds.get(runner)
      peak = result.peak_bytes.get(runner)
      shown = "" if seconds is None else f"{seconds:.1f}"
      cells.append(shown if peak is None else f"{shown} / {peak / 1e6:.0f}")
    lines.append(_line(cells))
  return "\n".join(lines)


def _ms(result: Result, runner: str) -> str:
  return f"{1e3 * np.median(result.seconds[runner]):.1f}"


def _line(cells: Sequence[str]) -> str:
  return f"| {' | '.join(cells)} |"

"""Times inference and training steps, side by side with other frameworks.

  python scripts/benchmark.py --out=runs/benchmark
  python scripts/benchmark.py --out=runs/quick --sizes=240x240 --batches=1 \\
    --stages=student --repeats=3 --frameworks=jax,torch

Every framework works in a process of its own and waits while another has its turn; the
turns rotate, and ratios are taken round by round. Before anything is timed, all
frameworks must give the same numbers from the same weights. A framework that is not
installed is left out: pip install '.[torch]' and '.[export]' bring PyTorch (eager,
channels-last and compiled; the best counts) and onnxruntime.

Writes OUT/benchmark.json, with every single time, and OUT/benchmark.md.
"""

import importlib.util
import itertools
import json
import pathlib
import sys

from absl import flags
from ml_collections import config_flags

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for `from experiments`

from kdmri_jax import cli, config
from kdmri_jax.errors import UserError

_ROOT = pathlib.Path(__file__).parents[1]
_CONFIG = config_flags.DEFINE_config_file(
  "config",
  str(_ROOT / "experiments" / "base.py"),
  "Experiment file whose networks, mask and stages are timed.",
  lock_config=True,
)
_OUT = flags.DEFINE_string("out", None, "Folder to write to.")
_FRAMEWORKS = flags.DEFINE_list(
  "frameworks", ["jax", "torch", "onnxruntime"], "Which to race; jax is always there."
)
_WHAT = flags.DEFINE_list("what", ["inference", "training"], "What to time.")
_STAGES = flags.DEFINE_list(
  "stages",
  ["teacher", "student", "feature", "kd"],
  "Stages to train; those without a teacher reconstruct, too.",
)
_SIZES = flags.DEFINE_list(
  "sizes", ["150x150", "240x240", "256x256", "640x368"], "Rows x columns."
)
_BATCHES = flags.DEFINE_list("batches", ["1", "8"], "Images at a time, in inference.")
_TRAINING_SIZE = flags.DEFINE_string("training_size", "240x240", "Rows x columns.")
_TRAINING_BATCH = flags.DEFINE_integer("training_batch", 4, "Images a step.", 1)
_REPEATS = flags.DEFINE_integer("repeats", 7, "Rounds.", lower_bound=1)
_SECONDS = flags.DEFINE_float("seconds", 0.3, "Shortest time of a turn.", 0.0)


def main(argv):
  del argv
  experiment = config.parse(_CONFIG.value)
  cases = _cases(experiment)
  out = pathlib.Path(_OUT.value)
  import tqdm

  from kdmri_jax.benchmark import race, table
  from kdmri_jax.benchmark.worker import Worker
  from kdmri_jax.saving import replacing, saving

  with saving(out):
    out.mkdir(parents=True, exist_ok=True)
  names = ["jax", *(name for name in _frameworks() if name != "jax"), "machine"]
  workers = [Worker(name, config.to_dict(experiment)) for name in names]
  about = {worker.framework: worker.receive() for worker in workers}
  results = []
  with tqdm.tqdm(total=len(cases), unit="case", disable=None) as bar:
    for case in cases:
      results.append(
        race.run(
          workers,
          case,
          repeats=_REPEATS.value,
          seconds=_SECONDS.value,
          say=bar.set_description,
        )
      )
      bar.update()
      for name, reason in results[-1].failed.items():
        bar.write(f"{case.name}: without {name}: {reason}")
      report = {"frameworks": about, "results": list(map(race.to_json, results))}
      with replacing(out / "benchmark.json") as path:
        path.write_text(json.dumps(report, indent=1))
      with replacing(out / "benchmark.md") as path:
        path.write_text(table.make(results) + "\n")
  for worker in workers:
    worker.close()
  print(f"\n{table.make(results)}\n\nwritten to {out}")


def _cases(experiment):
  from kdmri_jax.benchmark.case import Case

  for name in _STAGES.value:
    if name not in experiment.stages:
      expected = f"some of {', '.join(experiment.stages)}"
      raise UserError("--stages", repr(name), expected, "Correct the name.")
  for what in _WHAT.value:
    if what not in ("inference", "training"):
      raise UserError("--what", repr(what), "inference, training", "Correct it.")
  taught = {name: bool(experiment.stages[name].teacher) for name in _STAGES.value}
  cases = []
  if "inference" in _WHAT.value:
    sizes = [_size(text, "--sizes") for text in _SIZES.value]
    batches = [_count(text, "--batches") for text in _BATCHES.value]
    alone = [name for name in _STAGES.value if not taught[name]]
    for stage, size, batch in itertools.product(alone, sizes, batches):
      cases.append(Case("inference", stage, *size, batch))
  if "training" in _WHAT.value:
    size = _size(_TRAINING_SIZE.value, "--training_size")
    for stage in _STAGES.value:
      for cached in (False, True) if taught[stage] else (False,):
        cases.append(Case("training", stage, *size, _TRAINING_BATCH.value, cached))
  return cases


def _size(text: str, flag: str) -> tuple[int, int]:
  rows, _, columns = text.partition("x")
  return _count(rows, flag), _count(columns, flag)


def _count(text: str, flag: str) -> int:
  if not text.isdecimal() or not int(text):
    expected = "whole numbers above 0; a size as 240x240"
    raise UserError(flag, repr(text), expected, "Correct it.")
  return int(text)


def _frameworks() -> list[str]:
  """Those asked for that are installed."""
  found = []
  for name in _FRAMEWORKS.value:
    if name not in ("jax", "torch", "onnxruntime"):
      expected = "some of jax, torch, onnxruntime"
      raise UserError("--frameworks", repr(name), expected, "Correct the name.")
    if importlib.util.find_spec(name) is None:
      print(f"{name} is not installed: left out", file=sys.stderr)
    else:
      found.append(name)
  return found


if __name__ == "__main__":
  flags.mark_flags_as_required(["out"])
  cli.run_main(main)

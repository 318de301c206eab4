"""Trains the missing stages of an experiment, evaluates it and writes the report.

  kdmri run --config=demo --workdir=runs/demo

--config names a shipped experiment, or your own file (--config=my.py). The command line
can change any setting and select stages:

  kdmri run --config=acdc --workdir=runs/acdc \\
    --config.data.root=/data/ACDC --config.epochs=20 --stages=teacher,student

Stop it with Ctrl-C at any time: the same command continues where it stopped.
docs/settings.md lists the settings. At the end it prints the comparison table and the
path of the report (WORKDIR/report/index.html).

Several processes, on one host or on several, share each batch. Under Slurm:

  srun --ntasks=4 kdmri run --config=acdc --workdir=runs/acdc --distributed

Elsewhere start each process K of N by hand (docs/scale.md):

  kdmri run --config=acdc --workdir=runs/acdc \\
    --coordinator=HOST:PORT --processes=N --process=K
"""

if __name__ == "__main__":
  from _missing import explain_missing_packages

  explain_missing_packages()

import os
import sys

from absl import flags, logging

from kdmri_jax import cli, config, config_flag, memory
from kdmri_jax.errors import UserError, arguments_of

_CONFIG = config_flag.define(purpose="Experiment to train and compare.")
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Folder for all output of the run.", required=True
)
_STAGES = flags.DEFINE_list("stages", None, "Stages to train; default: all of them.")
_SEEDS = flags.DEFINE_list(
  "seeds",
  None,
  "Seeds to train, of --config.seeds; several commands may train different ones in one "
  "--workdir. The report is left to the same command without this flag.",
)
_DISTRIBUTED = flags.DEFINE_boolean(
  "distributed",
  False,
  "Train together with the other processes of this job, which Slurm, Open MPI, "
  "Kubernetes or a TPU tells.",
)
_COORDINATOR = flags.DEFINE_string(
  "coordinator", "", "Train with others: HOST:PORT of process 0, with a free port."
)
_PROCESSES = flags.DEFINE_integer("processes", None, "Their number.", lower_bound=1)
_PROCESS = flags.DEFINE_integer(
  "process", None, "The number of this process, from 0.", lower_bound=0
)


def main(argv):
  cli.refuse_arguments(argv)
  _check_processes()
  # before JAX is imported: faster
  experiment = config.parse(_CONFIG.value.to_dict())
  if any(each.settings.get("recompute") for each in experiment.models.values()):
    memory.give_back_large()
  from kdmri_jax import run
  from kdmri_jax.training import processes

  if _DISTRIBUTED.value or _COORDINATOR.value:
    processes.connect(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
  try:
    with arguments_of("--"):
      reports = run.train(experiment, _WORKDIR.value, _STAGES.value, _seeds())
  except processes.LostProcess as error:
    print(f"\nerror: {error}", file=sys.stderr, flush=True)
    os._exit(1)  # JAX would wait at the end for the process that is lost
  logging.flush()
  for report in reports if processes.is_first() else ():
    print(f"\n{report}")
  for report in reports:
    if report.failed:
      names = "; ".join(failure.part for failure in report.failed)
      remedy = "The networks and their results are complete: start the same command "
      remedy += "again to write the report alone, after the causes have been removed."
      raise UserError(report.path, f"parts that failed ({names})", "all parts", remedy)


def _seeds() -> list[int] | None:
  for text in _SEEDS.value or ():
    if not text.isdecimal():
      raise UserError("--seeds", repr(text), "whole numbers, such as --seeds=42,43")
  return _SEEDS.value and [int(text) for text in _SEEDS.value]


def _check_processes() -> None:
  """Refuses flags of several processes that do not belong together."""
  given = {"--coordinator": _COORDINATOR.value or None}
  given |= {"--processes": _PROCESSES.value, "--process": _PROCESS.value}
  missing = [flag for flag, value in given.items() if value is None]
  if 0 < len(missing) < len(given):
    found = f"no {' and no '.join(missing)}"
    remedy = "Or let --distributed alone find out all three."
    raise UserError("command line", found, "all of these three flags", remedy)
  if not missing and _PROCESS.value >= _PROCESSES.value:
    expected = f"0 to {_PROCESSES.value - 1}, the processes being {_PROCESSES.value}"
    raise UserError("--process", str(_PROCESS.value), expected)
  host, _, port = _COORDINATOR.value.rpartition(":")
  if not missing and not (host and port.isdecimal()):
    expected = "HOST:PORT, such as node1:12345"
    raise UserError("--coordinator", repr(_COORDINATOR.value), expected)


if __name__ == "__main__":
  cli.run_main(main)

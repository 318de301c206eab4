"""Trains the missing stages of an experiment, evaluates it and writes the report.

  kdmri run --config=demo --workdir=runs/demo

--config names a shipped experiment, or your own file (--config=my.py). The command line
can change any setting and select stages:

  kdmri run --config=acdc --workdir=runs/acdc \\
    --config.data.root=/data/ACDC --config.epochs=20 --stages=teacher,student

Stop it with Ctrl-C at any time: the same command continues where it stopped.
docs/settings.md lists the settings. At the end it prints the comparison table and the
path of the report (WORKDIR/report/index.html).
"""

if __name__ == "__main__":
  from _missing import explain_missing_packages

  explain_missing_packages()

from absl import flags, logging

from kdmri_jax import cli, config, config_flag
from kdmri_jax.errors import UserError, arguments_of

_CONFIG = config_flag.define(purpose="Experiment to train and compare.")
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Folder for all output of the run.", required=True
)
_STAGES = flags.DEFINE_list("stages", None, "Stages to train; default: all of them.")


def main(argv):
  cli.refuse_arguments(argv)
  # before JAX is imported: faster
  experiment = config.parse(_CONFIG.value.to_dict())
  from kdmri_jax import run

  with arguments_of("--"):
    reports = run.train(experiment, _WORKDIR.value, _STAGES.value)
  logging.flush()
  for report in reports:
    print(f"\n{report}")
  for report in reports:
    if report.failed:
      names = "; ".join(failure.part for failure in report.failed)
      remedy = "The networks and their results are complete: start the same command "
      remedy += "again to write the report alone, after the causes have been removed."
      raise UserError(report.path, f"parts that failed ({names})", "all parts", remedy)


if __name__ == "__main__":
  cli.run_main(main)

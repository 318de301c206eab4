"""Trains what is missing of an experiment, evaluates it and writes the report.

  kdmri run --config=demo --workdir=runs/demo

--config names a shipped experiment, or a file of your own (--config=my.py). Any
setting can be changed on the command line, and a part of the stages chosen:

  kdmri run --config=acdc --workdir=runs/acdc \\
    --config.data.root=/data/ACDC --config.epochs=20 --stages=teacher,student

Stop it with Ctrl-C whenever you like: the same command goes on where it stopped.
docs/settings.md lists the settings. At the end the comparison table is printed, with
the path of the report (WORKDIR/report/index.html).
"""

if __name__ == "__main__":
  from _missing import explain_missing_packages

  explain_missing_packages()

from absl import flags, logging

from kdmri_jax import cli, config, config_flag
from kdmri_jax.errors import arguments_of

_CONFIG = config_flag.define(purpose="What to train and compare.")
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Folder for everything the run writes.", required=True
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


if __name__ == "__main__":
  cli.run_main(main)

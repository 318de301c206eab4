"""Trains what is missing of an experiment, evaluates it and writes the report.

Run it from a checkout of the repository:

  python scripts/run.py --config=experiments/demo.py --workdir=runs/demo

Any setting can be changed on the command line, and a part of the stages chosen:

  python scripts/run.py --config=experiments/acdc.py --workdir=runs/acdc \\
    --config.data.root=/data/ACDC --config.epochs=20 --stages=teacher,student

Stop it with Ctrl-C whenever you like: the same command goes on where it stopped.
The settings and their meaning are in kdmri_jax/config/, their defaults in
experiments/base.py. At the end the comparison table is printed, with the path of
the report (WORKDIR/report/index.html).
"""

import pathlib
import sys

from absl import flags, logging
from ml_collections import config_flags

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for `from experiments`

from kdmri_jax import cli, config
from kdmri_jax.errors import arguments_of

_CONFIG = config_flags.DEFINE_config_file(
  "config",
  None,
  "Experiment file; --config.key=value changes a setting.",
  lock_config=True,
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for everything the run writes.")
_STAGES = flags.DEFINE_list("stages", None, "Stages to train; default: all of them.")


def main(argv):
  del argv
  experiment = config.parse(_read_config())  # before JAX is imported: faster
  from kdmri_jax import run

  with arguments_of("--"):
    reports = run.train(experiment, _WORKDIR.value, _STAGES.value)
  logging.flush()
  for report in reports:
    print(f"\n{report}")


def _read_config():
  try:
    return _CONFIG.value.to_dict()
  except OSError as error:  # ml_collections reports an unreadable file when it is used
    path = config_flags.get_config_filename(flags.FLAGS["config"])
    raise cli.config_file_error(path, error) from error


if __name__ == "__main__":
  flags.mark_flags_as_required(["config", "workdir"])
  cli.run_main(main)

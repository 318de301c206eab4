"""Trains what is missing of an experiment, evaluates it and writes the report.

  kdmri run --config=demo --workdir=runs/demo

--config names a shipped experiment, or a file of your own (--config=my.py). Any
setting can be changed on the command line, and a part of the stages chosen:

  kdmri run --config=acdc --workdir=runs/acdc \\
    --config.data.root=/data/ACDC --config.epochs=20 --stages=teacher,student

Stop it with Ctrl-C whenever you like: the same command goes on where it stopped.
The settings and their meaning are in kdmri_jax/config/, their defaults in
experiments/base.py. At the end the comparison table is printed, with the path of
the report (WORKDIR/report/index.html).
"""

if __name__ == "__main__":
  from _missing import explain_missing_packages

  explain_missing_packages()

import pathlib

from absl import flags, logging

from kdmri_jax import cli, config, config_flag
from kdmri_jax.errors import UserError

_CONFIG = config_flag.define(purpose="What to train and compare.")
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Folder for everything the run writes.", required=True
)
_STAGES = flags.DEFINE_list("stages", None, "Stages to train; default: all of them.")


def main(argv):
  cli.refuse_arguments(argv)
  experiment = config.parse(_CONFIG.value.to_dict())

  # JAX reads the number of host devices once, when it is first used.
  from kdmri_jax.training import parallel

  parallel.use_cores(at_least=experiment.devices)
  from kdmri_jax.report import roi_snr, write_reports
  from kdmri_jax.training import seeds
  from kdmri_jax.training.experiment import Experiment

  if not _WORKDIR.value:
    raise UserError("--workdir", "no folder", "a folder to write to", "Name one.")
  if _STAGES.value == []:
    expected = f"some of {', '.join(experiment.pipeline)}"
    raise UserError("--stages", "none", expected, "Without the flag all are trained.")
  pipeline = Experiment(experiment, pathlib.Path(_WORKDIR.value))
  roi_snr.check(experiment.evaluation.rois, pipeline.dataset.test)
  with pipeline.workdir.locked():
    pipelines = seeds.train(pipeline, _STAGES.value or experiment.pipeline)
    reports = write_reports.write_reports(pipelines)
  logging.flush()
  for report in reports:
    print(f"\n{report.table}\n\n{report.sentence}\n\nreport: {report.path}")


if __name__ == "__main__":
  cli.run_main(main)

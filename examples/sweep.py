"""Tunes a distilled student with Optuna; its teacher is trained once.

  pip install optuna
  python examples/sweep.py --config=acdc --config.data.root=/data/ACDC \\
    --config.data.test='("patient09*",)' --workdir=runs/sweep --trials=30

Varies how much the student imitates its teacher, its learning rate, and the method of
the stage before it. Trials are compared by the PSNR of the validation subjects. The
test subjects are evaluated once, at the end, with the best settings and new seeds. The
same command continues an interrupted sweep.
"""

import json
import pathlib

import optuna
from absl import flags

import kdmri_jax as kd
from kdmri_jax import cli, config_flag
from kdmri_jax.errors import UserError

_CONFIG = config_flag.define(purpose="Experiment whose student is tuned.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of all runs.", required=True)
_TRIALS = flags.DEFINE_integer("trials", 30, "Trials in all.", lower_bound=1)
_SEEDS = flags.DEFINE_integer("seeds", 3, "Seeds of the final run.", lower_bound=1)

METHODS = ("attention_transfer", "fitnets", "similarity_preserving")


def main(argv):
  cli.refuse_arguments(argv)
  folder = pathlib.Path(_WORKDIR.value)
  folder.mkdir(parents=True, exist_ok=True)
  first = _CONFIG.value.seed
  if not _CONFIG.value.data.test and not _CONFIG.value.data.test_source.source:
    expected = "subjects that no trial looks at, for the comparison at the end"
    raise UserError("config.data.test", "no test subjects", expected)

  # seeds=... trains without a report, so nothing looks at the test subjects.
  kd.train(_CONFIG.value, folder / "teacher", stages="teacher", seeds=[first])

  def settings(chosen):
    config = _CONFIG.value.copy_and_resolve_references()
    config.stages.teacher.given = str(folder / "teacher" / "teacher")
    term = dict(loss=chosen["method"], variant="paper")
    config.stages.feature.terms.attention.update(term)
    config.stages.kd.terms.reconstruction.weight = chosen["alpha"]
    config.stages.kd.terms.imitation.weight = 1 - chosen["alpha"]
    config.stages.kd.learning_rate = chosen["learning_rate"]
    return config

  def validate(trial):
    trial.suggest_categorical("method", METHODS)
    trial.suggest_float("alpha", 0.05, 0.95)
    trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True)
    run = folder / f"trial_{trial.number}"
    kd.train(settings(trial.params), run, stages=["feature", "kd"], seeds=[first])
    lines = (run / f"seed_{first}" / "kd" / "metrics.jsonl").read_text().splitlines()
    epochs = [line for line in map(json.loads, lines) if line["event"] == "epoch"]
    return [epoch for epoch in epochs if epoch["best"]][-1]["validation"]["psnr"]

  study = optuna.create_study(
    study_name="kd",
    storage=f"sqlite:///{folder / 'trials.db'}",
    sampler=optuna.samplers.TPESampler(seed=first),
    direction="maximize",
    load_if_exists=True,
  )
  done = len(study.get_trials(states=[optuna.trial.TrialState.COMPLETE]))
  study.optimize(validate, n_trials=max(_TRIALS.value - done, 0))
  print(f"best of {len(study.trials)}: {study.best_params}, {study.best_value:.2f} dB")

  config = settings(study.best_params)
  config.seed, config.seeds = first + 1, _SEEDS.value
  config.stages.teacher.given = str(folder / "teacher" / f"seed_{first}" / "teacher")
  for report in kd.train(config, folder / "best"):
    print(report)


if __name__ == "__main__":
  cli.run_main(main)

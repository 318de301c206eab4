"""Weight of the target against the teacher in the student's loss.

  kdmri run --config=alpha:acdc --workdir=runs/alpha \
    --config.data.root=/path/to/ACDC --config.seeds=3

Attention transfer, then alpha times the distance to the target and 1 - alpha times the
distance to the teacher's image; KD-MRI has alpha 0.5.
"""

from kdmri_jax.experiments import study

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)


def get_config(setting="acdc"):
  config = study.start(setting, "Weight of the teacher")
  for alpha in ALPHAS:
    term = study.features("attention_transfer")
    name = f"alpha_{round(100 * alpha):03d}"
    study.add_student(config, name, hints=term, alpha=alpha)
  return study.finish(config, kd="alpha_050")

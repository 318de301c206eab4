"""Model-based distillation: SwinIR teaches EDSR to denoise (Shou et al., ISMRM).

  kdmri run --config=model_based:brain_t1 \
    --workdir=runs/model_based --config.data.root=/path/to/folder

One student per alpha of alpha * KD + (1 - alpha) * data; `student` has alpha 0. The
transformer learns slowly and is trained four times as long as the students.
`model_based.py:brain_t1:full` takes the published sizes; beside their times the report
shows the published ones.
"""

from ml_collections import ConfigDict

from kdmri_jax.experiments import enhancement

ALPHAS = (0.25, 0.5, 0.75, 1.0)


def get_config(argument="brain_t1"):
  config, networks = enhancement.start(argument, "SwinIR teaches EDSR to denoise")
  config.mask.kind = "full"
  config.noise.update(enhancement.noise(argument))
  config.models.teacher = networks["swinir"]
  config.models.student = networks["edsr"]
  enhancement.add_stage(config, "teacher", "teacher", times=4)
  enhancement.add_stage(config, "student", "student")
  for alpha in ALPHAS:
    name = f"kd_alpha_{round(100 * alpha):03d}"
    enhancement.add_stage(config, name, "student", alpha=alpha, teacher="teacher")
  full, evaluation = enhancement.NETWORKS["full"], config.evaluation
  sizes = dict(teacher=full["swinir"], student=full["edsr"])
  seconds = dict.fromkeys(evaluation.models, 0.145)
  evaluation.published_seconds = ConfigDict(dict(seconds, teacher=5.162))
  evaluation.published_source = "Shou et al., ISMRM, on their machine"
  evaluation.published_on = ConfigDict(
    dict(models={k: dict(features=size["features"]) for k, size in sizes.items()})
  )
  return config

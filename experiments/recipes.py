"""Searches for a recipe whose student is better than one trained alone for as long.

  kdmri run --config=recipes:acdc_small \
    --workdir=runs/recipes --config.data.root=/path/to/ACDC --config.seeds=3

Every student is trained for as many epochs as student_long, their teacher for four
times as many as `student`. `paper` is KD-MRI's recipe, a feature stage and a kd stage.
In `cascades` and `cascades_target` the feature stage follows the image that the teacher
has after each cascade, in `imitation_target` its last one; `_target` continues without
the teacher. The others have one joint stage from random weights.
"""

from kdmri_jax.experiments import base, study

CASCADES = tuple(f"consistency_{c}" for c in range(1, base.CASCADES + 1))


def get_config(setting="acdc_small"):
  config = study.start(setting, "Recipes")
  train_teacher_longer(config)
  cascades = _imitation(CASCADES)
  study.add_student(config, "paper", hints=study.features("attention_transfer"))
  study.add_student(config, "cascades", hints=cascades)
  study.add_student(config, "cascades_target", hints=cascades, alpha=1.0)
  study.add_student(config, "imitation_target", hints=_imitation(("image",)), alpha=1.0)
  study.add_student(config, "imitation")
  study.add_student(config, "cascades_joint")
  config.stages.kd_cascades_joint.terms.imitation.update(guided=CASCADES, hint=CASCADES)
  add_kspace(config)
  return study.finish(config, kd="paper")


def train_teacher_longer(config):
  """Gives the teacher four times as many epochs as the student alone."""
  config.stages.teacher = study.copy(config, "teacher", times=4)


def add_kspace(config):
  """Adds a student that imitates the teacher's k-space where nothing was sampled."""
  study.add_student(config, "kspace")
  config.stages.kd_kspace.terms.imitation.update(loss="kspace_imitation", variant="l1")


def _imitation(layers):
  return dict(loss="imitation", weight=1.0, variant="paper", guided=layers, hint=layers)

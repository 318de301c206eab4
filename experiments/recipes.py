"""Looks for a recipe whose student beats one trained alone for as long.

  python scripts/run.py --config=experiments/recipes.py:acdc_small \
    --workdir=runs/recipes --config.data.root=/path/to/ACDC --config.seeds=3

Every student is trained for as many epochs as student_long. `paper` is KD-MRI's recipe,
feature stage and kd stage; the others have one joint stage from random weights.
"""

from experiments import study


def get_config(setting="acdc_small"):
  config = study.start(setting, "Recipes")
  attention = study.features("attention_transfer")
  study.add_student(config, "paper", attention=attention)
  study.add_student(config, "imitation")
  study.add_student(config, "mostly_imitation", alpha=0.25)
  study.add_student(config, "joint")
  config.stages.kd_joint.terms.attention = {**attention, "weight": 0.01}
  study.add_student(config, "kspace")
  config.stages.kd_kspace.terms.imitation.loss = "kspace_imitation"
  config.stages.kd_kspace.terms.imitation.variant = "l1"
  study.add_student(config, "hints")
  config.stages.kd_hints.terms.hints = {**study.features("fitnets"), "weight": 0.1}
  return study.finish(config, kd="paper")

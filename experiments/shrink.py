"""A student that begins as its teacher, against fair controls.

  kdmri run --config=shrink:acdc_small --workdir=runs/shrink \
    --config.data.root=/path/to/ACDC --config.seeds=5

kd_shrink starts from the teacher's network and weights. Two of the five convolutions of
each cascade fade out within the first 15% of the steps. Half of its loss is the
distance to the teacher's image. Beside it, with the same optimiser, schedule and way of
training kernels (Muon, cosine, `kernels=expanded`), as the teacher has them, too:

  student_long       alone, for as many steps
  alone_longer       alone, for twice as many steps: more computation than any other
  kd_paper           KD-MRI's attention transfer and imitation, as many steps in all
  kd_shrink_target   as kd_shrink, without imitation

The teacher is trained for twice as many steps. The argument is a setting.
"""

from kdmri_jax.experiments import base, recipes, study

SHRINK = 0.15


def get_config(setting="acdc_small"):
  config = study.start(setting, "A teacher that becomes its student")
  recipes.train_teacher_longer(config)
  study.add_alone(config, "longer", times=4)
  study.add_student(config, "paper", hints=study.features("attention_transfer"))
  study.add_student(config, "shrink")
  study.add_student(config, "shrink_target", alpha=1.0)
  for name in ("kd_shrink", "kd_shrink_target"):
    config.stages[name].shrink = SHRINK
  config.evaluation.pairs = (
    ("kd_shrink", "student_long"),
    ("kd_shrink", "alone_longer"),
    ("kd_shrink", "kd_paper"),
    ("kd_shrink", "kd_shrink_target"),
    ("kd_paper", "student_long"),
  )
  base.for_all_stages(config, **study.EXPANDED)
  return study.finish(config, kd="paper")

"""Students of other shapes than the published one, with at most as many parameters.

  kdmri run --config=shapes:acdc_small --workdir=runs/shapes \
    --config.data.root=/path/to/ACDC --config.epochs=6

Each of `SHAPES` imitates the teacher (kd_NAME) and is trained alone for as many steps
(alone_NAME), as is the student of the setting (kd_plain, student_long). The report
shows the image quality of all against parameters, operations and time. The teacher is
trained for four times the epochs of `student`. All have the optimiser Muon.
"""

from kdmri_jax.experiments import base, recipes, study

SHAPES = {
  # The weights of one cascade, 9,857, for 10 and 15 cascades.
  "shared_10": dict(convolutions=3, cascades=10, shared=True),
  "shared_15": dict(convolutions=3, cascades=15, shared=True),
  # Half as wide; as deep as the teacher, 36,325 parameters, or deeper, 47,925.
  "narrow_5": dict(convolutions=5, features=16),
  "narrow_6": dict(convolutions=6, features=16),
}


def get_config(setting="acdc_small"):
  config = study.start(setting, "Students of other shapes")
  recipes.train_teacher_longer(config)
  study.add_student(config, "plain")
  pairs = [("kd_plain", "student_long")]
  for name, shape in SHAPES.items():
    taught, alone = f"kd_{name}", f"alone_{name}"
    config.models[name] = dict(config.models.student, **shape)
    study.add_student(config, name)
    study.add_alone(config, name)
    config.stages[taught].model = config.stages[alone].model = name
    pairs += [(taught, alone), (taught, "kd_plain")]
  config.evaluation.pairs = tuple(pairs)
  config.evaluation.timing = 20
  base.for_all_stages(config, **study.MUON)
  return study.finish(config)

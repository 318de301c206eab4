"""Which way of optimising and augmenting closes the gap, with and without the teacher.

  kdmri run --config=levers:acdc_small --workdir=runs/levers \
    --config.data.root=/path/to/ACDC --config.epochs=20

Each factor of `LEVERS` changes a student that imitates the teacher (kd_NAME) and one
that is trained alone for as many steps (alone_NAME); the report compares the two, and
each student alone with student_long, which has no lever. The teacher is one for all: it
has the levers of `best` and four times the epochs of `student`.

`TAUGHT` are factors that need a teacher, compared with kd_plain: cascades of the
teacher stand in for the student's, and a second teacher, trained alike from other
weights, whose image and the first one's are averaged.
"""

from kdmri_jax.experiments import recipes, study

COSINE = dict(schedule="cosine", warmup=0.02)
LEVERS = {
  "cosine": COSINE,
  "clip": dict(COSINE, clip=1.0),  # and three times the learning rate
  "adamw": dict(COSINE, optimiser="adamw"),
  "ema": dict(ema=0.999),
  "muon": dict(COSINE, optimiser="muon"),
  "flips": dict(augment=dict(flips=True)),
  "affine": dict(augment=dict(degrees=10.0, scale=0.1, shear=0.05)),
  "intensity": dict(augment=dict(gain=0.3, gamma=0.2)),
  "mixup": dict(augment=dict(mixup=0.4)),
  "kernels": dict(kernels="expanded"),
  "layers": dict(start_from="teacher/layers"),
  "best": dict(COSINE, optimiser="muon", ema=0.999),
}
TAUGHT = {
  "swap": dict(swap=0.5),
  "teachers": dict(teacher="teacher,teacher_b"),
}


def get_config(setting="acdc_small"):
  config = study.start(setting, "Levers")
  recipes.train_teacher_longer(config)
  config.stages.teacher.update(LEVERS["best"])
  study.add_student(config, "plain")
  pairs = [("kd_plain", "student_long")]
  for name, levers in LEVERS.items():
    taught, alone = f"kd_{name}", f"alone_{name}"
    study.add_student(config, name)
    study.add_alone(config, name)
    for stage in (taught, alone):
      config.stages[stage].update(levers)
      if "clip" in levers:
        config.stages[stage].learning_rate *= 3
    pairs += [(taught, alone), (alone, "student_long")]
  add_second_teacher(config)
  for name, levers in TAUGHT.items():
    study.add_student(config, name)
    config.stages[f"kd_{name}"].update(levers)
    pairs.append((f"kd_{name}", "kd_plain"))
  config.evaluation.pairs = tuple(pairs)
  return study.finish(config)


def add_second_teacher(config):
  """Adds teacher_b, like the teacher but for its first weights."""
  config.models.teacher_b = config.models.teacher.copy_and_resolve_references()
  config.stages.teacher_b = study.copy(config, "teacher", times=4)
  config.stages.teacher_b.model = "teacher_b"
  config.pipeline = (*config.pipeline, "teacher_b")
  config.evaluation.models = (*config.evaluation.models, "teacher_b")

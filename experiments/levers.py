"""Which way of optimising, augmenting and starting closes the gap to the teacher.

  kdmri run --config=levers:acdc_small --workdir=runs/levers \
    --config.data.root=/path/to/ACDC

Each factor changes a student that imitates the teacher (kd_NAME) and one that is
trained alone for as many steps (alone_NAME); the report compares the two, and each with
the student of the same kind that lacks the factor. `OPTIMISERS` replace the setting's
optimiser and schedule, which kd_plain and student_long have; `LEVERS` come on top of
Muon, one at a time. `TAUGHT` need a teacher, so they are compared with kd_muon and
alone_muon. kd_together has what helped most, kd_longer and alone_longer have it for
twice as many steps, as many as the teachers, which have Muon.

All comparisons are on the validation subjects: the study chooses a recipe, and no test
subject takes part.
"""

from kdmri_jax.experiments import recipes, study

COSINE = dict(schedule="cosine", warmup=0.02)
OPTIMISERS = {
  "cosine": dict(COSINE, learning_rate=1e-3, optimiser="adam"),
  "clip": dict(COSINE, learning_rate=3e-3, clip=1.0, optimiser="adam"),
  "adamw": dict(COSINE, learning_rate=1e-3, optimiser="adamw"),
  "muon": study.MUON,
}
LEVERS = {
  "ema": dict(ema=0.998),
  "parallel": dict(kernels="parallel"),
  "expanded": dict(kernels="expanded"),
  "flips": dict(augment=dict(flips=True)),
  "affine": dict(augment=dict(degrees=10.0, scale=0.1, shear=0.05)),
  "intensity": dict(augment=dict(gain=0.3, gamma=0.2)),
  "mixup": dict(augment=dict(mixup=0.4)),
  "layers": dict(start_from="teacher/layers"),
}
TAUGHT = {
  "swap": dict(swap=0.5),
  "shrink": dict(shrink=0.15),
  "teachers": dict(teacher="teacher,teacher_b"),
}


def get_config(setting="acdc_small"):
  config = study.start(setting, "Levers")
  config.data.use_test = False
  recipes.train_teacher_longer(config)
  config.stages.teacher.update(study.MUON)
  plain, muon = ("kd_plain", "student_long"), ("kd_muon", "alone_muon")
  study.add_student(config, "plain")
  pairs = [plain]
  for name, levers in OPTIMISERS.items():
    pairs += _add(config, name, levers, plain)
  for name, levers in LEVERS.items():
    if _changes(config, name, levers):
      pairs += _add(config, name, dict(study.MUON, **levers), muon)
  _add_second_teacher(config)
  for name, levers in TAUGHT.items():
    study.add_student(config, name)
    config.stages[f"kd_{name}"].update(study.MUON, **levers)
    pairs += [(f"kd_{name}", other) for other in muon]
  pairs += _add_together(config)
  config.evaluation.update(pairs=tuple(pairs), control="alone_muon")
  return study.finish(config)


def _changes(config, name, levers):
  """Whether a lever changes a training: its batches, or what the setting has."""
  if name == "mixup":
    return config.batch_size > 1
  own, augment = config.augment.to_dict(), levers.get("augment")
  return augment is None or own | augment != own


def _add(config, name, levers, without):
  """Adds kd_NAME and alone_NAME; returns the pairs to compare.

  Augmentation comes on top of the setting's, which a stage's own would replace.
  """
  pair = f"kd_{name}", f"alone_{name}"
  study.add_student(config, name)
  study.add_alone(config, name)
  for stage in pair:
    config.stages[stage].update(levers)
    if "augment" in levers:
      config.stages[stage].augment = dict(config.augment.to_dict(), **levers["augment"])
  return [pair, *zip(pair, without, strict=True)]


def _add_together(config):
  """Adds the levers that helped most, also for longer; returns the pairs to compare."""
  levers = dict(study.MUON, **LEVERS["expanded"])
  for name, times in (("together", 2), ("longer", 4)):
    study.add_student(config, name)
    stage = config.stages[f"kd_{name}"]
    stage.update(levers, **TAUGHT["shrink"])
    stage.epochs = config.get_oneway_ref("epochs") * times
  study.add_alone(config, "longer", times=4)
  config.stages.alone_longer.update(levers)
  return [
    ("kd_together", "alone_expanded"),
    ("kd_together", "kd_shrink"),
    ("kd_longer", "alone_longer"),
    ("kd_longer", "kd_together"),
    ("alone_longer", "alone_expanded"),
  ]


def _add_second_teacher(config):
  """Adds teacher_b, like the teacher but for its first weights."""
  config.models.teacher_b = config.models.teacher.copy_and_resolve_references()
  config.stages.teacher_b = study.copy(config, "teacher", times=4)
  config.stages.teacher_b.model = "teacher_b"
  config.pipeline = (*config.pipeline, "teacher_b")
  config.evaluation.models = (*config.evaluation.models, "teacher_b")

"""Five methods with a student-friendly teacher (SFT-KD-Recon, Gayathri et al. 2023).

  kdmri run --config=sft:acdc --workdir=runs/sft \
    --config.data.root=/path/to/ACDC --config.seeds=3

Every method teaches twice: from a teacher trained alone, and from one trained together
with branches of its student (rows ending in _sft). As published, a student starts from
random weights; to start from the blocks it learnt with the teacher, set
--config.stages.feature_NAME_sft.start_from=teacher_sft/branches.

Where the published numbers of the setting are shown, the report's protocol is theirs:
PSNR and SSIM slice by slice.

VIF, which the publication names, is measured as well. The best weights are those of the
lowest L1 error on the validation slices, as in the code published with it.
"""

from kdmri_jax.experiments import base, study

METHODS = {
  "fitnets": study.features("fitnets"),
  "attention": study.features("attention_transfer"),
  "correlation": study.features("correlation_congruence", "delta"),
  "fsp": study.features("fsp"),
  "similarity": study.features("similarity_preserving"),
}

# PSNR and SSIM of teacher, teacher_sft and student; then for each of `METHODS` the
# PSNR of its student without and with a student-friendly teacher.
PUBLISHED = {
  "brain_4x": (
    ((40.05, 0.9785), (40.23, 0.9799), (39.49, 0.9759)),
    ((39.52, 40.08), (39.76, 40.07), (39.64, 40.06), (39.45, 40.01), (39.53, 39.93)),
  ),
  "brain_5x": (
    ((39.11, 0.9715), (39.16, 0.972), (38.49, 0.9663)),
    ((38.70, 38.95), (38.85, 38.92), (38.60, 38.86), (38.32, 38.82), (38.46, 38.81)),
  ),
  "cardiac_4x": (
    ((32.15, 0.9108), (32.26, 0.9126), (31.68, 0.9013)),
    ((31.90, 31.95), (31.95, 32.03), (31.83, 31.96), (31.71, 31.91), (31.58, 31.91)),
  ),
  "cardiac_5x": (
    ((31.25, 0.8964), (31.33, 0.8968), (30.59, 0.8826)),
    ((30.59, 30.86), (30.88, 30.93), (30.73, 30.94), (30.51, 30.82), (30.73, 30.83)),
  ),
}


def get_config(setting="acdc"):
  config = study.start(setting, "Student-friendly teachers")
  setting, protocol = study.split(setting)
  for stage in config.stages.values():
    if stage.select == "mse":
      stage.select = "l1"
  config.stages.teacher_sft = study.copy(config, "teacher")
  base.student_friendly_teacher(config, protocol, "teacher_sft")
  config.pipeline = ("teacher", "teacher_sft", *config.pipeline[1:])
  config.evaluation.models = ("teacher", "teacher_sft", *config.evaluation.models[1:])
  for name, term in METHODS.items():
    study.add_student(config, name, hints=term)
    study.add_student(config, f"{name}_sft", hints=term, teacher="teacher_sft")
  config.evaluation.metrics = (*config.evaluation.metrics, "vif")
  config.evaluation.pairs = tuple((f"kd_{name}_sft", f"kd_{name}") for name in METHODS)
  if setting in PUBLISHED:
    config.evaluation.published = _published(*PUBLISHED[setting])
    config.evaluation.published_source = "SFT-KD-Recon, its table"
    config.evaluation.published_on.evaluation.protocol = "slice"
    config.evaluation.protocol = "slice"
  else:
    base.drop_published(config)
  return study.finish(config)


def _published(networks, students):
  rows = dict(zip(("teacher", "teacher_sft", "student"), networks, strict=True))
  for name, (alone, friendly) in zip(METHODS, students, strict=True):
    rows |= {f"kd_{name}": (alone,), f"kd_{name}_sft": (friendly,)}
  return rows

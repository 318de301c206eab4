"""Five methods with a student-friendly teacher (SFT-KD-Recon, Gayathri et al. 2023).

  python scripts/run.py --config=experiments/sft.py:acdc --workdir=runs/sft \
    --config.data.root=/path/to/ACDC --config.seeds=3

Every method teaches twice: from a teacher trained alone, and from one trained together
with branches of its student (rows ending in _sft). As published, a student starts from
random weights; to start from the blocks it learnt with the teacher, set
--config.stages.feature_NAME_sft.start_from=teacher_sft/branches.
"""

from ml_collections import ConfigDict

from experiments import base, study

METHODS = {
  "fitnets": study.features("fitnets"),
  "attention": study.features("attention_transfer"),
  "correlation": study.features("correlation_congruence", "delta"),
  "fsp": study.features("fsp"),
  "similarity": study.features("similarity_preserving"),
}


def get_config(setting="acdc"):
  config = study.start(setting, "Student-friendly teachers")
  teacher = config.stages.teacher.to_dict(preserve_field_references=True)
  config.stages.teacher_sft = ConfigDict(teacher)
  base.befriend(config, "paper", "teacher_sft")
  config.pipeline = ("teacher", "teacher_sft", *config.pipeline[1:])
  config.evaluation.models = ("teacher", "teacher_sft", *config.evaluation.models[1:])
  for name, term in METHODS.items():
    study.add_student(config, name, attention=term)
    study.add_student(config, f"{name}_sft", attention=term, teacher="teacher_sft")
  return study.finish(config)

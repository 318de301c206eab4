"""The network you have as the teacher: it teaches by its images.

  kdmri run --config=any_teacher --workdir=runs/any_teacher \
    --config.data.root=/path/to/images --config.stages.teacher.given=network.onnx

What is given is an ONNX file, a folder with the network's outputs, a file of weights,
or a stage of another run (docs/runs.md). Half of the loss of kd_taught is the
distance to its images; student_long is trained alone for as many steps. Without a given
teacher a DC-CNN is trained. The argument is a setting, own images by default.
"""

from kdmri_jax.experiments import base, study


def get_config(setting="own"):
  config = study.start(setting, "A given teacher")
  study.add_student(config, "taught")
  config.pipeline = ("teacher", "student_long", "kd_taught")
  config.evaluation.models = config.pipeline
  config.evaluation.update(student="student_long", control="")
  base.for_all_stages(config, **study.MUON)
  return study.finish(config)

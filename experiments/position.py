"""Position of the distilled convolution in a cascade (KD-MRI, appendix B).

  kdmri run --config=position:acdc --workdir=runs/position \
    --config.data.root=/path/to/ACDC --config.seeds=3

Attention transfer from the teacher's first, middle or last convolution to the
student's. The last ones have a single channel.
"""

from kdmri_jax.experiments import study

POSITIONS = {"first": (1, 1), "middle": (2, 3), "last": (3, 5)}


def get_config(setting="acdc"):
  config = study.start(setting, "Position of the distillation")
  for name, (guided, hint) in POSITIONS.items():
    term = study.features("attention_transfer", guided=guided, hint=hint)
    study.add_student(config, name, hints=term)
  return study.finish(config, kd="middle")

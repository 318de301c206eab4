"""Contribution of each of the three losses (KD-MRI, figure 3b).

  kdmri run --config=ablation:acdc --workdir=runs/ablation \
    --config.data.root=/path/to/ACDC --config.seeds=3

Every student is trained for as many epochs as the feature and kd stage together:
student_long on the target alone, the others with imitation, attention transfer, or
both.
"""

from kdmri_jax.experiments import study


def get_config(setting="acdc"):
  config = study.start(setting, "Ablation of the losses")
  attention = study.features("attention_transfer")
  study.add_student(config, "imitation")
  study.add_student(config, "attention", hints=attention, alpha=1.0)
  study.add_student(config, "both", hints=attention)
  return study.finish(config, kd="both")

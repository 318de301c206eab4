"""The best recipe found: a teacher trained for longer, imitated in k-space.

  kdmri run --config=best_kspace:acdc_small \
    --workdir=runs/best --config.data.root=/path/to/ACDC --config.seeds=3

One stage from random weights: half the distance to the target, half the distance to the
teacher's k-space where nothing was sampled; data consistency fixes the rest. The
teacher is trained four times as long as `student`. On ACDC it was the best of the seven
recipes of recipes.py, 0.16 dB [0.03, 0.30] ahead of a student trained alone for as long
(3 seeds, 12 subjects); on brain T1 images 0.14 dB [-0.18, 0.47] (3 seeds, one subject).
The argument is a setting.
"""

from kdmri_jax.experiments import recipes, study


def get_config(setting="acdc_small"):
  config = study.start(setting, "K-space imitation")
  recipes.train_teacher_longer(config)
  recipes.add_kspace(config)
  return study.finish(config)

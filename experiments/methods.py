"""Which feature distillation helps most (KD-MRI, figure 3a and appendix E).

  kdmri run --config=methods:acdc --workdir=runs/methods \
    --config.data.root=/path/to/ACDC --config.seeds=3

FitNets, FSP, similarity preserving, attentive hint and attention transfer teach the
student's layers; then it is trained on the target alone (alpha 1), as in the paper,
whose own setting is `methods.py:cardiac_8x`.
"""

from kdmri_jax.experiments import study

METHODS = {
  "fitnets": study.features("fitnets"),
  "fsp": study.features("fsp"),
  "similarity": study.features("similarity_preserving"),
  "attentive_hint": study.features("attentive_hint"),
  "attention": study.features("attention_transfer"),
}


def get_config(setting="acdc"):
  config = study.start(setting, "Feature distillation methods")
  for name, term in METHODS.items():
    study.add_student(config, name, hints=term, alpha=1.0)
  return study.finish(config)

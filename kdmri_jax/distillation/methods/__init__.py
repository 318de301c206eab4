"""Distillation methods, one file each; `METHODS` lists them by name.

`METHODS[name][variant]` is a `method.Method`.
"""

from kdmri_jax.distillation.methods import (
  activation_boundary,
  attention_transfer,
  attentive,
  channel_wise,
  correlation_congruence,
  factor_transfer,
  feature_affinity,
  fitnets,
  fsp,
  imitation,
  kspace_imitation,
  masked_generative,
  nst,
  pkt,
  review,
  rkd,
  similarity_preserving,
  teacher_bounded,
  vid,
)

METHODS = {
  # Images.
  "imitation": imitation.VARIANTS,
  "attentive_imitation": attentive.IMITATION,
  "teacher_bounded": teacher_bounded.VARIANTS,
  "kspace_imitation": kspace_imitation.VARIANTS,
  # Maps of one image.
  "attention_transfer": attention_transfer.VARIANTS,
  "attentive_hint": attentive.HINT,
  "channel_wise": channel_wise.VARIANTS,
  "feature_affinity": feature_affinity.VARIANTS,
  "fsp": fsp.VARIANTS,
  "nst": nst.VARIANTS,
  # Maps of one image, with auxiliary weights.
  "activation_boundary": activation_boundary.VARIANTS,
  "factor_transfer": factor_transfer.VARIANTS,
  "fitnets": fitnets.VARIANTS,
  "masked_generative": masked_generative.VARIANTS,
  "review": review.VARIANTS,
  "vid": vid.VARIANTS,
  # Relations between the images of a batch.
  "correlation_congruence": correlation_congruence.VARIANTS,
  "pkt": pkt.VARIANTS,
  "rkd": rkd.VARIANTS,
  "similarity_preserving": similarity_preserving.VARIANTS,
}

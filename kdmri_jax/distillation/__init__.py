"""Distillation methods; `METHODS` names them for configs, a line each.

`METHODS[name][variant]` is a `method.Method`.
"""

from kdmri_jax.distillation import (
  attention_transfer,
  attentive,
  channel_wise,
  correlation_congruence,
  feature_affinity,
  fsp,
  imitation,
  kspace_imitation,
  nst,
  pkt,
  rkd,
  similarity_preserving,
  teacher_bounded,
)

METHODS = {
  # Images.
  "imitation": imitation.VARIANTS,
  "attentive_imitation": attentive.VARIANTS,
  "teacher_bounded": teacher_bounded.VARIANTS,
  "kspace_imitation": kspace_imitation.VARIANTS,
  # Maps of one image.
  "attention_transfer": attention_transfer.VARIANTS,
  "attentive_hint": attentive.VARIANTS,
  "channel_wise": channel_wise.VARIANTS,
  "feature_affinity": feature_affinity.VARIANTS,
  "fsp": fsp.VARIANTS,
  "nst": nst.VARIANTS,
  # Relations between the images of a batch.
  "correlation_congruence": correlation_congruence.VARIANTS,
  "pkt": pkt.VARIANTS,
  "rkd": rkd.VARIANTS,
  "similarity_preserving": similarity_preserving.VARIANTS,
}

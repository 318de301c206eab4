"""Weights from elsewhere: original PyTorch checkpoints come in."""

from kdmri_jax.interop.edsr import from_edsr_state_dict, load_edsr_checkpoint
from kdmri_jax.interop.kdmri import from_kdmri_state_dict, load_kdmri_checkpoint
from kdmri_jax.interop.swinir import from_swinir_state_dict, load_swinir_checkpoint
from kdmri_jax.interop.vgg import load_vgg

__all__ = [
  "from_edsr_state_dict",
  "from_kdmri_state_dict",
  "from_swinir_state_dict",
  "load_edsr_checkpoint",
  "load_kdmri_checkpoint",
  "load_swinir_checkpoint",
  "load_vgg",
]

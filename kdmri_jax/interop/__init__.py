"""Weights from elsewhere: original PyTorch checkpoints come in."""

from kdmri_jax.interop.kdmri import from_kdmri_state_dict, load_kdmri_checkpoint
from kdmri_jax.interop.vgg import load_vgg

__all__ = ["from_kdmri_state_dict", "load_kdmri_checkpoint", "load_vgg"]

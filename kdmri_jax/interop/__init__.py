"""Weights from elsewhere: original PyTorch checkpoints come in."""

from kdmri_jax.interop.kdmri import from_kdmri_state_dict, load_kdmri_checkpoint

__all__ = ["from_kdmri_state_dict", "load_kdmri_checkpoint"]

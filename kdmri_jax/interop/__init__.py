"""Reads published PyTorch checkpoints, and exports trained networks."""

from kdmri_jax.interop.edsr import from_edsr_state_dict, load_edsr_checkpoint
from kdmri_jax.interop.jax_bundle import save_jax_bundle
from kdmri_jax.interop.kdmri import (
  from_kdmri_state_dict,
  load_kdmri_checkpoint,
  save_kdmri_checkpoint,
)
from kdmri_jax.interop.onnx_file import save_onnx
from kdmri_jax.interop.swinir import from_swinir_state_dict, load_swinir_checkpoint
from kdmri_jax.interop.vgg import load_vgg

# Format -> a function of file, model, parameters, size of the slices and whether they
# are scaled. It writes the file, or raises a UserError, and returns a message for the
# user.
EXPORTS = {
  "jax": save_jax_bundle,
  "kdmri": lambda path, model, params, *_: save_kdmri_checkpoint(path, model, params),
  "onnx": save_onnx,
}

__all__ = [
  "EXPORTS",
  "from_edsr_state_dict",
  "from_kdmri_state_dict",
  "from_swinir_state_dict",
  "load_edsr_checkpoint",
  "load_kdmri_checkpoint",
  "load_swinir_checkpoint",
  "load_vgg",
  "save_jax_bundle",
  "save_kdmri_checkpoint",
  "save_onnx",
]

"""Reads published checkpoints, and exports trained networks."""

import pathlib

from kdmri_jax.interop.edsr import from_edsr_state_dict, load_edsr_checkpoint
from kdmri_jax.interop.example import example
from kdmri_jax.interop.jax_bundle import save_jax_bundle
from kdmri_jax.interop.kdmri import (
  from_kdmri_state_dict,
  load_kdmri_checkpoint,
  save_kdmri_checkpoint,
)
from kdmri_jax.interop.lasagne import from_lasagne_arrays, load_lasagne_checkpoint
from kdmri_jax.interop.onnx_file import save_onnx
from kdmri_jax.interop.swinir import from_swinir_state_dict, load_swinir_checkpoint
from kdmri_jax.interop.unet import from_unet_state_dict, load_unet_checkpoint
from kdmri_jax.interop.varnet import from_varnet_state_dict, load_varnet_checkpoint
from kdmri_jax.interop.vgg import load_vgg
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.models.edsr import EDSR
from kdmri_jax.models.swinir import SwinIR
from kdmri_jax.models.unet import UNet
from kdmri_jax.models.varnet import VarNet
from kdmri_jax.models.vdsr import VDSR

# Format -> a function of file, model, parameters, size of the slices and their
# `InputScale`. It writes the file, or raises a UserError, and returns a message for the
# user.
EXPORTS = {
  "jax": save_jax_bundle,
  "kdmri": lambda path, model, params, *_: save_kdmri_checkpoint(path, model, params),
  "onnx": save_onnx,
}


def _load_dccnn(path, _):
  if pathlib.Path(path).suffix.lower() == ".npz":
    return load_lasagne_checkpoint(path)
  return load_kdmri_checkpoint(path)


# Network -> a function of a file of published weights and of the network that a stage
# has, which gives the file's network and its variables.
CHECKPOINTS = {
  DCCNN: _load_dccnn,
  VDSR: lambda path, _: load_kdmri_checkpoint(path),
  EDSR: lambda path, model: load_edsr_checkpoint(path, res_scale=model.res_scale),
  SwinIR: lambda path, _: load_swinir_checkpoint(path),
  UNet: lambda path, _: load_unet_checkpoint(path),
  VarNet: lambda path, model: load_varnet_checkpoint(path, channels=model.channels),
}

__all__ = [
  "CHECKPOINTS",
  "EXPORTS",
  "example",
  "from_edsr_state_dict",
  "from_kdmri_state_dict",
  "from_lasagne_arrays",
  "from_swinir_state_dict",
  "from_unet_state_dict",
  "from_varnet_state_dict",
  "load_edsr_checkpoint",
  "load_kdmri_checkpoint",
  "load_lasagne_checkpoint",
  "load_swinir_checkpoint",
  "load_unet_checkpoint",
  "load_varnet_checkpoint",
  "load_vgg",
  "save_jax_bundle",
  "save_kdmri_checkpoint",
  "save_onnx",
]

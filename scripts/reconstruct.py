"""Reconstructs a file with a trained network.

  python scripts/reconstruct.py --workdir=runs/demo --stage=kd \\
    --input=patient.nii.gz --out=patient_kd.h5

The input is undersampled k-space (.h5 with `kspace`, slices first, or the published
code's `kspace_volus_*`; zero frequency at [0, 0]) or fully sampled images (.nii,
.nii.gz, .h5), which are measured first, as the run did: with its mask or --mask, and
with its noise. --as_is enhances images as they are, such as noisy ones by a network
that has learnt to denoise. Of a run with several tasks or seeds --task and --seed
choose. The output holds `reconstruction` and `zero_filled` (the network's input),
(slices, rows, columns), in the input's units; of images that were measured first also
`target`.
"""

import pathlib
import tempfile

from absl import flags

from kdmri_jax import cli

_WORKDIR = flags.DEFINE_string("workdir", None, "Work directory of a run.")
_STAGE = flags.DEFINE_string("stage", "kd", "Stage whose best weights to use.")
_SEED = flags.DEFINE_integer(
  "seed", None, "Seed whose weights to use; default: the first of the run."
)
_INPUT = flags.DEFINE_string("input", None, "File to reconstruct.")
_OUT = flags.DEFINE_string("out", None, "h5 file to write; must not exist.")
_MASK = flags.DEFINE_string(
  "mask", "", "Mask file (.npy, rows x columns); default: the mask of the run."
)
_TASK = flags.DEFINE_string(
  "task", "", "Task of a run with several; default: its first one."
)
_AS_IS = flags.DEFINE_bool(
  "as_is", False, "Enhance images as they are, instead of measuring them first."
)
_BATCH = flags.DEFINE_integer("batch_size", 4, "Slices at a time.", lower_bound=1)


def main(argv):
  del argv
  from kdmri_jax.training import parallel

  parallel.use_cores()
  import h5py
  import numpy as np

  from kdmri_jax.errors import UserError
  from kdmri_jax.evaluation import reconstruct
  from kdmri_jax.saving import replacing, saving

  out = pathlib.Path(_OUT.value)
  if out.exists():
    raise UserError(out, "a file there", "a new file", "Choose another --out.")
  with saving(out), tempfile.TemporaryFile(dir=out.parent):
    pass  # its folder can be written, so that the work will not be in vain
  result = reconstruct.run_file(
    pathlib.Path(_WORKDIR.value),
    _STAGE.value,
    pathlib.Path(_INPUT.value),
    mask_path=_MASK.value,
    batch_size=_BATCH.value,
    seed=_SEED.value,
    task=_TASK.value,
    as_is=_AS_IS.value,
  )
  with replacing(out) as temporary, h5py.File(temporary, "w") as file:
    for key, images in result.items():
      file[key] = images
  shape = np.shape(result["reconstruction"])
  print(f"{out}: {shape[0]} slices of {shape[1]}x{shape[2]}")


if __name__ == "__main__":
  flags.mark_flags_as_required(["workdir", "input", "out"])
  cli.run_main(main)

"""Reconstructs a file with a trained network.

  kdmri reconstruct --workdir=runs/demo --stage=kd \\
    --input=patient.nii.gz --out=patient_kd.nii.gz

The input is any file or folder that a data source reads; --source names the source
where it cannot be recognised. Undersampled k-space (h5 with `kspace`, slices first, or
the published code's `kspace_volus_*`; .npy; raw data of fastMRI, ISMRM, BART,
Calgary-Campinas or in MATLAB files) is reconstructed as it is. Fully sampled images and
k-space are undersampled first, as in the run: with its mask or --mask, and with its
noise. --as_is enhances images without this, such as noisy images with a network that
denoises; networks with data consistency, which keeps such images, are refused.
--combine=none keeps the k-space of several coils, with sensitivities that
--sensitivities names. --task and --seed select from a run with several.
--precision=bfloat16 computes in half precision, faster where the hardware has it.

The output, in the input's units, is h5 with `reconstruction`, `zero_filled` (the
network's input), of several coils `cg_sense` (the classical reconstruction) and, for
input that was undersampled first, `target`, (slices, rows, columns); or the
reconstruction alone as NIfTI, in the position of a NIfTI or DICOM input, or as cfl. The
section "Reconstructions" of docs/data.md describes each format.

The command prints what it did and what the network was trained on, and warns where the
scan lies outside of that (size, mask, statistics of the images), and where the result
is worse than its input. The same text is in the attribute `provenance` of h5, and in
NAME.json beside NIfTI and cfl.
"""

if __name__ == "__main__":
  from _missing import explain_missing_packages

  explain_missing_packages()

import pathlib

from absl import flags

from kdmri_jax import cli
from kdmri_jax.errors import arguments_of

_WORKDIR = flags.DEFINE_string(
  "workdir",
  None,
  "Work directory of a run, or pretrained:NAME, see docs/pretrained.md.",
  required=True,
)
_STAGE = flags.DEFINE_string(
  "stage", None, "Stage whose best weights to use; default: kd."
)
_SEED = flags.DEFINE_integer(
  "seed", None, "Seed whose weights to use; default: the first of the run."
)
_INPUT = flags.DEFINE_string(
  "input", None, "File or folder to reconstruct.", required=True
)
_SOURCE = flags.DEFINE_string(
  "source",
  "",
  "Data source that reads it, by name or package.module:name; default: told from name "
  "and contents.",
)
_CONTRAST = flags.DEFINE_string(
  "contrast",
  "",
  "Image to read, as data.contrast; for cfl and complex npy 'kspace' or 'image'.",
)
_COMBINE = flags.DEFINE_string(
  "combine",
  "",
  "'rss', 'sense' or 'none', as data.combine.",
)
_SENSITIVITIES = flags.DEFINE_string(
  "sensitivities",
  "",
  "'espirit', 'low_resolution' or 'given', as data.sensitivities, with --combine=none.",
)
_VARIABLE = flags.DEFINE_string(
  "variable", "", "Name of the array to read with --source=arrays, as data.variable."
)
_AXES = flags.DEFINE_list(
  "axes", [], "Its axes, such as rows,columns,slices, as data.axes."
)
_VOLUME = flags.DEFINE_string(
  "volume", "", "Name of the volume, where the input holds several."
)
_OUT = flags.DEFINE_string("out", None, "File to write; must not exist.", required=True)
_FORMAT = flags.DEFINE_string(
  "format", "", "h5, nifti or cfl; default: the ending of --out, or h5."
)
_MASK = flags.DEFINE_string(
  "mask",
  "",
  "Mask file (.npy, rows x columns); default: the mask of the input, or of the run.",
)
_TASK = flags.DEFINE_string(
  "task", "", "Task of a run with several; default: its first one."
)
_AS_IS = flags.DEFINE_bool(
  "as_is", False, "Enhance images without undersampling them first."
)
_PRECISION = flags.DEFINE_string(
  "precision",
  "",
  "Of the network's hidden layers: 'float32', 'tensorfloat32' or 'bfloat16'; "
  "default: that of its training.",
)
_BATCH = flags.DEFINE_integer("batch_size", 4, "Slices at a time.", lower_bound=1)


def main(argv):
  cli.refuse_arguments(argv)
  from kdmri_jax.training import parallel

  parallel.use_cores()
  import numpy as np

  from kdmri_jax import scratch
  from kdmri_jax.inference import load, read_scan, reconstruct, write_scan
  from kdmri_jax.saving import saving

  out = pathlib.Path(_OUT.value)
  with arguments_of("--"):
    form = write_scan.check_target(out, _FORMAT.value)
  with saving(out), scratch.folder_in(out.parent):
    pass  # checks that its folder can be written, before the work
  workdir = pathlib.Path(_WORKDIR.value)
  with arguments_of("--"):
    stage = load.choose_stage(workdir, _STAGE.value, _SEED.value)
    scan = read_scan.read(
      pathlib.Path(_INPUT.value),
      load.read_config(workdir).data,
      source=_SOURCE.value,
      contrast=_CONTRAST.value,
      combine=_COMBINE.value,
      sensitivities=_SENSITIVITIES.value,
      variable=_VARIABLE.value,
      axes=tuple(_AXES.value),
      name=_VOLUME.value,
    )
    result = reconstruct.run_scan(
      workdir,
      stage,
      scan,
      mask_path=_MASK.value,
      batch_size=_BATCH.value,
      seed=_SEED.value,
      task=_TASK.value,
      as_is=_AS_IS.value,
      precision=_PRECISION.value,
    )
  record = result.account.record()
  write_scan.write(out, result.images, scan.record, form, scan.header, record)
  shape = np.shape(result.images["reconstruction"])
  print(f"{out}: {shape[0]} slices of {shape[1]}x{shape[2]}")
  print(result.account)
  if note := scan.record.get("note"):
    print(note)


if __name__ == "__main__":
  cli.run_main(main)

"""Brain T1 images of multiple-sclerosis patients at 4x, on a budget for two cores.

  kdmri run --config=brain_t1 --workdir=runs/brain_t1 \
    --config.data.root=/path/to/folder

The images: the open_ms_data set (University of Ljubljana, Lesjak et al.,
Neuroinformatics 2016; on GitHub as muschellij2/open_ms_data), the files
longitudinal/raw/patientNN/studyK_T1W.nii.gz copied as patientNN_studyK_T1W.nii.gz.
Three subjects (four volumes) for training, one for the comparison: with a single
subject the interval covers differences between slices, not between subjects.
"""

from kdmri_jax.experiments import base, study


def get_config(protocol="paper"):
  config = base.get_config(protocol)
  config.name = f"Brain T1, 4x, {protocol} losses, reduced budget"
  config.data.update(
    source="nifti",
    root="data/brain_t1",
    include=("patient01_study2*", "patient04*", "patient12*", "patient20*"),
    subject_pattern=r"patient\d+",
    train=("patient01", "patient12", "patient20"),
    validation=("patient04",),
    crop=(256, 256),
    slices_per_volume=24,
  )
  base.short_schedule(config, epochs=20)
  study.add_control(config)
  return config

"""Trains the networks that the package ships, from images that anybody may use.

  kdmri run --config=pretrained:cardiac_4x --workdir=runs/cardiac_4x \
    --config.data.root=/path/to/folder

The argument is one of `SETS`. The images of the heart: the Sunnybrook Cardiac Data
(Cardiac Atlas Project, public domain), end-diastolic and end-systolic short-axis slices
of 30 patients as one NumPy archive: `image` [526, 256, 256] and `subject`, the name of
the patient of each slice. Those of the head: as in brain_t1.py, CC BY.

The subjects of the three splits are named here. Nothing is chosen by the test subjects:
the best weights of a stage are those of the lowest error on the validation subjects.
`kd` begins as its teacher and becomes the student (shrink.py); `student` is trained
alone for as many steps. `kd_narrow` has half of the features and twice the convolutions
(shapes.py) and imitates the teacher; `narrow` is the same network alone. The kernels of
all DC-CNNs are trained as three convolutions, but for the teacher at 8x, whose
validation error is lower with plain ones. In cardiac_denoise an EDSR imitates a SwinIR.
`kdmri pack` makes a finished stage one of the shipped networks.
"""

from kdmri_jax.experiments import base, enhancement, study
from kdmri_jax.experiments.shapes import SHAPES
from kdmri_jax.experiments.shrink import SHRINK

HEART = dict(
  source="npz",
  root="data/sunnybrook",
  validation=("*HF-I-07", "*HF-NI-34", "*HYP-38", "*SC-N-06"),
  test=(
    "*HF-I-40",
    "*HF-I-08",
    "*HF-NI-3[36]",
    "*HYP-37",
    "*HYP-40",
    "*SC-N-40",
    "*SC-N-07",
  ),
  crop=(128, 128),
)
HEAD = dict(
  source="nifti",
  root="data/brain_t1",
  include=("patient01_study2*", "patient04*", "patient12*", "patient20*"),
  subject_pattern=r"patient\d+",
  train=("patient01", "patient12"),
  validation=("patient20",),
  test=("patient04",),
  crop=(256, 256),
)
# Images, acceleration, centre lines, epochs of every stage, the teacher's kernels.
RECONSTRUCTION = {
  "cardiac_4x": (HEART, 4.0, 8, 60, "expanded"),
  "cardiac_8x": (HEART, 8.0, 8, 60, "plain"),
  "brain_4x": (HEAD, 4.0, 10, 40, "expanded"),
}
SETS = (*RECONSTRUCTION, "cardiac_sr4x", "cardiac_denoise")
# Of a VDSR, half of the published: the networks of the package stay below 2 MB.
VDSR_FEATURES = 32


def get_config(argument="cardiac_4x"):
  if argument not in SETS:
    known = ", ".join(SETS)
    raise ValueError(f"{argument!r} is no set of networks; the sets are {known}")
  if argument == "cardiac_denoise":
    config = _denoising()
  elif argument == "cardiac_sr4x":
    config = _super_resolution()
  else:
    config = _reconstruction(*RECONSTRUCTION[argument])
  config.name = f"Pretrained networks, {argument}"
  config.evaluation.control = "student"
  base.for_all_stages(config, **study.MUON)
  base.drop_published(config)
  return config


def _reconstruction(data, acceleration, centre_lines, epochs, kernels):
  """A DC-CNN becomes its student, and teaches a narrow one of as many parameters."""
  config = base.get_config("paper")
  config.data.update(data)
  config.mask.update(acceleration=acceleration, centre_lines=centre_lines)
  _shrink(config, epochs)
  base.for_all_stages(config, kernels="expanded")
  config.stages.teacher.kernels = kernels
  config.models.narrow = dict(config.models.student, **SHAPES["narrow_6"])
  for name, original in (("narrow", "student"), ("kd_narrow", "kd")):
    config.stages[name] = study.copy(config, original)
    config.stages[name].update(model="narrow", shrink=0.0)
  config.pipeline = (*config.pipeline, "narrow", "kd_narrow")
  config.evaluation.models = (*config.evaluation.models, "narrow", "kd_narrow")
  config.evaluation.distilled = ("kd", "kd_narrow")
  config.evaluation.pairs = (("kd_narrow", "narrow"), ("kd_narrow", "kd"))
  return config


def _super_resolution():
  """A VDSR becomes its student; of k-space they have the central 1/4 of both axes."""
  config = base.get_config("paper")
  config.data.update(HEART)
  base.super_resolution(config)
  config.augment.update(rotations=True, patch=(64, 64))
  for model in config.models.values():
    model.features = VDSR_FEATURES
  return _shrink(config, epochs=120)


def _shrink(config, epochs):
  config.augment.flips = True
  config.epochs = epochs
  config.pipeline = ("student", "teacher", "kd")
  del config.stages.feature
  config.stages.kd.update(start_from="", shrink=SHRINK)
  return config


def _denoising():
  """SwinIR teaches EDSR, as in model_based.py with alpha 0.5."""
  config = base.get_config("paper")
  enhancement.without_stages(config)
  config.data.update(HEART)
  config.mask.kind = "full"
  config.noise = enhancement.NOISE
  config.epochs = 30
  networks = enhancement.NETWORKS["small"]
  config.models.update(teacher=networks["swinir"], student=networks["edsr"])
  enhancement.add_stage(config, "student", "student")
  enhancement.add_stage(config, "teacher", "teacher", times=2)
  enhancement.add_stage(config, "kd", "student", alpha=0.5, teacher="teacher")
  return config

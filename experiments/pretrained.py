"""Trains the networks that the package ships, from images that anybody may use.

  kdmri run --config=pretrained:cardiac_4x --workdir=runs/cardiac_4x \
    --config.data.root=/path/to/folder

The argument is one of `SETS`. The images of the heart: the Sunnybrook Cardiac Data
(Cardiac Atlas Project, public domain), end-diastolic and end-systolic short-axis slices
of 30 patients as one NumPy archive: `image` [526, 256, 256] and `subject`, the name of
the patient of each slice. Those of the head: as in brain_t1.py, CC BY.

The subjects of the three splits are named here. Nothing is chosen by the test subjects:
the best weights of a stage are those of the lowest error on the validation subjects.
`student` is trained alone for as many steps as `feature` and `kd` together.
`kdmri pack` makes a finished stage one of the shipped networks.
"""

from kdmri_jax.experiments import base

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
# Images, acceleration, centre lines, and epochs of the teacher and of kd.
SETS = {
  "cardiac_4x": (HEART, 4.0, 8, 100, 60),
  "cardiac_8x": (HEART, 8.0, 8, 100, 60),
  "brain_4x": (HEAD, 4.0, 10, 60, 40),
}


def get_config(argument="cardiac_4x"):
  if argument not in SETS:
    known = ", ".join(SETS)
    raise ValueError(f"{argument!r} is no set of networks; the sets are {known}")
  data, acceleration, centre_lines, teacher, student = SETS[argument]
  config = base.get_config("paper")
  config.name = f"Pretrained networks, {argument}"
  config.data.update(data)
  config.mask.update(acceleration=acceleration, centre_lines=centre_lines)
  config.pipeline = ("student", "teacher", "feature", "kd")
  config.augment.flips = True
  config.epochs = student
  config.stages.teacher.epochs = teacher
  config.stages.student.epochs = config.get_oneway_ref("epochs") * 2
  base.for_all_stages(
    config, learning_rate=1e-3, optimiser="muon", schedule="cosine", warmup=0.02
  )
  config.evaluation.control = "student"
  base.drop_published(config)
  return config

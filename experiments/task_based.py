"""Task-based distillation: two experts teach one network (Shou et al., ISMRM).

  kdmri run --config=task_based:brain_t1 \
    --workdir=runs/task_based --config.data.root=/path/to/folder

One EDSR learns to denoise, one to sharpen images of half the resolution; each then
teaches a third, of the same size, on the samples of its own task. `student` learns both
tasks from the same data without a teacher. Each task has its own report. Of given pairs
(`task_based:pairs`) both tasks start from the input: as it is, and at half its
resolution.
"""

from kdmri_jax.experiments import enhancement


def get_config(argument="brain_t1"):
  config, networks = enhancement.start(argument, "Two experts teach one network")
  low = dict(enhancement.FULL, kind="central")
  config.tasks.denoise = dict(mask=enhancement.FULL, noise=enhancement.noise(argument))
  config.tasks.sharpen = dict(mask=low)
  config.models.edsr = networks["edsr"]
  experts = {}
  for task in config.tasks:
    experts[task] = f"expert_{task}"
    enhancement.add_stage(config, experts[task], "edsr", tasks=(task,))
  enhancement.add_stage(config, "student", "edsr")
  enhancement.add_stage(config, "kd", "edsr", alpha=0.5, teachers=experts)
  config.evaluation.teacher = experts["denoise"]
  config.evaluation.teachers = experts
  return config

"""How images become measurements: each task has a mask and noise."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from kdmri_jax.config import CoilsConfig, TaskConfig
from kdmri_jax.errors import arguments_of
from kdmri_jax.physics import noise
from kdmri_jax.physics.coils.simulated import simulate
from kdmri_jax.physics.masks import recipes
from kdmri_jax.physics.sampled import is_sampled
from kdmri_jax.physics.undersample import undersample, zero_fill
from kdmri_jax.types import Acquisition, Array, CoilMeasurement, Measurement


def build(
  tasks: Mapping[str, TaskConfig],
  shape: tuple[int, int],
  coils: CoilsConfig | None = None,
) -> Acquisition:
  """The acquisition that a config describes.

  Averaging N acquisitions raises the signal-to-noise ratio by sqrt(N).

  Args:
    tasks: the tasks by name.
    shape: rows and columns of the images.
    coils: the simulated coils; None for none.

  Raises:
    ArgumentError: a mask cannot be made from its settings, such as `mask.seed`; of a
      named task `tasks.NAME.mask.seed`.
    UserError: a mask file is refused.
  """
  masks = []
  for name, task in tasks.items():
    with arguments_of(f"tasks.{name}.mask." if name else "mask."):
      masks.append(recipes.build(task.mask, shape))
  snr = np.array(
    [np.array(t.noise.snr) * np.sqrt(t.noise.averages) for t in tasks.values()],
    np.float32,
  )
  snr = None if np.isinf(snr).all() else snr
  if coils is None or not coils.count:
    return Acquisition(np.stack(masks), snr)
  maps = np.stack([simulate(shape, coils.count, coils.seed)] * len(masks))
  return Acquisition(np.stack(masks), snr, maps)


def measure(
  target: Array,
  acquisition: Acquisition,
  task: Array | None = None,
  draws: Array | None = None,
  coils: tuple[Array, Array] | None = None,
) -> tuple[Array, Measurement | CoilMeasurement]:
  """Measures fully sampled images.

  Args:
    target: float32 [B, H, W, C], C = 1 or 2.
    acquisition: of one task, or of several.
    task: number of each image's task, int32 [B]; None where there is one.
    draws: the noise seed of each image, uint32 [B]; not used without noise.
    coils: k-space and sensitivities of several coils, complex64 [B, Coils, H, W]; the
      mask is applied to this k-space instead of that of the target.

  Returns:
    The zero-filled images, float32 [B, H, W, C], and the measurement.
  """
  row = 0 if task is None else task
  mask = jnp.asarray(acquisition.masks)[row]
  if coils is not None:
    kspace, maps = coils
    sampled = is_sampled(mask)[..., None, :, :]
    measurement = CoilMeasurement(jnp.where(sampled, kspace, 0), mask, maps)
    zero_filled = zero_fill(measurement, target.shape[-1])
  else:
    maps = acquisition.sensitivities
    maps = None if maps is None else jnp.asarray(maps)[0]
    zero_filled, measurement = undersample(target, mask, maps)
  if acquisition.snr is None:
    return zero_filled, measurement
  bounds = jnp.asarray(acquisition.snr)[row]
  snr = noise.draw_snr(draws, bounds[..., 0], bounds[..., 1])
  measurement = noise.add(measurement, target, snr, draws)
  return zero_fill(measurement, target.shape[-1]), measurement

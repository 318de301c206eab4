"""The part of the schema on the conditions under which networks are compared, too."""

import dataclasses

from kdmri_jax.config.data import OtherSourceConfig
from kdmri_jax.config.setting import Settings, setting


@dataclasses.dataclass(frozen=True)
class RobustnessConfig(Settings):
  """Shifted conditions, under which the trained networks are compared, too.

  Each value is a condition of its own: it changes one property of the run's measurement
  and leaves the others.

  Attributes:
    accelerations: other accelerations of the mask.
    mask_seeds: other seeds of the mask.
    axes: other phase-encode axes, 0 (rows) or 1 (columns).
    snr: signal-to-noise ratios of noise in the measured k-space, in place of `noise`.
    sources: name -> another source of volumes, such as another anatomy or contrast; all
      its volumes are measured with the run's mask and noise.
    perturbations: norms of small perturbations of the measured k-space over its own
      norm, such as 0.01: one random perturbation for all networks, and for each network
      the worst one, found by projected gradient ascent.
    steps: gradient steps of that search.
  """

  accelerations: tuple[float, ...] = setting((), least=1)
  mask_seeds: tuple[int, ...] = setting((), least=0)
  axes: tuple[int, ...] = setting((), least=0, most=1)
  snr: tuple[float, ...] = setting((), least=1e-3)
  sources: dict[str, OtherSourceConfig] = setting(dict)
  perturbations: tuple[float, ...] = setting((), least=1e-6, most=1)
  steps: int = setting(20, least=1)

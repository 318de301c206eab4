"""The part of the schema on how slices are measured."""

import dataclasses
import math

from kdmri_jax.config.setting import Settings, setting

MASKS = ("cartesian", "equispaced", "gaussian2d", "central", "full", "file")


@dataclasses.dataclass(frozen=True)
class MaskConfig(Settings):
  """The sampling mask.

  Attributes:
    kind: "cartesian" (the published recipe), "equispaced", "gaussian2d", "central"
      (the low frequencies alone, for super-resolution), "full" or "file".
    acceleration: N / number of sampled lines (or points); for "central" the factor by
      which the resolution of each axis decreases.
    centre_lines: fully sampled lines about zero frequency; unused by "central".
    axis: phase-encode axis, 0 (rows) or 1 (columns); unused by "gaussian2d" and
      "central".
    seed: seed of the draw; unused by "central".
    path: .npy file for kind "file".
  """

  kind: str = setting("cartesian", choices=MASKS)
  acceleration: float = setting(4.0)
  centre_lines: int = setting(10)
  axis: int = setting(0, least=0, most=1)
  seed: int = setting(0, least=0)
  path: str = setting("", free=True, place=True)

  @property
  def in_words(self) -> str:
    """What it samples, such as "cartesian mask of acceleration 4"."""
    if self.kind == "full":
      return "fully sampled"
    if self.kind == "central":
      return f"the central 1/{self.acceleration:g} of each axis"
    if self.kind == "file":
      return "a given mask"
    return f"{self.kind} mask of acceleration {self.acceleration:g}"


@dataclasses.dataclass(frozen=True)
class NoiseConfig(Settings):
  """Noise that is added to the measured k-space, see `physics.noise`.

  Attributes:
    snr: lowest and highest signal-to-noise ratio of one acquisition, drawn for each
      image; (inf, inf) for no noise.
    averages: acquisitions averaged.
    fresh: whether training draws new noise in every step; otherwise, as in validation
      and evaluation, the noise of each slice is fixed.
  """

  snr: tuple[float, float] = setting((math.inf, math.inf), most=math.inf)
  averages: int = setting(1, least=1)
  fresh: bool = setting(True)

  @property
  def in_words(self) -> str:
    """Its strength, such as "noise of SNR 4 to 12"; "" for none."""
    low, high = self.snr
    if math.isinf(low):
      return ""
    span = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    return f"noise of SNR {span}" + f", {self.averages} averages" * (self.averages > 1)


@dataclasses.dataclass(frozen=True)
class CoilsConfig(Settings):
  """Receiver coils whose k-space is simulated, see `physics.coils.simulate`.

  Attributes:
    count: number of coils around the image; 0 for k-space of the image itself. With
      coils, images have two channels.
    seed: seed of their places and phases.
    phase: images without a phase get a smooth one, as those of scans have: it varies
      by up to this many radians (see `physics.coils.add_phase`); 0 for none. Images
      with given inputs stay as they are.
  """

  count: int = setting(0, least=0)
  seed: int = setting(0, least=0)
  phase: float = setting(3.0, least=0)

  @property
  def phase_of_images(self) -> float:
    """`phase`, or 0 where no coils are simulated."""
    return self.phase if self.count else 0.0


@dataclasses.dataclass(frozen=True)
class TaskConfig(Settings):
  """One task: the measurement that the networks invert.

  Attributes:
    mask: the sampling mask.
    noise: the noise.
  """

  mask: MaskConfig = setting(MaskConfig)
  noise: NoiseConfig = setting(NoiseConfig)

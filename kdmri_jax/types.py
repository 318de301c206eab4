"""Array conventions and the containers that modules exchange.

Conventions, valid everywhere:

* Images are float32 [B, H, W, C]: C = 1 for real images, C = 2 for complex
  images (real and imaginary part). Intensities are about 0..1.
* k-space is complex64 [B, H, W], orthonormal, zero frequency at [0, 0]. Centred
  data is shifted once, by its reader.
* Masks are [H, W] or [B, H, W]; 1 = sampled, 0 = not, in the same uncentred
  order as the k-space.
"""

from typing import Any, NamedTuple

import jax

Array = jax.Array
Shape = tuple[int, int]  # rows and columns of an image


class Measurement(NamedTuple):
  """The measurement of a scanner.

  Attributes:
    kspace: measured k-space, complex64 [B, H, W]; 0 where not sampled.
    mask: sampling mask, [H, W] or [B, H, W].
  """

  kspace: Array
  mask: Any


class CoilMeasurement(NamedTuple):
  """The measurement of a scanner with several coils.

  Attributes:
    kspace: measured k-space, complex64 [B, C, H, W]; 0 where not sampled.
    mask: sampling mask, [H, W] or [B, H, W].
    sensitivities: of the coils, complex64 [B, C, H, W] or [C, H, W].
  """

  kspace: Array
  mask: Any
  sensitivities: Any


class Acquisition(NamedTuple):
  """How images are measured, with one entry per task.

  Attributes:
    masks: sampling masks, [T, H, W].
    snr: lowest and highest signal-to-noise ratio, float32 [T, 2], inf for no noise;
      None where no task has noise.
    sensitivities: of simulated coils, complex64 [T, C, H, W], the same for all tasks;
      None without coils.
  """

  masks: Any
  snr: Any = None
  sensitivities: Any = None


class Outputs(NamedTuple):
  """The result of a reconstruction network.

  Attributes:
    image: float32 [B, H, W, C].
  """

  image: Array


class Batch(NamedTuple):
  """One training or validation batch, complete before a network sees it.

  Attributes:
    target: fully sampled image, float32 [B, H, W, C].
    zero_filled: network input, float32 [B, H, W, C].
    measurement: the k-space behind the input and its mask; None for patches.
    task: number of the task of each image, int32 [B]; None where there is one.
    given: layers of a teacher whose outputs are given, by name: `image`, float32
      [B, H, W, C], and others [B, ...]; None without such a teacher.
  """

  target: Array
  zero_filled: Array
  measurement: Measurement | None
  task: Array | None = None
  given: dict[str, Array] | None = None


class Slices(NamedTuple):
  """A set of slices as stored, before the measurement is simulated.

  The leading axis is the slice (the whole set) or the batch (a part of it).

  Attributes:
    target: float32 [N, H, W, C].
    kspace: complex64 [N, H, W] where the data contains it, else None; of several coils
      [N, C, H, W], of which the mask takes the sampled points.
    zero_filled: float32 [N, H, W, C] where the data contains it, else None.
    task: number of each slice's task, int32 [N]; None where there is one.
    draws: the noise seed of each slice, uint32 [N]; None without noise.
    hints: outputs of a frozen teacher for these slices: a dict from the name of a loss
      term to a pytree of arrays [N, ...]; None without cache.
    given: layers of a teacher whose outputs are given, by name: `image`, float32
      [N, H, W, C], and others [N, ...]; None without such a teacher.
    sensitivities: of the coils of `kspace`, complex64 [N, C, H, W]; None for one coil.
    input: images that are measured in place of the target, float32 [N, H, W, C]; None
      where the target is measured.
  """

  target: Any
  kspace: Any = None
  zero_filled: Any = None
  task: Any = None
  draws: Any = None
  hints: Any = None
  given: Any = None
  sensitivities: Any = None
  input: Any = None

  @property
  def scanned(self) -> Any:
    """The images that are measured: the given input or, without it, the target."""
    return self.target if self.input is None else self.input


def shape_of(slices: Slices) -> Shape:
  """Rows and columns of a set of slices."""
  return tuple(slices.target.shape[1:3])

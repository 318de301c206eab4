"""The slices of some volumes as arrays, one set for each slice shape."""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from kdmri_jax.data import stored
from kdmri_jax.data.stored import is_stored
from kdmri_jax.data.volume import Volume
from kdmri_jax.physics.coils.phase import add_phase
from kdmri_jax.types import Shape, Slices


class Span(NamedTuple):
  """The place of a volume's slices: the rows start:stop of a part."""

  part: int
  start: int
  stop: int


@dataclasses.dataclass(frozen=True, eq=False)
class SliceSet:
  """The slices of one split.

  Attributes:
    volumes: the volumes in order; their arrays share memory with `parts`.
    parts: the slices of each shape: target and, where every volume of the data contains
      them, k-space and zero-filled image, else None for both; of several coils k-space
      and sensitivities; the given inputs, where there are any; NumPy arrays, or
      `StoredArray` where they stay in their files.
    spans: place of each volume's slices.
  """

  volumes: tuple[Volume, ...]
  parts: tuple[Slices, ...]
  spans: tuple[Span, ...]

  def of_part(self, number: int) -> list[tuple[Volume, Span]]:
    """The volumes of a part, in the order of its rows."""
    pairs = zip(self.volumes, self.spans, strict=True)
    return [(volume, span) for volume, span in pairs if span.part == number]


def make(
  volumes: Sequence[Volume],
  shapes: Iterable[Shape],
  channels: int,
  measured: bool,
  phase: float = 0.0,
) -> SliceSet:
  """Stacks the volumes of each shape; each volume then views its rows of the stack.

  Args:
    volumes: at least one.
    shapes: slice shapes, in the order of the parts.
    channels: 1, or 2 for real and imaginary part.
    measured: whether k-space and zero-filled images of the volumes are used.
    phase: which real images get, see `coils.add_phase`; 0 for none. Those with given
      inputs stay as they are.
  """
  own = [[v for v in volumes if v.target.shape[1:] == shape] for shape in shapes]
  parts = tuple(_part(some, channels, measured, phase) for some in own if some)
  numbers = {some[0].target.shape[1:]: k for k, some in enumerate(filter(None, own))}
  views, spans, filled = [], [], [0] * len(parts)
  for volume in volumes:
    number = numbers[volume.target.shape[1:]]
    start, stop = filled[number], filled[number] + len(volume.target)
    filled[number] = stop
    spans.append(Span(number, start, stop))
    views.append(_view(volume, parts[number], start, stop))
  return SliceSet(tuple(views), parts, tuple(spans))


def _part(volumes, channels, measured, phase) -> Slices:
  def stack(name, convert):
    arrays = [getattr(volume, name) for volume in volumes]
    if is_stored(arrays[0]):
      return stored.join(arrays, convert)
    return np.concatenate([convert(array) for array in arrays])

  as_channels = functools.partial(to_channels, channels=channels)
  if volumes[0].input is not None:
    return Slices(stack("target", as_channels), input=stack("input", as_channels))
  real = all(volume.target.dtype.kind != "c" for volume in volumes)
  scanned = functools.partial(_with_phase, phase=phase)
  target = stack("target", scanned if real and phase else as_channels)
  if not measured:
    return Slices(target)
  kspace = stack("kspace", lambda rows: rows)
  if volumes[0].sensitivities is not None:
    maps = stack("sensitivities", lambda rows: rows)
    return Slices(target, kspace, sensitivities=maps)
  if channels == 1:
    return Slices(target, kspace, stack("zero_filled", as_channels))
  return Slices(target, kspace, stack("kspace", _zero_filled_channels))


def _view(volume, part: Slices, start, stop) -> Volume:
  if is_stored(volume.target):
    return volume
  kspace = volume.kspace if part.kspace is None else part.kspace[start:stop]
  maps = None if part.sensitivities is None else part.sensitivities[start:stop]
  target = from_channels(part.target[start:stop])
  given = None if part.input is None else from_channels(part.input[start:stop])
  images = {"target": target, "input": given}
  return dataclasses.replace(volume, kspace=kspace, sensitivities=maps, **images)


def _with_phase(images, phase):
  return to_channels(add_phase(images, phase), 2)


def _zero_filled_channels(kspace):
  return to_channels(np.fft.ifft2(kspace, norm="ortho"), 2)


def to_channels(images: np.ndarray, channels: int) -> np.ndarray:
  """Images [S, H, W] as [S, H, W, C]; with C = 2 real and imaginary part, float32."""
  if channels == 1:
    return images[..., None]
  return np.ascontiguousarray(images, np.complex64)[..., None].view(np.float32)


def from_channels(images: np.ndarray) -> np.ndarray:
  """The inverse of `to_channels`."""
  return images[..., 0] if images.shape[-1] == 1 else images.view(np.complex64)[..., 0]

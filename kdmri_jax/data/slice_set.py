"""The slices of some volumes as arrays, one set for each shape and number of coils."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from kdmri_jax.data import stored
from kdmri_jax.data.stored import is_stored
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import UserError
from kdmri_jax.physics.coils.phase import add_phase
from kdmri_jax.types import Shape, Slices, shape_of

MOST_LAYOUTS = 16


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
    parts: the slices of each shape and number of coils: target and, where every volume
      of the data contains them, k-space and zero-filled image, else None for both; of
      several coils k-space and sensitivities; the given inputs, where there are any;
      NumPy arrays, or `StoredArray` where they stay in their files.
    spans: place of each volume's slices.
  """

  volumes: tuple[Volume, ...]
  parts: tuple[Slices, ...]
  spans: tuple[Span, ...]

  def of_part(self, number: int) -> list[tuple[Volume, Span]]:
    """The volumes of a part, in the order of its rows."""
    pairs = zip(self.volumes, self.spans, strict=True)
    return [(volume, span) for volume, span in pairs if span.part == number]

  def by_size(self) -> dict[str, int]:
    """The number of slices of each size, which is written as "96x128"."""
    count: Counter[str] = Counter()
    for slices in self.parts:
      count["x".join(map(str, shape_of(slices)))] += len(slices.target)
    return dict(count)


def shapes_of(volumes: Iterable[Volume]) -> list[Shape]:
  """The slice shapes in order of appearance.

  Raises:
    UserError: more than `MOST_LAYOUTS` combinations of a shape and a number of coils.
  """
  first: dict[tuple[Shape, int], Volume] = {}
  for volume in volumes:
    first.setdefault(volume.layout, volume)
  shapes = list(dict.fromkeys(shape for shape, _ in first))
  if len(first) > MOST_LAYOUTS:
    (shape, coils), volume = list(first.items())[MOST_LAYOUTS]
    height, width = np.max(shapes, axis=0)
    of, kinds = "", "shapes"
    remedy = f"Crop or pad all to one shape: crop=({height},{width})."
    if coils > 1:
      of, kinds = f" and {coils} coils", "combinations of shape and coils"
      remedy += " Choose files of fewer numbers of coils by `include`."
    found = f"slices of {shape}{of}, of which there are {len(first)} {kinds} in all"
    expected = f"at most {MOST_LAYOUTS} {kinds}, since every step is compiled for each"
    raise UserError(volume.file, found, expected, remedy)
  return shapes


def make(
  volumes: Sequence[Volume],
  shapes: Iterable[Shape],
  channels: int,
  measured: bool,
  phase: float = 0.0,
) -> SliceSet:
  """Stacks the volumes of each layout; each volume then views its rows of the stack.

  Args:
    volumes: at least one.
    shapes: slice shapes, in the order of the parts; those of one shape come in
      ascending order of their coils.
    channels: 1, or 2 for real and imaginary part.
    measured: whether k-space and zero-filled images of the volumes are used.
    phase: which real images get, see `coils.add_phase`; 0 for none. Those with given
      inputs stay as they are.
  """
  order = {shape: k for k, shape in enumerate(shapes)}
  layouts = sorted({v.layout for v in volumes}, key=lambda own: (order[own[0]], own[1]))
  own = ([v for v in volumes if v.layout == layout] for layout in layouts)
  parts = tuple(_part(some, channels, measured, phase) for some in own)
  numbers = {layout: k for k, layout in enumerate(layouts)}
  views, spans, filled = [], [], [0] * len(parts)
  for volume in volumes:
    number = numbers[volume.layout]
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

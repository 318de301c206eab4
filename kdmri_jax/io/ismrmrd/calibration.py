"""Calibration lines that are no part of the image, in the k-space of the image."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

_SAME = (
  "active_channels",
  "number_of_samples",
  "discard_pre",
  "discard_post",
  "center_sample",
)
_PLACES = "position", "read_dir", "phase_dir", "slice_dir"
_COUNTERS = "kspace_encode_step_1", "kspace_encode_step_2"
_BESIDE = 2  # twice the distance of their middle from the centre of k-space, at most


class Axis(NamedTuple):
  """A phase encoding of the image.

  Attributes:
    what: word for its lines.
    first, count: counter of the first line, and number of lines.
    shift: the cyclic shift that brings zero frequency to count // 2.
  """

  what: str
  first: int
  count: int
  shift: int


@dataclasses.dataclass(frozen=True)
class Calibration:
  """Separate calibration lines.

  Attributes:
    problem: why they have no place in the k-space of the image, the end of a sentence;
      "" where they have one.
    sampled: the points that they measure in every slice, bool [H, W]; none with a
      problem.
    slices: centred k-space of each slice in the shape of the image's, complex64
      [C, H, W], 0 where they do not measure; read one by one.
  """

  problem: str
  sampled: np.ndarray
  slices: Iterator[np.ndarray]


def problem(own: np.ndarray, image: np.ndarray, axes: Sequence[Axis]) -> str:
  """Why calibration lines have no place in the k-space of the image.

  They need its readout, its slices at the same places, and its numbers of lines. Those
  that were numbered apart mostly do not lie about its centre.

  Args:
    own: the headers of their acquisitions.
    image: those of the image.
    axes: its phase encodings, one of a 2-D acquisition, two of a 3-D one.

  Returns:
    The end of a sentence; "" where they have a place.
  """
  if own["encoding_space_ref"].any():
    return "they belong to another encoding space"
  for name in _SAME:
    others = own[name][own[name] != image[name][0]]
    if others.size:
      return f"their {name} is {others[0]}, that of the image {image[name][0]}"
  numbers, at = np.unique(own["idx"]["slice"], return_index=True)
  wanted, there = np.unique(image["idx"]["slice"], return_index=True)
  if not np.array_equal(numbers, wanted):
    return "they measure other slices than the image"
  for name in _PLACES:
    if not np.allclose(own[name][at], image[name][there], atol=0.01):
      return f"their {name} is not that of the image"
  for name in _COUNTERS[len(axes) :]:
    if (own["idx"][name] != image["idx"][name][0]).any():
      return "they have a second phase encoding, which the image lacks"
  for name, axis in zip(_COUNTERS, axes, strict=False):
    low, high = (int(edge(own["idx"][name])) for edge in (np.min, np.max))
    last = axis.first + axis.count - 1
    centre = axis.first + axis.count // 2 - axis.shift
    outside = low < axis.first or high > last
    if outside or abs(low + high - 2 * centre) > _BESIDE:
      return (
        f"their {axis.what} {low} to {high} do not lie about the centre, {centre}, of "
        f"the image's {axis.first} to {last}"
      )
  return ""


def sampled(own: np.ndarray, axes: Sequence[Axis]) -> np.ndarray:
  """The points that are measured in every slice.

  Args:
    own: headers of acquisitions without a `problem`.
    axes: as there.

  Returns:
    bool [lines, 1] of a 2-D acquisition, [lines, partitions] of a 3-D one; centred.
  """
  numbers, places = np.unique(own["idx"]["slice"], return_inverse=True)
  found = np.zeros((len(numbers), *(axis.count for axis in axes)), bool)
  steps = [
    own["idx"][name].astype(int) - axis.first
    for name, axis in zip(_COUNTERS, axes, strict=False)
  ]
  found[places, *steps] = True
  shifts = [axis.shift for axis in axes]
  every = np.roll(found.all(0), shifts, tuple(range(len(axes))))
  return every[:, None] if len(axes) == 1 else every

"""Traits of images: statistics by which a scan is compared with the training images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

NAMES = ("mean", *(f"quantile_{q}" for q in (25, 50, 75, 90, 99)))
NAMES += (*(f"energy_above_1/{n}" for n in (32, 16, 8, 4, 2)), "row_extent")
NAMES += ("column_extent", "log_level")
_SMALLEST_SPREAD = 0.02  # of a trait, whose values are about 1
_SHRINKAGE = 0.1  # of the correlations of traits, which few slices determine badly
_MOST_GROUPS = 10
_MARGIN, _LEAST_LIMIT = 1.5, 2.0


def of_slices(images: np.ndarray) -> np.ndarray:
  """The traits of each slice that is not empty.

  All but the last are relative to the root mean square of the slice: mean, quantiles,
  logarithm of the share of energy above some fractions of the highest frequency, and
  extent along rows and columns. The last is the logarithm of that root mean square.

  Args:
    images: magnitudes, [S, H, W].

  Returns:
    float64 [S', len(NAMES)], S' <= S.
  """
  images = np.asarray(images, np.float64)
  images = images[images.any(axis=(1, 2))]
  if not len(images):
    return np.empty((0, len(NAMES)))
  height, width = images.shape[1:]
  level = np.sqrt(np.mean(images**2, axis=(1, 2)))
  images = images / level[:, None, None]
  flat = images.reshape(len(images), -1)
  traits = [flat.mean(1), *np.quantile(flat, (0.25, 0.5, 0.75, 0.9, 0.99), axis=1)]
  energy = np.abs(np.fft.fft2(images, norm="ortho")) ** 2
  rows, columns = np.fft.fftfreq(height), np.fft.fftfreq(width)
  radius = 2 * np.hypot(rows[:, None], columns)
  above = radius.ravel() > 1 / np.array([[32], [16], [8], [4], [2]])
  shares = energy.reshape(len(images), -1) @ above.T / flat.shape[1]
  traits += list(np.log10(np.maximum(shares, 1e-6)).T)
  for axis, size in ((2, height), (1, width)):
    line = (images**2).mean(axis)
    place = (np.arange(size) - (size - 1) / 2) / size
    traits.append(np.sqrt((line * place**2).sum(1) / line.sum(1)))
  return np.stack([*traits, np.log10(level)], axis=1)


def summary(traits: np.ndarray, subjects: Sequence[str]) -> dict[str, Any] | None:
  """What is recorded of the training images, as a JSON object.

  "limit" is the distance up to which other scans count as alike: beyond the distance
  of any training subject from the others. One subject alone does not tell how others
  differ: of it "traits" and "mean" are recorded.

  Args:
    traits: of slices, from `of_slices`.
    subjects: the subject of each slice.

  Returns:
    None for no slices.
  """
  names, owner = np.unique(np.asarray(subjects), return_inverse=True)
  if not len(names):
    return None
  if len(names) == 1:
    return {"traits": list(NAMES), "mean": traits.mean(0).round(5).tolist()}
  groups = owner % _MOST_GROUPS
  limits = [_LEAST_LIMIT]
  for group in np.unique(groups):
    others = _describe(traits[groups != group])
    for subject in np.unique(owner[groups == group]):
      own = traits[owner == subject]
      limits.append(_MARGIN * distance(others, own))
  return _describe(traits) | {"subjects": len(names), "limit": round(max(limits), 3)}


def distance(known: Mapping[str, Any], traits: np.ndarray) -> float:
  """How far slices lie from recorded ones.

  Args:
    known: from `summary`, of several subjects.
    traits: from `of_slices`, at least one.

  Returns:
    The median over slices of Mahalanobis' distance, about 1 for slices of that record.
  """
  offset = (traits - np.asarray(known["mean"])) / np.asarray(known["spread"])
  count = traits.shape[1]
  inverse = np.linalg.inv(np.asarray(known["correlation"]))
  squares = np.einsum("ij,jk,ik->i", offset, inverse, offset)
  return float(np.median(np.sqrt(squares / count)))


def brightness(known: Mapping[str, Any]) -> float:
  """The magnitude that 1% of the pixels of the recorded slices exceed.

  Args:
    known: from `summary`.

  Returns:
    The product of the recorded means; 0 if another version recorded other traits.
  """
  if known.get("traits") != list(NAMES):
    return 0.0
  means = dict(zip(NAMES, known["mean"], strict=True))
  return 10 ** means["log_level"] * means["quantile_99"]


def _describe(traits: np.ndarray) -> dict[str, Any]:
  mean = traits.mean(0)
  spread = np.maximum(traits.std(0), _SMALLEST_SPREAD)
  offset = (traits - mean) / spread
  correlation = (1 - _SHRINKAGE) * offset.T @ offset / len(traits)
  correlation += _SHRINKAGE * np.eye(len(mean))
  found = {"mean": mean, "spread": spread, "correlation": correlation}
  return {"traits": list(NAMES)} | {k: v.round(5).tolist() for k, v in found.items()}

"""Signs that reconstructions and their targets do not belong together, or count twice.

Nothing is corrected: every number is that of the arrays as they were read.
"""

import collections
from collections.abc import Iterable, Iterator

import numpy as np

from kdmri_jax.data import digests, orientation
from kdmri_jax.io.volume_files import PREDICTION, RESULT, TARGET, StoredVolume
from kdmri_jax.report.tables import Pair

TARGETS = "the targets"

_ROUNDING = 1e-5  # of the target's maximum
_SMALLEST_FACTOR = 0.02  # difference from 1
_NEGATIVE = 0.1  # of the maximum

_EQUAL = "the reconstruction is the target itself, number by number"
_ROUNDED = "the reconstruction is the target itself, but for rounding"
_ROLE = f"the target is read from the array '{RESULT}', since there is none of a target"
_AS_RESULT = f"the reconstruction is read from an array that is not named '{RESULT}'"
_OTHERS = "other arrays of the file may have been meant"
_COMPLEX = "the magnitude of complex numbers is compared with real numbers"
_NEGATIVES = "clearly negative intensities; a real part or a phase is no magnitude"
_FACTOR = "half of the squared error or more is a factor between the intensities"
_TURNED = "the reconstruction fits its target better in another orientation"
_SUBJECTS = "the two files name different subjects"


class Signs:
  """Collects the signs while pairs of volumes are measured.

  Attributes:
    keys: `TARGETS` or model -> the names of the arrays that were read, with the number
      of volumes.
  """

  def __init__(self) -> None:
    self.keys: dict[str, collections.Counter] = {}
    self._found: dict[tuple[str, str], dict[str, str]] = {}
    self._slices: dict[str, list[tuple[str, ...]]] = {}

  def watch(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
    """Yields the pairs unchanged, and notes their signs."""
    for pair in pairs:
      model, volume = str(pair.label["model"]), pair.label["volume"]
      owners = [(model, pair.prediction, of_pair(pair))]
      if volume not in self._slices:
        known = digests.known_by(digests.of_slices(pair.target.images))
        self._slices[volume] = known
        owners.insert(0, (TARGETS, pair.target, {}))
      for owner, stored, signs in owners:
        self.keys.setdefault(owner, collections.Counter())[stored.key] += 1
        role = TARGET if stored is pair.target else PREDICTION
        for sign, detail in {**of_array(stored, role), **signs}.items():
          self._found.setdefault((owner, sign), {})[volume] = detail
      yield pair

  @property
  def equal(self) -> list[str]:
    """The models whose reconstructions are the targets themselves, all of them."""
    found = self._found.items()
    count = len(self._slices)
    return [who for (who, sign), own in found if sign == _EQUAL and len(own) == count]

  def sentences(self) -> list[str]:
    """One sentence for each kind of sign and each model."""
    lines = []
    for (owner, sign), volumes in self._found.items():
      first, detail = next(iter(volumes.items()))
      detail = f": {detail}" if detail else ""
      many = f"{len(volumes)} of {len(self._slices)} volumes, such as {first}"
      lines.append(f"{owner}: {sign} ({many}{detail}).")
    if words := digests.repeats(self._slices.items()):
      lines.append(f"{TARGETS}: equal images, which count more than once: {words}.")
    return lines


def of_array(stored: StoredVolume, role: str) -> dict[str, str]:
  """Signs in one array, with details."""
  signs = {}
  if not stored.fits:
    signs[_ROLE if role == TARGET else _AS_RESULT] = f"'{stored.key}'"
  if stored.others:
    signs[_OTHERS] = f"'{stored.key}' was read, not {', '.join(stored.others)}"
  low, high = stored.images.min(initial=0), np.abs(stored.images).max(initial=0)
  if low < -_NEGATIVE * high:
    signs[_NEGATIVES] = f"down to {low:.3g}, with a largest magnitude of {high:.3g}"
  return signs


def of_pair(pair: Pair) -> dict[str, str]:
  """Signs in a reconstruction and its target, with details."""
  target, prediction = pair.target.images, pair.prediction.images
  signs = {}
  subjects = [each.subject for each in (pair.target, pair.prediction)]
  if all(subjects) and subjects[0] != subjects[1]:
    signs[_SUBJECTS] = " and ".join(map(repr, subjects))
  if pair.target.is_complex != pair.prediction.is_complex:
    signs[_COMPLEX] = ""
  if target.shape != prediction.shape or not target.any():
    return signs
  error = np.abs(target - prediction).max()
  if error == 0:
    return signs | {_EQUAL: ""}
  if error < _ROUNDING * np.abs(target).max():
    return signs | {_ROUNDED: ""}
  factor = np.vdot(target, prediction) / max(np.vdot(prediction, prediction), 1e-300)
  whole, rest = _energy(target - prediction), _energy(target - factor * prediction)
  if whole > 2 * rest and abs(factor - 1) > _SMALLEST_FACTOR:
    signs[_FACTOR] = f"the target is {factor:.3g} times the reconstruction"
  if turned := orientation.better(target, prediction):
    signs[_TURNED] = turned
  return signs


def _energy(array: np.ndarray) -> float:
  return float(np.vdot(array, array))

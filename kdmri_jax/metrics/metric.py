"""The record of a metric."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike


def _as_measured(measured: Any, data_range: np.ndarray) -> np.ndarray:
  del data_range
  return measured


@dataclasses.dataclass(frozen=True)
class Metric:
  """How close a volume is to its target, in one number per slice.

  A metric needs `measure`, a title and the direction; the rest has defaults:

    def mean_absolute_error(target, prediction):
      return abs(prediction - target).mean(axis=(1, 2))

    MAE = Metric(mean_absolute_error, "MAE", higher_is_better=False)

  Undefined values are NaN; means omit them. The arrays are read-only.

  Attributes:
    measure: (target, prediction), both float64 [S, H, W], -> values [S]; or
      intermediate results for `per_slice` and `per_volume`. Metrics with the same
      `measure` share its result.
    title: name in tables and figures, such as "PSNR".
    higher_is_better: whether a larger value is a better image.
    unit: "dB", or "" for none.
    decimals: decimals in tables and sentences.
    definition: description for the report, a clause without a full stop; "" for none.
    meaning: what it tells, in a few words for readers who meet it first; "" for none.
    per_slice: (result of `measure`, data range [S]) -> values [S].
    per_volume: (result of `measure`, data range) -> the value of the whole volume, for
      protocols over the volume; None takes the mean over slices.
    uses_range: True where `measure` takes a third argument, the data range [S] of each
      slice under the protocol.
    window: fewest rows and columns of an image that can be measured.
    shown: "compared": the report tests paired differences in it; "listed": it is a
      column of the report's second table; "stored": it appears only in the files. The
      first two metrics of an evaluation are always compared.
  """

  measure: Callable[..., Any]
  title: str
  higher_is_better: bool
  unit: str = ""
  decimals: int = 4
  definition: str = ""
  meaning: str = ""
  per_slice: Callable[[Any, np.ndarray], np.ndarray] = _as_measured
  per_volume: Callable[[Any, float], ArrayLike] | None = None
  uses_range: bool = False
  window: int = 1
  shown: Literal["compared", "listed", "stored"] = "compared"

  @property
  def label(self) -> str:
    """The title with the unit: "PSNR, dB"."""
    return f"{self.title}, {self.unit}" if self.unit else self.title


def energy(volume: np.ndarray) -> np.ndarray:
  """Sum of squares of each slice, [S]."""
  return np.sum(volume**2, axis=(1, 2))


def ratio(above: ArrayLike, below: ArrayLike) -> np.ndarray:
  """above / below; NaN where below is 0."""
  above, below = np.asarray(above), np.asarray(below)
  return np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)

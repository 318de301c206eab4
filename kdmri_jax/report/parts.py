"""The parts of a report: one that fails is told in its place, the others are made."""

import errno
import traceback
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from absl import logging

from kdmri_jax.errors import Interrupted

RESULTS = "Results"
SLICES = "Slices side by side"
MEASURES = "Further measures"
CAUTIONS = "Before you quote a number"
PAIRED = "Is the difference real?"
FURTHER = "Further comparisons"
ROBUSTNESS = "Does distillation cost stability?"
SIGNAL = "Signal and noise"
TIME = "Inference time"
SIZES = "Image quality against size"
MEASURED = "How it was measured"
TRAINED = "How the networks were trained"
AUDIT = "Contribution of each term"
ATTENTION = "Attention maps"
PAPER = "For a paper"
FILES = "Files, environment, configuration"

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)

T = TypeVar("T")


class Failure(NamedTuple):
  """A part of a report that could not be made.

  Attributes:
    section: heading of its place, one of this module's constants.
    part: what is missing.
    reason: type and message of the error.
    traceback: where it was raised.
  """

  section: str
  part: str
  reason: str
  traceback: str

  def __str__(self) -> str:
    return f"{self.part} is missing: {self.reason}"


class Parts:
  """Makes the parts of a report, each whether or not another one fails."""

  def __init__(self):
    self._failed: dict[tuple[str, str], Failure] = {}

  @property
  def failed(self) -> tuple[Failure, ...]:
    """The parts that failed, in order; of several failures of a part the first."""
    return tuple(self._failed.values())

  def make(
    self,
    section: str,
    part: str,
    function: Callable[..., T],
    *arguments: object,
    otherwise: T,
    where: object = "",
  ) -> T:
    """The result of a function, or of a failing one `otherwise`.

    Args:
      section: the place of the part.
      part: its name, the subject of "is missing".
      function: makes it; it writes no file of the report.
      *arguments: of the function.
      otherwise: the result where the function fails.
      where: the data that it was called for, for the reason; "" for all of them.

    Raises:
      Interrupted: a signal stopped the run.
      OSError: the disk is full or cannot be read or written any more; also as the
        cause of a `UserError`.
    """
    try:
      return function(*arguments)
    except Exception as error:
      cause = error.__cause__ or error
      if isinstance(error, Interrupted) or getattr(cause, "errno", None) in _DISK:
        raise
      self._add(section, part, error, f" ({where})" if where else "")
      return otherwise

  def _add(self, section, part, error, place):
    if (section, part) in self._failed:
      return
    text = " ".join(str(error).split())
    reason = f"{type(error).__name__}{': ' if text else ''}{text}{place}"
    lines = "".join(traceback.format_exception(error))
    failure = Failure(section, part, reason, lines)
    self._failed[section, part] = failure
    logging.error("%s", failure)

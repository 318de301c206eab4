"""A stage's log: JSON lines, a progress bar, and the trackers that show both."""

import contextlib
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tqdm
from absl import logging

from kdmri_jax import json_text, scratch
from kdmri_jax.io.reading import reading
from kdmri_jax.saving import replacing, saving
from kdmri_jax.training.trackers import curves
from kdmri_jax.training.trackers.tracker import RunTracker, TrackedStage

NEGLIGIBLE = 1e-3  # share of the gradient below which a term gets a warning


class StageLog:
  """Logs one stage; drops entries of an earlier run after its last checkpoint.

  Damaged lines stay in the file, where `damaged` finds them.

  Args:
    directory: the stage's folder.
    name: the stage's name, for the progress bar.
    step: completed steps.
    total: steps of the whole stage.
    row: line of the progress bar, where several are shown.
    seed: seed of the stage's weights.
    trackers: of the run.

  Raises:
    UserError: the disk is full or the folder cannot be written; also raised later.
  """

  def __init__(
    self,
    directory: pathlib.Path,
    name: str,
    step: int,
    total: int,
    row: int = 0,
    *,
    seed: int = 0,
    trackers: Sequence[RunTracker] = (),
  ):
    self._name, self._step, self._total = name, step, total
    self._path = directory / "metrics.jsonl"
    kept = [
      (f"{text}\n", entry)
      for text, entry in _lines(self._path)
      if entry is None or _is_past(entry, step)
    ]
    with replacing(self._path) as temporary:
      text = "".join(text for text, _ in kept)
      temporary.write_bytes(text.encode(errors="surrogateescape"))
    self._called_out: set[str] = set()
    past = [entry for _, entry in kept if entry and "event" in entry]
    stage = TrackedStage(directory, directory.name, seed, step, past)
    self._trackers = [tracker.stage(stage) for tracker in trackers]
    self._bar = tqdm.tqdm(
      total=total,
      initial=step,
      desc=name,
      unit="step",
      position=row,
      dynamic_ncols=True,
      disable=None,
    )

  def advance(self, loss: float) -> None:
    """Counts one more step."""
    self._bar.update()
    self._bar.set_postfix(loss=f"{loss:.3g}", refresh=False)

  def epoch(self, entry: dict) -> None:
    """Writes the line of an epoch: see `stage_loop.train` for its keys."""
    self._append(entry)
    self._step = entry["step"]
    if self._bar.disable:
      logging.info(
        "%s epoch %d: train loss %.4g, validation %s, %.0f s",
        self._name,
        entry["epoch"],
        entry["train"]["loss"],
        ", ".join(f"{k} {v:.4g}" for k, v in entry["validation"].items()),
        entry["seconds"],
      )

  def audit(self, step: int, measured: dict[str, dict[str, float]]) -> None:
    """Logs the contribution of each term; warns of a term without one.

    Not at step 0: a network that begins as its teacher equals it.

    Args:
      step: completed steps.
      measured: term -> value, norm and cosine, see `step.Steps.audit`.
    """
    total = sum(float(m["norm"]) for m in measured.values())
    terms = {
      name: {
        "value": float(m["value"]),
        "share": float(m["norm"]) / total if total else 0.0,
        "cosine": float(m["cosine"]),
      }
      for name, m in measured.items()
    }
    self._append({"event": "audit", "step": step, "terms": terms})
    for name, values in terms.items():
      if step and total and values["share"] < NEGLIGIBLE:
        self._warn_once(
          name,
          "%s: the term %s contributes %.1e of the gradient at step %d: in effect it "
          "is absent",
          *(self._name, name, values["share"], step),
        )
    if not total:
      self._warn_once("", "%s: no term has a gradient at step %d", self._name, step)

  def _warn_once(self, name: str, message: str, *values) -> None:
    if name not in self._called_out:
      self._called_out.add(name)
      logging.warning(message, *values)

  def _append(self, entry: dict) -> None:
    with (
      saving(self._path),
      open(self._path, "a", opener=scratch.without_links) as file,
    ):
      file.write(json_text.dumps(json_text.sealed(entry)) + "\n")
    step, values = curves.of_entry(entry)
    for tracker in self._trackers:
      tracker.scalars(values, step)

  def image(self, picture: np.ndarray, step: int) -> None:
    """Shows a grey picture, uint8 [H, W], in the trackers."""
    for tracker in self._trackers:
      tracker.image(picture, step)

  def close(self) -> None:
    """Ends the bar and the trackers; all entries are already on the disk."""
    self._bar.close()
    for tracker in self._trackers:
      tracker.close(finished=self._step == self._total)


def read(path: pathlib.Path) -> list[dict]:
  """The entries of a metrics.jsonl; warns of damaged lines, which are left out."""
  if found := damaged(path):
    logging.warning("%s: damaged lines are left out: %s", path, found)
  return [entry for _, entry in _lines(path) if entry is not None]


def damaged(path: pathlib.Path) -> str:
  """The numbers of the damaged lines of a metrics.jsonl, in words; "" without any."""
  lines = enumerate(_lines(path), start=1)
  return ", ".join(str(number) for number, (_, entry) in lines if entry is None)


def _lines(path: pathlib.Path) -> list[tuple[str, dict | None]]:
  """The lines of a file, each with its entry, None where it is damaged.

  A last line without its end was not written completely, and is omitted.
  """
  if not path.exists():
    return []
  with reading(path):
    text = path.read_bytes().decode(errors="surrogateescape")
  *lines, last = text.split("\n")
  found = [(line, _entry(line)) for line in lines]
  for whole in (last, last[:-1]):  # its end may be what is damaged
    if entry := _entry(whole):
      return [*found, (whole, entry)]
  return found


def _entry(text: str) -> dict | None:
  with contextlib.suppress(ValueError, TypeError, RecursionError):
    entry = _numbers(json_text.unsealed(json_text.loads(text)))
    return entry if _is_entry(entry) else None
  return None


def _numbers(value: Any) -> Any:
  """The value of a line with its numbers, also those that are not finite."""
  if isinstance(value, dict):
    return {key: _numbers(each) for key, each in value.items()}
  finite = isinstance(value, int) or not json_text.is_number(value)
  return value if finite else json_text.number(value)


def _is_entry(entry: dict) -> bool:
  """Whether these are the contents of a line of `StageLog`, with all parts."""
  if not isinstance(entry.get("step"), int):
    return False
  if entry.get("event") == "audit":
    terms = entry.get("terms")
    known = ("value", "share", "cosine")
    return isinstance(terms, dict) and all(_has(term, known) for term in terms.values())
  if entry.get("event") == "epoch":
    own = _has(entry, ("epoch", "seconds", "learning_rate"))
    return own and _has(entry.get("train"), ("loss",)) and _has(entry.get("validation"))
  return True


def _has(group: Any, keys: Sequence[str] = ()) -> bool:
  """Whether a value is an object with numbers under these keys."""
  return isinstance(group, dict) and all(
    key in group and json_text.is_number(group[key]) for key in keys
  )


def _is_past(entry: dict, step: int) -> bool:
  """Whether an entry belongs to the completed steps; an audit precedes its step."""
  return entry["step"] < step + (entry.get("event") != "audit")

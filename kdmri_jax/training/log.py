"""A stage's log: JSON lines, TensorBoard and a progress bar."""

import contextlib
import pathlib
import secrets
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import tqdm
from absl import logging
from tensorboardX import event_file_writer, summary
from tensorboardX.proto import event_pb2

from kdmri_jax import json_text, scratch
from kdmri_jax.io.reading import reading
from kdmri_jax.saving import make_folder, replacing, saving

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

  Raises:
    UserError: the disk is full or the folder cannot be written; also raised later.
  """

  def __init__(
    self, directory: pathlib.Path, name: str, step: int, total: int, row: int = 0
  ):
    self._name = name
    self._path = directory / "metrics.jsonl"
    kept = [
      f"{text}\n"
      for text, entry in _lines(self._path)
      if entry is None or _is_past(entry, step)
    ]
    with replacing(self._path) as temporary:
      temporary.write_bytes("".join(kept).encode(errors="surrogateescape"))
    self._called_out: set[str] = set()
    self._board = _Board(directory / "tensorboard", step)
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
    values = {"learning_rate": entry["learning_rate"]}
    for group in ("train", "validation"):
      values |= {f"{group}/{key}": value for key, value in entry[group].items()}
    self._board.scalars(values, entry["step"])
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
      self._board.scalars({f"audit/{name}/{k}": v for k, v in values.items()}, step)
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

  def image(self, panel: np.ndarray, step: int) -> None:
    """A grey picture [H, W] in 0..1, such as input | reconstruction | target."""
    shown = np.uint8(255 * np.clip(panel, 0, 1))[None]
    self._board.write(step, summary=summary.image("validation", shown))

  def close(self) -> None:
    """Ends the bar; all entries are already on the disk."""
    self._bar.close()
    self._board.close()


class _Board:
  """A TensorBoard event file, written at once so that a full disk is noticed."""

  def __init__(self, directory: pathlib.Path, step: int):
    self._directory = directory
    make_folder(directory)
    with saving(directory):
      # Its own ending, as a second start within a second would have the same name.
      self._writer = event_file_writer.EventsWriter(
        str(directory / "events"), f".{secrets.token_hex(8)}"
      )
    # TensorBoard drops entries of an earlier run after this step.
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    self.write(step + 1, session_log=start)

  def scalars(self, values: dict[str, float], step: int) -> None:
    for name, value in values.items():
      self.write(step, summary=summary.scalar(name, value))

  def write(self, step: int, **content) -> None:
    event = event_pb2.Event(step=step, wall_time=time.time(), **content)
    with saving(self._directory):
      self._writer.write_event(event)
      self._writer.flush()

  def close(self) -> None:
    with contextlib.suppress(OSError):
      self._writer.close()


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

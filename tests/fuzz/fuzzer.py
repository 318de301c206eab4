"""Makes cases, has them read, and counts the outcomes."""

import collections
import fnmatch
import hashlib
import json
import math
import pathlib
import shutil
import tempfile
import time

import numpy as np
from fuzz import mutate
from fuzz.process import DEADLINE, FAILURES, Outcome, Worker, judge

_KINDS = ("equal", "other", "refused", *FAILURES)


class Fuzzer:
  """Makes and reads cases.

  Args:
    globs: on the names of readers.
    seed: of all cases.
    keep: folder for the failures.
  """

  def __init__(self, globs, seed: int, keep: pathlib.Path):
    from fuzz import readers

    self.readers = {
      name: reader
      for name, reader in readers.READERS.items()
      if any(fnmatch.fnmatchcase(name, glob) for glob in globs)
    }
    self.seed, self.keep = seed, keep
    self._folder = tempfile.TemporaryDirectory(prefix="fuzz-")
    self._root = pathlib.Path(self._folder.name)
    self.worker = Worker(self._root / "log")
    self._honest: dict[tuple[str, str], Outcome] = {}
    for name, reader in self.readers.items():
      (self._root / "whole" / name).mkdir(parents=True)
      reader.make(self._root / "whole" / name)

  def count(self, cases: int, minutes: float = math.inf, say=print) -> dict:
    """Counts of the outcomes of so many cases, by reader.

    Args:
      cases: their number; the readers take turns, by their weights.
      minutes: after which no further case begins.
      say: receives a line about each failure, and about every thousand cases.
    """
    counts = {name: collections.Counter() for name in self.readers}
    weights = {name: reader.weight for name, reader in self.readers.items()}
    end = time.monotonic() + 60 * minutes
    for done, (name, number) in enumerate(plan(weights, cases), 1):
      outcome = self.run(name, number)
      counts[name][outcome.kind] += 1
      if outcome.kind in FAILURES:
        last = outcome.text.strip().splitlines()[-1][:200]
        say(f"{name} {number}: {outcome.kind}: {last}")
      if done % 1000 == 0:
        say(f"{done} cases")
      if time.monotonic() > end:
        break
    return counts

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.worker.stop()
    self._folder.cleanup()

  def honest(self, name: str, way: str) -> Outcome:
    """The outcome of the undamaged files; they must be read, twice alike."""
    if (name, way) not in self._honest:
      found = [self._read(name, way, self._copy(name), 300) for _ in range(2)]
      memory = max(outcome.memory for outcome in found)
      seconds = max(outcome.seconds for outcome in found)
      if {outcome.kind for outcome in found} != {"equal"}:
        raise RuntimeError(f"{name}, {way}: the undamaged files: {found[0].text}")
      if found[0].text != found[1].text:
        raise RuntimeError(f"{name}, {way}: undamaged files are read in two ways")
      self._honest[name, way] = Outcome("equal", found[0].text, seconds, memory)
    return self._honest[name, way]

  def run(self, name: str, number: int) -> Outcome:
    """The outcome of one case of a reader."""
    reader = self.readers[name]
    text = f"{self.seed} {name} {number}".encode()
    rng = np.random.default_rng(list(hashlib.blake2b(text).digest()))
    way = list(reader.ways)[number % len(reader.ways)]
    honest = self.honest(name, way)
    folder = self._copy(name)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    path = _one(rng, paths)
    donors = sorted(p for p in (self._root / "whole").rglob("*") if p.is_file())
    other = _one(rng, paths if rng.random() < 0.5 else donors)
    content = path.read_bytes()
    damaged = mutate.mutate(rng, path.name, content, other.read_bytes())
    path.write_bytes(damaged)
    outcome = self._read(name, way, folder, DEADLINE + 3 * honest.seconds)
    outcome = judge(outcome, honest, reader.checked)
    if outcome.kind in FAILURES:
      self._keep(name, way, number, path.relative_to(folder), outcome, damaged)
    return outcome

  def _copy(self, name):
    shutil.rmtree(self._root / "case", ignore_errors=True)
    shutil.copytree(self._root / "whole" / name, self._root / "case")
    return self._root / "case"

  def _read(self, name, way, folder, deadline):
    return self.worker.read(name, way, folder, deadline)

  def _keep(self, name, way, number, path, outcome, damaged):
    kept = self.keep / f"{name.replace(' ', '_')}-{self.seed}-{number}"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(self._root / "whole" / name, kept / "files")
    (kept / "files" / path).write_bytes(damaged)
    case = {"reader": name, "way": way, "file": str(path)}
    case |= {"outcome": outcome.kind, "text": outcome.text}
    (kept / "case.json").write_text(json.dumps(case, indent=2))


def _one(rng, items):
  return items[rng.integers(len(items))]


def plan(weights: dict[str, float], cases: int) -> list[tuple[str, int]]:
  """Readers and numbers of cases; the readers take turns, by their weights."""
  due = dict.fromkeys(weights, 0.0)
  found, numbers = [], collections.Counter()
  total = sum(weights.values())
  for _ in range(cases):
    for name, weight in weights.items():
      due[name] += weight / total
    name = max(due, key=due.get)
    due[name] -= 1
    found.append((name, numbers[name]))
    numbers[name] += 1
  return found


def table(counts) -> str:
  """Outcomes by reader, in columns."""
  rows = [("reader", *_KINDS)]
  rows += [(name, *(str(own[kind]) for kind in _KINDS)) for name, own in counts.items()]
  total = [str(sum(own[kind] for own in counts.values())) for kind in _KINDS]
  rows.append(("all", *total))
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  return "\n".join(
    "  ".join(text.ljust(w) if k == 0 else text.rjust(w) for k, (text, w) in cells)
    for cells in (list(enumerate(zip(row, widths, strict=True))) for row in rows)
  )


def has_failed(counts) -> bool:
  """Whether a case had an outcome that is a failure."""
  return any(own[kind] for own in counts.values() for kind in FAILURES)


def replay(folder: pathlib.Path) -> Outcome:
  """The outcome of a kept failure, without the comparison with undamaged files."""
  case = json.loads((folder / "case.json").read_text())
  with tempfile.TemporaryDirectory() as name:
    copy, worker = pathlib.Path(name) / "case", Worker(pathlib.Path(name) / "log")
    shutil.copytree(folder / "files", copy)
    outcome = worker.read(case["reader"], case["way"], copy)
    worker.stop()
  return outcome

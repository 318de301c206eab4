"""The lines of metrics.jsonl: checked, complete, valid JSON."""

import json
import math

import numpy as np
import pytest
from absl import logging
from helpers.flips import flipped

from kdmri_jax.training import log

EPOCH = {"event": "epoch", "epoch": 1, "step": 5, "seconds": 0.1, "learning_rate": 1e-5}
EPOCH |= {"train": {"loss": 0.25}, "validation": {"psnr": 21.5}, "best": True}
AUDIT = {"l1": {"value": math.nan, "norm": math.inf, "cosine": -math.inf}}


@pytest.fixture
def folder(tmp_path):
  stage = log.StageLog(tmp_path, "teacher", 0, 10)
  stage.epoch(EPOCH)
  stage.audit(5, AUDIT)
  stage.epoch({**EPOCH, "epoch": 2, "step": 10, "seconds": 3, "best": False})
  stage.close()
  return tmp_path


def test_lines_come_back_and_are_valid_json(folder):
  path = folder / "metrics.jsonl"
  for line in path.read_text().splitlines():
    json.loads(line, parse_constant=pytest.fail)
  first, audit, last = log.read(path)
  assert first == EPOCH and (last["epoch"], last["best"]) == (2, False)
  expected = {"value": math.nan, "share": math.nan, "cosine": -math.inf}
  np.testing.assert_equal(audit["terms"], {"l1": expected})
  assert log.damaged(path) == ""


def test_a_flipped_bit_is_told_or_without_effect(folder):
  path = folder / "metrics.jsonl"
  whole, told, same = log.read(path), 0, 0
  for bit in range(0, 8 * path.stat().st_size, 5):
    with flipped(path, bit):
      found = log.read(path)
      if damaged := log.damaged(path):
        kept = [entry for entry in whole if str(entry) in map(str, found)]
        assert len(found) == len(kept) < len(whole), bit
        told += damaged in ("1", "2", "3", "1, 2")
      else:
        assert [str(e) for e in found] == [
          str({**e, **_more(f, e)}) for e, f in zip(whole, found, strict=True)
        ], bit
        same += 1
  assert told > 10 * same > 0


def _more(found, entry):
  """A checksum under another name, which nobody reads."""
  return {key: value for key, value in found.items() if key not in entry}


def test_damaged_lines_are_told_and_kept(folder, caplog):
  path = folder / "metrics.jsonl"
  with flipped(path, 8 * 60):
    text = path.read_text()
    with caplog.at_level(logging.WARNING):
      log.StageLog(folder, "teacher", 10, 20).close()
      assert [entry["step"] for entry in log.read(path)] == [5, 10]
    assert path.read_text() == text
    assert f"{path}: damaged lines are left out: 1" in caplog.text


def test_lines_of_earlier_versions_and_of_a_crash(tmp_path):
  path = tmp_path / "metrics.jsonl"
  path.write_text(f"{json.dumps(EPOCH)}\n{json.dumps(EPOCH)[:40]}")
  assert log.read(path) == [EPOCH] and log.damaged(path) == ""
  log.StageLog(tmp_path, "teacher", 5, 10).close()
  assert path.read_text() == f"{json.dumps(EPOCH)}\n"

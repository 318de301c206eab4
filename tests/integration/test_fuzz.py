"""Damaged files of every format: a short run of `make fuzz`, and its own parts."""

import os
import signal
import threading

import numpy as np
import pytest
from fuzz import mutate
from fuzz.fuzzer import Fuzzer, has_failed, plan, table
from fuzz.process import CRASH, HANG, Worker

CONTENT = {
  "a.h5": bytes(range(256)) * 8,
  "a.json": b'{"a": [1, 2, {"b": null}], "c": "d"}',
  "a.csv": b"a,b\n1,2\n3,4\n",
}


@pytest.mark.parametrize("name", CONTENT)
def test_a_case_is_the_same_whenever_it_is_made(name):
  def damaged(seed):
    rng = np.random.default_rng(seed)
    return mutate.mutate(rng, name, CONTENT[name], b"other" * 100)

  first = [damaged(seed) for seed in range(300)]
  assert first == [damaged(seed) for seed in range(300)]
  assert len(set(first)) > 50


def test_readers_take_turns_by_their_weights():
  turns = plan({"a": 2, "b": 1}, 9)
  assert [name for name, _ in turns].count("a") == 6
  assert turns[0] == ("a", 0) and turns[-1][1] in (2, 5)


@pytest.mark.slow
def test_a_process_that_ends_or_does_not(tmp_path):
  (tmp_path / "mask.npy").write_bytes(b"")
  worker = Worker(tmp_path / "log")
  assert worker.read("mask npy", "mask", tmp_path).kind == "refused"
  assert worker.read("", "no such reader", tmp_path).kind == "traceback"
  os.kill(worker.pid, signal.SIGSTOP)  # it no longer answers
  assert worker.read("mask npy", "mask", tmp_path, deadline=-1).kind == HANG
  assert worker.read("mask npy", "mask", tmp_path).kind == "refused"
  os.kill(worker.pid, signal.SIGSTOP)
  threading.Timer(1, os.kill, (worker.pid, signal.SIGKILL)).start()
  assert worker.read("mask npy", "mask", tmp_path).kind == CRASH
  assert worker.read("mask npy", "mask", tmp_path).kind == "refused"
  worker.stop()


@pytest.mark.slow
def test_damaged_files(tmp_path):
  with Fuzzer(["*"], 0, tmp_path / "kept") as fuzzer:
    counts = fuzzer.count(600)
  assert not has_failed(counts), table(counts)
  assert sum(sum(own.values()) for own in counts.values()) == 600

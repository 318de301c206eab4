"""Which code a GPU uses: the trial, with a CPU in the place of the GPU."""

import concurrent.futures
import json
import logging
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import convolutions
from helpers.marks import slow

from kdmri_jax import compiled
from kdmri_jax.ops import convolution, layer, trial, trial_process

pytestmark = pytest.mark.usefixtures("quick_compilation")

HIGHEST = jax.lax.Precision.HIGHEST
KERNEL = np.zeros((3, 3, 1, 32), np.float32)
KIND = trial.Kind(True, 1, 32, "float32", True, False)
TRAINING = "training, 1->32 with ReLU, float32, small"
BOTH, NEITHER = (True, True), (False, False)


@pytest.fixture
def code(monkeypatch):
  """The kernels, interpreted, which take half of XLA's time."""
  own = convolutions.interpreted()
  monkeypatch.setattr(layer, "pallas", lambda: own)
  monkeypatch.setattr(trial_process, "_ODD", (2, 5, 7))
  monkeypatch.setattr(trial_process, "least_seconds", lambda *_: (1.0, 0.5))
  return own


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 32), slow(32, 1), slow(32, 32)])
@pytest.mark.parametrize("products", ["float32", slow("bfloat16")])
def test_right_kernels_are_timed(inputs, outputs, products, code):
  for relu in (True, False):
    for training in (False, True):
      kind = trial.Kind(training, inputs, outputs, products, relu, False)
      assert trial_process.answer(kind) == {"share": 0.5}


def test_wrong_numbers_are_found(code):
  right = code.gradient
  code.gradient = lambda *own, **more: [1.001 * x for x in right(*own, **more)]
  assert trial_process.answer(KIND)["difference"] == pytest.approx(1e-3, rel=0.05)
  assert trial_process.answer(KIND._replace(training=False)) == {"share": 0.5}
  code.convolve = lambda x, _, bias, **__: jnp.full((*x.shape[:3], len(bias)), jnp.nan)
  assert trial_process.answer(KIND) == {"error": "its numbers are not finite"}


def test_what_does_not_compile_is_told(code):
  def fails(*_, **__):
    raise NotImplementedError("no such instruction")

  code.gradient = fails
  expected = {"error": "NotImplementedError: no such instruction"}
  assert trial_process.answer(KIND) == expected


def test_times_are_of_computations():
  calls = [(np.ones((64, 64), np.float32),)] * 2
  ways = [lambda x: x @ x, lambda x: x]
  assert all(0 < seconds < 60 for seconds in trial_process.least_seconds(ways, calls))


# Decisions


class Process:
  """Answers as it is told, and counts the questions."""

  def __init__(self, *answers):
    self.answers, self.asked = answers or [{"share": 0.5}], []

  def ask(self, kind):
    self.asked.append(kind)
    return self.answers[min(len(self.asked), len(self.answers)) - 1]


@pytest.fixture
def asked(monkeypatch, tmp_path):
  """Sets the answers of the trials; there is a GPU."""

  def answers(*found):
    process = Process(*found)
    monkeypatch.setattr(trial, "_process", process)
    monkeypatch.setattr(trial, "_decided", {})
    return process

  monkeypatch.setattr(trial, "_gpu", lambda: types.SimpleNamespace(device_kind="a GPU"))
  monkeypatch.setattr(trial, "_folder", lambda: tmp_path)
  return answers


def faster(x=(1, 5, 7, 1), kernel=KERNEL, relu=True, precision=HIGHEST):
  """For inference, and for training."""
  given = np.zeros(x, np.float32), kernel, relu, precision
  return tuple(trial.faster(*given, training=training) for training in (False, True))


def decisions(folder):
  (found,) = json.loads((folder / compiled.TRIALS).read_text()).values()
  return found


@pytest.mark.parametrize(("share", "used"), [(0.94, True), (0.96, False), (2.0, False)])
def test_a_twentieth_of_the_time_is_the_least_gain(share, used, asked):
  asked({"share": share})
  assert faster() == (used, used)


def test_inference_and_training_are_decided_apart(asked):
  asked({"share": 2.0}, {"share": 0.5})
  assert faster() == (False, True)


def test_a_decision_is_kept_for_later_processes(tmp_path, asked, monkeypatch):
  asked()
  assert faster() == faster() == BOTH
  names = TRAINING, TRAINING.replace("training", "inference")
  assert decisions(tmp_path) == dict.fromkeys(names, True)
  later = asked({"share": 2.0})
  assert faster() == faster((4, 9, 9, 1)) == BOTH  # the latter is small, too
  assert not later.asked
  monkeypatch.setattr(jax, "__version__", "0")
  asked({"share": 2.0})
  assert faster() == NEITHER
  assert len(json.loads((tmp_path / compiled.TRIALS).read_text())) == 2


def test_threads_that_trace_at_once_decide_once(asked):
  process = asked({"share": 0.5}, {"share": 2.0}, {"share": 0.5})
  with concurrent.futures.ThreadPoolExecutor(4) as threads:
    found = list(threads.map(lambda _: faster(), range(8)))
  assert len(process.asked) == 2 and len(set(found)) == 1


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 1}', None])
def test_a_damaged_or_missing_file_is_written_anew(tmp_path, text, asked):
  if text is not None:
    (tmp_path / compiled.TRIALS).write_text(text)
  asked()
  assert faster() == BOTH
  assert set(decisions(tmp_path).values()) == {True}


def test_without_a_folder_each_process_decides(asked, monkeypatch, tmp_path):
  monkeypatch.setattr(trial, "_folder", lambda: None)
  asked()
  assert faster() == BOTH
  assert not list(tmp_path.iterdir())


def test_the_folder_is_that_of_compiled_programs(tmp_path, monkeypatch):
  def folder(enabled, path):
    settings = {
      "jax_enable_compilation_cache": enabled,
      "jax_compilation_cache_dir": path,
    }
    monkeypatch.setattr(trial.jax, "config", types.SimpleNamespace(**settings))
    return trial._folder()

  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
  found = [
    folder(True, str(tmp_path)),
    folder(False, str(tmp_path)),
    folder(True, str(tmp_path / "missing")),
    folder(True, None),  # a program that has called no command
  ]
  (tmp_path / "file").touch()
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
  found.append(folder(True, None))
  monkeypatch.undo()
  assert found[:3] == [tmp_path, None, None] and found[4] is None
  assert found[3].is_dir() and found[3].parent == tmp_path / "caches/kdmri_jax/compiled"


@pytest.mark.parametrize(
  ("answer", "told", "kept"),
  [
    ({"difference": 0.1}, "computes other numbers for training.*1.0e-01 of", True),
    ({"error": "no such instruction"}, "cannot compute training.*no such ins", True),
    ({"error": "X: RESOURCE_EXHAUSTED: memory"}, "cannot compute training", False),
    ({"error": "CUDNN_STATUS_NOT_INITIALIZED"}, "cannot compute training", False),
    ({"error": "CUBLAS_STATUS_ALLOC_FAILED"}, "cannot compute training", False),
  ],
)
def test_what_is_not_right_is_not_used(answer, told, kept, asked, caplog, tmp_path):
  asked({"share": 0.5}, answer)
  with caplog.at_level(logging.WARNING):
    assert faster() == (True, False)
  assert re.search(told, caplog.text)
  assert (TRAINING in decisions(tmp_path)) == kept


def test_a_process_that_fails_twice_is_asked_no_more(asked, caplog, tmp_path):
  failure = {"failure": "its process ended (-9)", "messages": "an illegal address"}
  both = {"share": 0.5}, failure
  for own, questions, kept in (
    (both, 2, "failed once"),
    ((failure,), 1, False),
    ((failure,), 0, False),
  ):
    process = asked(*own)
    with caplog.at_level(logging.WARNING):
      assert faster() == (True, False)
    assert len(process.asked) == questions
    assert decisions(tmp_path)[TRAINING] == kept
  assert "its process ended (-9)\nan illegal address. XLA does." in caplog.text


def test_no_trial_without_need(asked, monkeypatch):
  def no_triton():
    raise ImportError

  process = asked()
  assert faster(kernel=np.zeros((5, 5, 1, 32), np.float32)) == NEITHER
  monkeypatch.setattr(layer, "pallas", no_triton)
  assert faster() == NEITHER
  monkeypatch.undo()
  assert trial._gpu() is None  # a CPU
  assert faster() == NEITHER
  assert not process.asked


@pytest.mark.parametrize(
  ("platform", "capability", "processes", "used"),
  [
    ("cuda 12080", "9.0", 1, True),
    ("cuda 12080", "7.5", 1, False),
    ("rocm 60000", "9.0", 1, False),
    ("cuda 12080", "9.0", 2, False),
  ],
)
def test_which_gpus_have_trials(platform, capability, processes, used, monkeypatch):
  client = types.SimpleNamespace(platform_version=f"PJRT C API\n{platform}")
  gpu = types.SimpleNamespace(client=client, compute_capability=capability)
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  monkeypatch.setattr(jax, "process_count", lambda: processes)
  monkeypatch.setattr(jax, "local_devices", lambda: [gpu])
  assert trial._gpu() == (gpu if used else None)


def test_the_size_is_that_of_all_images(asked):
  process = asked()
  kernel = np.zeros((3, 3, 32, 32), np.float32)
  for count, precision in ((1, HIGHEST), (9, HIGHEST), (9, jax.lax.Precision.HIGH)):
    faster((count, 64, 64, 32), kernel, precision=precision)
  kinds = process.asked[::2]
  assert [kind.large for kind in kinds] == [False, True, True]
  assert [kind.products for kind in kinds] == ["float32", "float32", "tensorfloat32"]


def test_programs_are_traced_by_the_decisions(asked, monkeypatch):
  seen, choose = [], convolution._choose

  def chosen(own, *rest):
    seen.append("cuda" in own)
    return choose([each for each in own if each == "cpu"], *rest)

  def convolve(x):
    return convolution.convolve(x, jnp.asarray(KERNEL), relu=True).sum()

  monkeypatch.setattr(convolution, "_choose", chosen)
  x = np.ones((2, 5, 7, 1), np.float32)
  asked({"share": 2.0}, {"share": 0.5})  # alone, and in training
  jax.jit(convolve)(x)
  assert seen == [False]
  jax.jit(jax.grad(convolve))(x)
  assert seen[1:] == [True, True]


# The process


@pytest.fixture
def process():
  own = trial._Process()
  yield own
  own.end()


def test_a_process_without_a_gpu_says_so(process):
  expected = {"failure": "its process has no GPU"}
  assert process.ask(KIND) == process.ask(KIND) == expected


@pytest.mark.parametrize(
  ("program", "failure", "messages"),
  [
    (
      "import sys; sys.stdin.readline(); sys.exit('bad')",
      "its process ended (1)",
      "bad",
    ),
    ("pass", "its process ended (0)", ""),
    ("print('{', flush=True)", "its process answered '{\\n'", ""),
    ("print('[1]', flush=True)", "its process answered '[1]\\n'", ""),
  ],
)
def test_a_process_that_does_not_answer(
  program, failure, messages, process, monkeypatch
):
  monkeypatch.setattr(trial, "_START", program)
  assert process.ask(KIND) == {"failure": failure, "messages": messages}


def test_a_silent_process_is_asked_once(process, monkeypatch):
  monkeypatch.setattr(trial, "_START", "import time; time.sleep(99)")
  monkeypatch.setattr(trial, "_SECONDS", 0.5)
  assert process.ask(KIND)["failure"] == "its process ended (-9)"
  assert process.ask(KIND) == {"failure": "its process did not answer"}


def test_a_python_that_cannot_start(process, monkeypatch, tmp_path):
  monkeypatch.setattr(trial.sys, "executable", str(tmp_path / "python"))
  assert "its process cannot start ([Errno 2]" in process.ask(KIND)["failure"]


def test_images_of_unknown_size_count_as_large(asked):
  process = asked()
  shape = jax.export.symbolic_shape("b, 8, w, 1")

  def decide(x):
    trial.faster(x, KERNEL, True, HIGHEST, training=False)
    return x

  jax.export.export(jax.jit(decide))(jax.ShapeDtypeStruct(shape, np.float32))
  assert [kind.large for kind in process.asked] == [True]


def test_a_process_that_left_is_started_again(process, monkeypatch):
  answer = """
import sys
sys.stdin.readline()
print('{"share": 0.5}', flush=True)
"""
  monkeypatch.setattr(trial, "_START", answer)
  for _ in range(2):
    assert process.ask(KIND) == {"share": 0.5}

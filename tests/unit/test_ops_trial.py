"""Which code a GPU uses: the trial, with a CPU in the place of the GPU."""

import functools
import json
import logging
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.marks import slow

from kdmri_jax.ops import convolution, layer, pallas, trial

pytestmark = pytest.mark.usefixtures("quick_compilation")

HIGHEST = jax.lax.Precision.HIGHEST
BOTH, NEITHER = (True, True), (False, False)
KERNEL = np.zeros((3, 3, 1, 32), np.float32)
TIMED = trial._seconds  # which the fixture replaces
FORGET = trial._decision.cache_clear


@pytest.fixture(autouse=True)
def gpu(monkeypatch, tmp_path):
  """A CPU that passes for a GPU: it interprets the kernels, and Pallas is faster."""
  code = {
    name: functools.partial(getattr(pallas, name), interpret=True)
    for name in ("convolve", "gradient")
  }
  code = types.SimpleNamespace(**code, knows=pallas.knows)
  monkeypatch.setattr(layer, "pallas", lambda: code)
  monkeypatch.setattr(trial, "_gpu", lambda: jax.devices("cpu")[0])
  monkeypatch.setattr(trial, "_ODD", (2, 5, 7))
  seconds(monkeypatch, 1.0, 0.5)
  monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
  FORGET()
  yield code
  FORGET()


def seconds(monkeypatch, xla, pallas):
  """Times that a trial finds, of one code after the other."""
  found = iter([xla, pallas] * 99)
  monkeypatch.setattr(trial, "_seconds", lambda *_: next(found))


def faster(x=(1, 5, 7, 1), kernel=KERNEL, relu=True, precision=HIGHEST):
  """For inference, and for training."""
  given = np.zeros(x, np.float32), kernel, relu, precision
  return tuple(trial.faster(*given, training=training) for training in (False, True))


def decisions(folder):
  (found,) = json.loads((folder / "gpu_trials.json").read_text()).values()
  return found


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 32), slow(32, 1), slow(32, 32)])
@pytest.mark.parametrize("dtype", [np.float32, slow(jnp.bfloat16)])
def test_right_and_faster_kernels_are_used(inputs, outputs, dtype):
  kernel = np.zeros((3, 3, inputs, outputs), dtype)
  x = np.zeros((1, 5, 7, inputs), dtype)
  for relu in (True, False):
    for training in (False, True):
      assert trial.faster(x, kernel, relu, HIGHEST, training=training)


def test_the_trial_is_that_of_a_traced_program(monkeypatch):
  """It computes while another program is traced, and decides for that program."""
  seen, choose = [], convolution._choose

  def chosen(own, *rest):
    seen.append("cuda" in own)
    return choose([each for each in own if each == "cpu"], *rest)

  def convolve(x):
    return convolution.convolve(x, jnp.asarray(KERNEL), relu=True).sum()

  monkeypatch.setattr(convolution, "_choose", chosen)
  x = np.ones((2, 5, 7, 1), np.float32)
  times = iter([1, 2, 1, 0.5])  # alone, and in training
  monkeypatch.setattr(trial, "_seconds", lambda *_: next(times))
  jax.jit(convolve)(x)
  assert seen == [False]
  jax.jit(jax.grad(convolve))(x)
  assert seen[1:] == [True, True]


@pytest.mark.parametrize(("share", "used"), [(0.94, True), (0.96, False), (2, False)])
def test_a_twentieth_of_the_time_is_the_least_gain(share, used, monkeypatch):
  seconds(monkeypatch, 1.0, share)
  assert faster() == (used, used)


def test_a_decision_is_kept_for_later_processes(tmp_path, monkeypatch):
  assert faster() == BOTH
  names = [
    f"{use}, 1->32 with ReLU, float32, small" for use in ("inference", "training")
  ]
  assert decisions(tmp_path) == dict.fromkeys(names, True)
  FORGET()
  monkeypatch.setattr(trial, "_is_faster", None)  # no second trial
  assert faster() == BOTH
  assert faster((4, 9, 9, 1)) == BOTH  # small, too
  monkeypatch.setattr(jax, "__version__", "0")
  FORGET()
  assert faster() == NEITHER


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 1}', None])
def test_a_damaged_or_missing_file_is_written_anew(tmp_path, text):
  if text is not None:
    (tmp_path / "gpu_trials.json").write_text(text)
  assert faster() == BOTH
  assert set(decisions(tmp_path).values()) == {True}


def test_without_a_folder_each_process_decides(monkeypatch, tmp_path):
  for folder in ("", str(tmp_path / "missing")):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", folder)
    FORGET()
    assert faster() == BOTH
  assert not list(tmp_path.iterdir())


def test_wrong_numbers_are_not_used(gpu, caplog, tmp_path):
  right = gpu.gradient
  gpu.gradient = lambda *own, **more: [1.001 * x for x in right(*own, **more)]
  with caplog.at_level(logging.WARNING):
    assert faster() == (True, False)
  assert "Pallas computes other numbers for training, 1->32 with ReLU" in caplog.text
  gpu.convolve = lambda x, _, bias, **__: jnp.full((*x.shape[:3], len(bias)), jnp.nan)
  FORGET()
  (tmp_path / "gpu_trials.json").unlink()
  assert faster() == NEITHER


def test_what_does_not_compile_is_not_used(gpu, caplog, tmp_path):
  def fails(*_, **__):
    raise NotImplementedError("no such instruction")

  gpu.gradient = fails
  with caplog.at_level(logging.WARNING):
    assert faster() == (True, False)
  assert "Pallas cannot compute training, 1->32 with ReLU" in caplog.text
  assert "no such instruction" in caplog.text
  assert list(decisions(tmp_path).values()) == [True]  # the other is tried again


def test_no_trial_without_need(monkeypatch):
  def no_triton():
    raise ImportError

  monkeypatch.setattr(trial, "_is_faster", None)
  assert faster(kernel=np.zeros((5, 5, 1, 32), np.float32)) == NEITHER
  monkeypatch.setattr(layer, "pallas", no_triton)
  assert faster() == NEITHER
  monkeypatch.undo()
  assert trial._gpu() is None
  assert faster() == NEITHER


def test_times_are_of_computations():
  calls = [(np.ones((64, 64), np.float32),)] * 2
  assert 0 < TIMED(lambda x: x @ x, calls) < 60


def test_the_size_is_that_of_all_images(monkeypatch):
  kinds = []
  monkeypatch.setattr(trial, "_decision", lambda _, kind: kinds.append(kind))
  kernel = np.zeros((3, 3, 32, 32), np.float32)
  for count, precision in ((1, HIGHEST), (9, HIGHEST), (9, jax.lax.Precision.HIGH)):
    faster((count, 64, 64, 32), kernel, precision=precision)
  assert [kind.large for kind in kinds[::2]] == [False, True, True]
  assert [kind.products for kind in kinds[::2]] == ["float32"] * 2 + ["tensorfloat32"]

"""Where the Pallas kernels are used: a trial on the GPU at hand decides.

When a program with convolutions is traced on a machine with an NVIDIA GPU, each kind of
convolution that the kernels know is computed by XLA and by Pallas, once alone and once
with its gradients (`ops.trial_process`). Pallas is used where its numbers agree with
XLA's and it takes at most `_SHARE` of the time.

The decisions are kept beside the compiled programs, or in the user's folder for them
where a program of one's own has none, so a later process needs no trial
and traces the same programs. A trial runs in a process of its own: a kernel that fails
on a GPU can end the process, or leave it without the GPU. Several processes that train
together use XLA alone, because each would decide for itself.
"""

import atexit
import contextlib
import fcntl
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import zlib
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

import jax
import jax.numpy as jnp
from absl import logging

from kdmri_jax import compiled, json_text
from kdmri_jax.errors import UserError
from kdmri_jax.ops import layer
from kdmri_jax.saving import replacing
from kdmri_jax.types import Array

_SHARE = 0.95  # of XLA's time: less would be chance
_LARGE = 2**15  # pixels of all images
_SECONDS = 180.0  # for the trial of a kind
_OLDEST = 8.0  # compute capability with TensorFloat-32 and bfloat16
# Errors of a GPU that is busy: of XLA, of cuDNN and cuBLAS, and of CUDA.
_PASSING = "RESOURCE_EXHAUSTED", "OUT_OF_MEMORY", "ALLOC_FAILED", "NOT_INITIALIZED"
_ONCE = "failed once"
_LAST_LINES = 20  # of a process that failed, for its log
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
_START += "from kdmri_jax.ops.trial_process import main; main()"


class Kind(NamedTuple):
  """What a decision holds for.

  Attributes:
    training: whether the gradients belong to it.
    inputs: channels.
    outputs: channels.
    products: "float32", "tensorfloat32" or "bfloat16".
    relu: whether a ReLU follows.
    large: whether the images have `_LARGE` pixels or more in all.
  """

  training: bool
  inputs: int
  outputs: int
  products: str
  relu: bool
  large: bool

  def __str__(self) -> str:
    relu = " with ReLU" if self.relu else ""
    what = "training" if self.training else "inference"
    return (
      f"{what}, {self.inputs}->{self.outputs}{relu}, {self.products}, "
      f"{'large' if self.large else 'small'}"
    )


def faster(
  x: Array, kernel: Array, relu: bool, precision: jax.lax.Precision, *, training: bool
) -> bool:
  """Whether this machine's GPU uses Pallas for a convolution.

  Args:
    x: images [B, H, W, I], also traced ones.
    kernel: [K, K, I, O], likewise.
    relu: whether a ReLU follows.
    precision: of float32 products.
    training: whether the gradients are needed, too.

  Returns:
    False where there is no such GPU or several processes train.
  """
  gpu = _gpu()
  if gpu is None or not _knows(kernel):
    return False
  products = "bfloat16" if x.dtype == jnp.bfloat16 else "float32"
  if products == "float32" and precision == jax.lax.Precision.HIGH:
    products = "tensorfloat32"
  images = x.shape[:-1]
  # Of unknown sizes, which only an export has, as large ones.
  is_known = all(isinstance(size, int) for size in images)
  large = not is_known or math.prod(images) >= _LARGE
  inputs, outputs = kernel.shape[2:]
  kind = Kind(training, inputs, outputs, products, relu, large)
  with _lock:
    if kind not in _decided:
      _decided[kind] = _decide(kind, gpu)
    return _decided[kind]


_lock = threading.Lock()
_decided: dict[Kind, bool] = {}


def _gpu() -> jax.Device | None:
  """An NVIDIA GPU of this process, if it is what JAX computes with."""
  if jax.default_backend() != "gpu" or jax.process_count() > 1:
    return None
  device = jax.local_devices()[0]
  is_of_nvidia = "cuda" in device.client.platform_version.lower()
  return device if is_of_nvidia and _capability(device) >= _OLDEST else None


def _capability(device: jax.Device) -> float:
  with contextlib.suppress(AttributeError, ValueError):
    return float(device.compute_capability)
  return 0.0


def _knows(kernel: Array) -> bool:
  try:
    return layer.pallas().knows(kernel)
  except (ImportError, AttributeError):  # a jaxlib without Triton, or with another
    return False


def _decide(kind: Kind, gpu: jax.Device) -> bool:
  """As in the file of earlier decisions, or tried."""
  with _kept(gpu) as known:
    decided = known.get(str(kind))
    if isinstance(decided, bool):
      return decided
    answer = _process.ask(kind)
    _tell(kind, answer)
    faster = answer.get("share", 1.0) <= _SHARE
    if "failure" in answer:  # the first may be by chance; the second is believed
      known[str(kind)] = False if decided == _ONCE else _ONCE
    elif not any(each in answer.get("error", "") for each in _PASSING):
      known[str(kind)] = faster
    return faster


def _tell(kind: Kind, answer: dict[str, Any]) -> None:
  if "share" in answer:
    logging.info("%s: Pallas takes %.2f of XLA's time", kind, answer["share"])
  elif "difference" in answer:
    text = "Pallas computes other numbers for %s (%.1e of the largest). XLA's are used."
    logging.warning(text, kind, answer["difference"])
  else:
    why = answer.get("error") or f"{answer['failure']}\n{answer.get('messages', '')}"
    logging.warning("Pallas cannot compute %s: %s. XLA does.", kind, why.strip())


class _Process:
  """The process of the trials, which starts when it is needed; it answers by lines."""

  def __init__(self) -> None:
    self._running: subprocess.Popen | None = None
    self._is_silent = False
    self._messages: IO[str] | None = None

  def ask(self, kind: Kind) -> dict[str, Any]:
    """The answer of `trial_process.answer`, or a "failure" of the process itself.

    With a failure come "messages", the last lines of what the process said.
    """
    if self._is_silent:
      return {"failure": "its process did not answer"}
    for _ in range(2):  # it may have ended since the last question
      try:
        process = self._running or self._start()
      except OSError as error:
        return {"failure": f"its process cannot start ({error})"}
      timer = threading.Timer(_SECONDS, self._give_up)
      timer.start()
      try:
        with contextlib.suppress(BrokenPipeError):
          process.stdin.write(json_text.dumps(list(kind)) + "\n")
          process.stdin.flush()
        line = process.stdout.readline()
      except BaseException:  # Ctrl-C: its answer would be taken for the next one
        self.end()
        raise
      finally:
        timer.cancel()
      if line:
        return self._understood(line)
      messages = self.end()
      if process.returncode or self._is_silent:
        break
    failure = f"its process ended ({process.returncode})"
    return {"failure": failure, "messages": messages}

  def _give_up(self) -> None:
    self._is_silent = True
    if self._running:
      self._running.kill()

  def _understood(self, line: str) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
      answer = json_text.loads(line)
      if isinstance(answer, dict):
        return answer
    return {"failure": f"its process answered {line!r}", "messages": self.end()}

  def _start(self) -> subprocess.Popen:
    text = {"encoding": "utf-8", "errors": "replace"}
    self._messages = tempfile.TemporaryFile("w+", **text)  # noqa: SIM115
    self._running = subprocess.Popen(
      [sys.executable, "-c", _START, json_text.dumps(sys.path)],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=self._messages,
      env=os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
      start_new_session=True,  # the terminal's signals are for this process
      text=True,
    )
    return self._running

  def end(self) -> str:
    """Ends the process; the last lines of what it said."""
    if self._running:
      for stream in (self._running.stdin, self._running.stdout):
        with contextlib.suppress(OSError):
          stream.close()
      self._running.kill()
      self._running.wait()
      self._running = None
    if self._messages is None:
      return ""
    with self._messages as file:
      file.seek(0)
      lines = file.read().splitlines()
    self._messages = None
    return "\n".join(lines[-_LAST_LINES:])


_process = _Process()
atexit.register(_process.end)


@contextlib.contextmanager
def _kept(gpu: jax.Device) -> Iterator[dict[str, Any]]:
  """The decisions of all processes for this kind of GPU and these versions.

  What the block adds is kept. Other processes wait for it meanwhile.
  """
  folder = _folder()
  if folder is None:
    yield {}
    return
  path = folder / compiled.TRIALS
  code = pathlib.Path(layer.__file__).with_name("pallas.py").read_bytes()
  key = f"{gpu.device_kind}, jax {jax.__version__}, {zlib.crc32(code):08x}"
  with _locked(path):
    everything = _read(path)
    own = everything.setdefault(key, {})
    before = dict(own)
    yield own
    if own != before:
      try:
        with replacing(path) as temporary:
          temporary.write_text(json_text.dumps(everything, indent=1), encoding="utf-8")
      except UserError as error:
        logging.info("%s; the trial is repeated in the next process", error)


def _folder() -> pathlib.Path | None:
  """Where JAX keeps compiled programs, else where the commands do; None for nowhere."""
  names = "jax_enable_compilation_cache", "jax_compilation_cache_dir"
  enabled, folder = (getattr(jax.config, name) for name in names)
  if not enabled:
    return None
  if folder:
    return pathlib.Path(folder) if os.path.isdir(folder) else None
  with contextlib.suppress(OSError, RuntimeError):
    return compiled.of_user()
  return None


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[None]:
  """Waits until no other process has the lock; without one where there are none."""
  with contextlib.ExitStack() as stack:
    with contextlib.suppress(OSError):
      lock = stack.enter_context(open(path.with_suffix(".lock"), "w", encoding="utf-8"))
      fcntl.flock(lock, fcntl.LOCK_EX)
    yield


def _read(path: pathlib.Path) -> dict[str, dict[str, Any]]:
  try:
    found = json_text.loads(path.read_text(encoding="utf-8"))
  except (OSError, ValueError, RecursionError):
    return {}
  if isinstance(found, dict) and all(isinstance(each, dict) for each in found.values()):
    return found
  return {}

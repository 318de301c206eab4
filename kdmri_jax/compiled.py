"""Lets JAX keep what it compiles, in a folder of the user, for later processes."""

import contextlib
import os
import pathlib
import platform
import re
import zlib

_FOLDER = "JAX_COMPILATION_CACHE_DIR"
_SHORTEST = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
_MOST = 2**30  # bytes
_ZSTANDARD = b"\x28\xb5\x2f\xfd"  # JAX packs so where it finds that package
_CHECKED = "checked"  # a file as old as the last check
TRIALS = "gpu_trials.json"  # of `ops.trial`


def keep() -> pathlib.Path | None:
  """Chooses the folder, which JAX reads when it is first imported.

  It is kdmri_jax/compiled in $XDG_CACHE_HOME or ~/.cache, with a folder per kind of
  CPU. Of more than a gigabyte the oldest files are removed, and so are files that a
  killed process left incomplete. Variables of the environment that JAX reads itself
  come first: JAX_COMPILATION_CACHE_DIR names another folder, and
  JAX_ENABLE_COMPILATION_CACHE=false keeps nothing.

  Returns:
    The folder; None where one was given or none can be written.
  """
  if _FOLDER in os.environ:
    return None
  try:
    folder = of_user()
    _remove_oldest(folder.parent)
    _remove_incomplete(folder)
  except (OSError, RuntimeError):
    return None
  os.environ[_FOLDER] = str(folder)
  os.environ.setdefault(_SHORTEST, "0")
  return folder


def of_user() -> pathlib.Path:
  """The user's folder for this kind of CPU, which exists then.

  Raises:
    OSError: it cannot be made.
    RuntimeError: there is no home.
  """
  caches = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
  root = pathlib.Path(caches) / "kdmri_jax" / "compiled"
  folder = root / _kind_of_cpu()
  folder.mkdir(parents=True, exist_ok=True)
  root.chmod(0o700)  # compiled code: for its owner alone, who must be this user
  return folder


def _kind_of_cpu() -> str:
  """XLA compiles for the instructions of the CPU, but does not compare them."""
  kind = platform.machine()
  with contextlib.suppress(OSError):
    text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    kind += "".join(re.findall(r"^(?:flags|Features)\s*:.*$", text, re.M)[:1])
  return f"{zlib.crc32(kind.encode()):08x}"


def _remove_oldest(root: pathlib.Path) -> None:
  files = [(path.stat(), path) for path in root.rglob("*") if path.is_file()]
  kept = pathlib.Path(TRIALS).stem  # with its lock, which a process may hold
  files = [(stat, path) for stat, path in files if path.stem != kept]
  files.sort(key=lambda each: each[0].st_mtime)
  surplus = sum(stat.st_size for stat, _ in files) - _MOST
  for stat, path in files:
    if surplus <= 0:
      return
    path.unlink(missing_ok=True)
    surplus -= stat.st_size


def _remove_incomplete(folder: pathlib.Path) -> None:
  """JAX would warn of such a file at every start, and would not write it again."""
  mark = folder / _CHECKED
  since = mark.stat().st_mtime if mark.exists() else 0
  mark.touch()
  for path in folder.glob("*-cache"):
    if path.stat().st_mtime < since - 1:
      continue
    content, unpacked = path.read_bytes(), zlib.decompressobj()
    with contextlib.suppress(zlib.error):
      unpacked.decompress(content)
    if not unpacked.eof and not content.startswith(_ZSTANDARD):
      path.unlink(missing_ok=True)

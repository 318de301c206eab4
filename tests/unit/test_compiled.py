"""The folder in which JAX keeps what it compiles."""

import os
import pathlib
import subprocess
import sys

import pytest

from kdmri_jax import compiled


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
  """A user without any settings, whose home is a temporary folder."""
  for name in (compiled._FOLDER, compiled._SHORTEST, "XDG_CACHE_HOME"):
    monkeypatch.setenv(name, "to be restored afterwards")
    monkeypatch.delenv(name)
  monkeypatch.setenv("HOME", str(tmp_path))
  return tmp_path


def test_it_is_in_the_users_cache_and_for_this_user_alone(home):
  folder = compiled.keep()
  root = home / ".cache" / "kdmri_jax" / "compiled"
  assert folder.parent == root and folder.is_dir()
  assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(folder)
  assert root.stat().st_mode & 0o777 == 0o700


def test_xdg_cache_home(home, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(home / "caches"))
  assert compiled.keep().is_relative_to(home / "caches" / "kdmri_jax")


@pytest.mark.parametrize("given", ["elsewhere", ""])
def test_a_given_folder_stays(home, monkeypatch, given):
  monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", given)
  assert compiled.keep() is None
  assert os.environ["JAX_COMPILATION_CACHE_DIR"] == given
  assert not (home / ".cache").exists()


def test_without_a_folder_nothing_is_kept(home):
  (home / ".cache").write_text("a file")
  assert compiled.keep() is None
  assert "JAX_COMPILATION_CACHE_DIR" not in os.environ


def test_another_cpu_has_another_folder(monkeypatch):
  text = "model name : A\nflags\t\t: fpu sse\nflags\t\t: fpu sse\n"
  found = []
  for cpu in (text, text, text.replace("sse", "avx")):
    monkeypatch.setattr(pathlib.Path, "read_text", lambda *_, cpu=cpu, **__: cpu)
    found.append(compiled.keep())
    del os.environ["JAX_COMPILATION_CACHE_DIR"]
  assert found[0] == found[1] != found[2]


def test_the_oldest_files_are_removed(monkeypatch):
  folder = compiled.keep()
  del os.environ["JAX_COMPILATION_CACHE_DIR"]
  for age in range(5):
    (folder / f"{age}-cache").write_bytes(bytes(100))
    os.utime(folder / f"{age}-cache", (1e9 - age, 1e9 - age))
  (folder / compiled.TRIALS).write_text("{}")
  os.utime(folder / compiled.TRIALS, (0, 0))
  monkeypatch.setattr(compiled, "_MOST", 250)
  compiled.keep()
  assert {path.name for path in folder.glob("*-cache")} == {"0-cache", "1-cache"}
  assert (folder / compiled.TRIALS).exists()  # later programs are traced by it


_COMPILES = """
from kdmri_jax import compiled
compiled.keep()
import jax
assert jax.jit(lambda x: x * 2 + 1)(3) == 7
"""


def test_files_that_a_killed_process_left_incomplete_are_written_again(monkeypatch):
  monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

  def run():
    command = [sys.executable, "-c", _COMPILES]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Error reading" not in done.stderr

  run()
  folder = compiled.keep()
  del os.environ["JAX_COMPILATION_CACHE_DIR"]
  files = {path: path.read_bytes() for path in folder.glob("*-cache")}
  assert files
  for path, content in files.items():
    path.write_bytes(content[: len(content) // 2])
  run()
  assert {path: len(path.read_bytes()) for path in files} == {
    path: len(content) for path, content in files.items()
  }

"""What every reader needs: the memory that is left, and the content of a file."""

import pytest

from kdmri_jax.errors import UserError
from kdmri_jax.interop import torch_file
from kdmri_jax.io import h5
from kdmri_jax.io.mat import read_mat
from kdmri_jax.io.nifti import read_nifti
from kdmri_jax.io.numpy_files import read_npy, read_npz
from kdmri_jax.io.reading import available_memory


def folder_of(root, files):
  for name, text in files.items():
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)
  return root


V2, V1 = "sys/fs/cgroup", "sys/fs/cgroup/memory"
MACHINE = {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 5000 kB\n"}
GROUP = {
  f"{V2}/a/memory.max": "3000000\n",
  f"{V2}/a/memory.current": "1000000\n",
  f"{V2}/a/memory.stat": "anon 5\ninactive_file 500000\n",
  f"{V2}/a/b/memory.max": "max\n",
  f"{V2}/a/b/memory.current": "900000\n",
}
OLDER = {
  f"{V1}/memory.limit_in_bytes": "3000000\n",
  f"{V1}/memory.usage_in_bytes": "1000000\n",
  f"{V1}/memory.stat": "total_inactive_file 250000\n",
}


@pytest.mark.parametrize(
  ("files", "expected"),
  [
    (MACHINE, 5_120_000),
    (MACHINE | GROUP, 5_120_000),  # groups of other processes
    (MACHINE | GROUP | {"proc/self/cgroup": "0::/a/b\n"}, 2_500_000),
    (
      MACHINE | OLDER | {"proc/self/cgroup": "7:cpu:/\n4:memory:/docker/x\n"},
      2_250_000,
    ),
  ],
)
def test_memory_that_a_container_leaves(tmp_path, files, expected):
  assert available_memory(folder_of(tmp_path, files)) == expected


def test_memory_of_this_machine():
  assert 2**20 < available_memory() < 2**50


@pytest.mark.parametrize(
  "name", ["a.h5", "a.nii.gz", "a.npz", "a.npy", "a.mat", "a.pt"]
)
@pytest.mark.parametrize(
  ("content", "text"),
  [
    (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "a web page. .*signing in"),
    (b"\xef\xbb\xbf\n<HTML>", "a web page"),
    (b"7z\xbc\xaf\x27\x1c" + bytes(200), "a 7z archive. .*unpack it"),
  ],
)
def test_content_of_another_format_is_named(tmp_path, name, content, text):
  path = tmp_path / name
  path.write_bytes(content)
  readers = {".pt": torch_file.read, ".mat": lambda path: read_mat(path, "a")}
  readers |= {".npy": read_npy, ".npz": read_npz, ".gz": read_nifti}
  text = text.replace(". ", "; expected .* ", 1)
  with pytest.raises(UserError, match=rf"{name}: found .* begins as {text}"):
    readers.get(path.suffix, h5.read_images)(path)

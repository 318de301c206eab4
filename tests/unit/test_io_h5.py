"""The h5 files that are written here have a checksum of all they hold."""

import h5py
import numpy as np
import pytest
from helpers.flips import flipped

from kdmri_jax.errors import UserError
from kdmri_jax.io import h5, volume_files
from kdmri_jax.io.variables import read_variable

IMAGES = np.random.default_rng(0).random((2, 6, 5)).astype(np.float32)
HEADER = h5.RawHeader("<xml/>", {"subject": "brain_7", "units": "file", "maximum": 1.5})


@pytest.fixture
def path(tmp_path):
  path = tmp_path / "brain_002.h5"
  h5.write_h5(path, {"reconstruction": IMAGES, "zero_filled": 2 * IMAGES}, HEADER)
  return path


def read_all(path):
  with h5.opened(path) as file:
    arrays = [h5.h5_array(file, key) for key in ("reconstruction", "zero_filled")]
    return arrays, h5.read_header(file, path)


@pytest.mark.parametrize(("kind", "joined"), [("f4", "c8"), ("f8", "c16")])
def test_pairs_of_real_and_imag_are_complex_numbers(tmp_path, kind, joined):
  """Read by its name, as the variable of a file, and as a scan's k-space."""
  pairs = np.zeros((2, 6, 5), [("real", kind), ("imag", kind)])
  pairs["real"], pairs["imag"] = IMAGES, -IMAGES
  path = tmp_path / "a.h5"
  with h5py.File(path, "w") as file:
    file["kspace"] = pairs
  with h5.opened(path) as file:
    found = h5.h5_array(file, "kspace")
  assert found.dtype == joined
  np.testing.assert_array_equal(found, IMAGES - 1j * IMAGES)
  np.testing.assert_array_equal(read_variable(path)[0], found)
  np.testing.assert_array_equal(h5.read_kspace(path, ""), found.astype("c8"))


def test_what_was_written_is_read(path):
  arrays, header = read_all(path)
  np.testing.assert_array_equal(arrays, [IMAGES, 2 * IMAGES])
  assert header == HEADER


@pytest.mark.parametrize(
  "part",
  [IMAGES[0].tobytes(), (2 * IMAGES)[1].tobytes(), b"brain_7", b"<xml/>", b"subject\0"],
)
def test_a_flipped_bit_is_refused(path, part):
  begin, read = path.read_bytes().index(part), 0
  rng = np.random.default_rng(1)
  for bit in rng.choice(8 * len(part), size=min(8 * len(part), 40), replace=False):
    with flipped(path, 8 * begin + int(bit)), pytest.raises(UserError) as error:
      read += 1
      read_all(path)
    assert str(path) in str(error.value)
  assert read > 30


def test_changes_on_purpose_are_read(path):
  with h5py.File(path, "a") as file:
    file["reconstruction"][0] = 7
    file["mask"] = np.ones(3)
    file.attrs["scanner"] = "A"
  stored = volume_files.read_volume(path, volume_files.PREDICTION)
  assert (stored.images[0] == 7).all() and (stored.images[1] == IMAGES[1]).all()
  with h5py.File(path, "a") as file:
    file.attrs["subject"] = "brain_8"
  with pytest.raises(
    UserError, match=r"'subject' changed; .* delete 'kdmri_jax_crc32'"
  ):
    volume_files.read_volume(path)
  with h5py.File(path, "a") as file:
    for key in ("reconstruction", "zero_filled"):
      del file[key].attrs["kdmri_jax_crc32"]
  assert volume_files.read_volume(path).subject == "brain_8"

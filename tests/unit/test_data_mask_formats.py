"""Masks of other toolboxes, in files written from their formats' descriptions."""

import struct

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse

from kdmri_jax.errors import UserError
from kdmri_jax.physics.masks import files, recipes
from kdmri_jax.physics.masks.formats import read_mask

SHAPES = [(24, 30), (25, 31)]


def uncentred(line):
  """Entry k of the result is the entry of frequency k, which counts from N // 2."""
  size = len(line)
  return np.array([line[(k + size // 2) % size] for k in range(size)])


def fastmri_line(width, low):
  """Columns of an equispaced mask with `low` central ones, as fastMRI places them."""
  line = np.arange(width) % 4 == 1
  pad = (width - low + 1) // 2
  line[pad : pad + low] = True
  return line


def save_h5(path, **arrays):
  with h5py.File(path, "w") as file:
    for key, array in arrays.items():
      file[key] = array
  return path


def save_bart(path, array):
  """The pair of files, number by number, the first index fastest."""
  sizes = " ".join(map(str, array.shape))
  path.with_name(f"{path.name}.hdr").write_text(f"# Dimensions\n{sizes} \n")
  data = b"".join(struct.pack("<ff", z.real, z.imag) for z in array.T.ravel())
  path.with_name(f"{path.name}.cfl").write_bytes(data)
  return path


def refusal(path, **settings):
  with pytest.raises(UserError) as caught:
    read_mask(path, **settings)
  return str(caught.value)


# NumPy and MATLAB


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ending", ["npy", "mat"])
def test_numpy_and_matlab_count_from_zero_unless_told(tmp_path, ending, shape):
  mask = recipes.cartesian(shape, 3, 6, 1, 0)
  centred = np.fft.fftshift(mask)
  path = tmp_path / f"mask.{ending}"

  def save(array):
    if ending == "npy":
      np.save(path, array)
    else:
      scipy.io.savemat(path, {"mask": array, "other": 3})

  save(mask.astype(float))
  got, note = read_mask(path)
  assert got.dtype == np.uint8
  np.testing.assert_array_equal(got, mask)
  assert note.endswith("with zero frequency at [0, 0]")
  message = refusal(path, centred=True)
  assert "found the low frequencies sampled at [0, 0]" in message
  assert message.endswith("with --nocentred.")
  save(centred)
  got, note = read_mask(path, centred=True)
  np.testing.assert_array_equal(got, mask)
  assert "in the middle" in note and "does not show" not in note
  message = refusal(path)
  assert "found the low frequencies sampled in the middle" in message
  assert message.endswith("with --centred.")


@pytest.mark.parametrize("shape", [(12,), (1, 12), (12, 1)])
def test_a_line_needs_its_axis_and_size(tmp_path, shape):
  line = np.zeros(12)
  line[[-1, 0, 1, 5]] = 1
  path = tmp_path / "line.npy"
  np.save(path, line.reshape(shape))
  assert "axis: found none, for a line of 12" in refusal(path)
  assert "size: found none, for a line of 12" in refusal(path, axis=0)
  message = refusal(path, axis=0, size=(7, 12))
  assert "size: found (7, 12), for a line of 12 rows" in message
  got, _ = read_mask(path, axis=0, size=(12, 7))
  np.testing.assert_array_equal(got, np.repeat(line[:, None], 7, 1))
  got, _ = read_mask(path, axis=1, size=(7, 12))
  np.testing.assert_array_equal(got, np.tile(line, (7, 1)))


def test_size_and_axis_are_checked(tmp_path):
  path = tmp_path / "mask.npy"
  np.save(path, recipes.cartesian((24, 30), 3, 6, 1, 0))
  assert "size: found (30, 24), but (24, 30) in" in refusal(path, size=(30, 24))
  assert "axis: found 0, but phase-encode axis 1 in" in refusal(path, axis=0)
  np.save(path, recipes.gaussian2d((24, 30), 3, 6, 0))
  assert "varies along both axes" in refusal(path, axis=0)


def test_what_does_not_show_its_order_is_said(tmp_path):
  path = tmp_path / "mask.npy"
  np.save(path, np.tile(np.arange(12) % 3 == 0, (8, 1)))
  got, note = read_mask(path)
  assert got[0, 0]
  assert note.endswith("the mask itself does not show whether that is right")


def test_zero_frequency_must_be_sampled(tmp_path):
  path = tmp_path / "mask.npy"
  np.save(path, np.tile(np.arange(12) % 3 == 1, (8, 1)))
  assert "zero frequency not sampled; expected a sample at [0, 0]" in refusal(path)
  message = refusal(path, centred=True)
  assert "not sampled; expected a sample in the middle, at N // 2" in message


def test_matlab_variables(tmp_path):
  mask, path = recipes.cartesian((24, 30), 3, 6, 1, 0), tmp_path / "mask.mat"
  scipy.io.savemat(path, {"us": scipy.sparse.csc_array(mask.astype(float))})
  message = refusal(path)
  assert "no array 'mask' (the variables are: us (24, 30))" in message
  assert "as key" in message
  np.testing.assert_array_equal(read_mask(path, key="us")[0], mask)
  save_h5(path, mask=mask.T)  # version 7.3 stores the transposed array
  np.testing.assert_array_equal(read_mask(path)[0], mask)


# fastMRI


@pytest.mark.parametrize(("width", "low"), [(28, 4), (31, 5), (30, 5), (29, 4)])
@pytest.mark.parametrize("kspace", [(2, 6), (2, 3, 6)])
def test_fastmri_lines_are_centred_columns(tmp_path, width, low, kspace):
  line = fastmri_line(width, low)
  k = np.zeros((*kspace, width), np.complex64)
  path = save_h5(tmp_path / "file1.h5", mask=line, kspace=k)
  got, note = read_mask(path)
  np.testing.assert_array_equal(got, np.tile(uncentred(line), (6, 1)))
  assert "in the middle, from where it was moved" in note
  other, _ = read_mask(path, size=(9, width))
  assert other.shape == (9, width)
  assert "phase-encode axis 1" in refusal(path, axis=0)
  assert f"{width} columns" in refusal(path, size=(9, 5))


def test_fastmri_files_without_a_mask_or_kspace(tmp_path):
  path = save_h5(tmp_path / "a.h5", kspace=np.zeros((2, 6, 8), np.complex64))
  assert "no dataset 'mask' (the keys are: kspace)" in refusal(path)
  path = save_h5(tmp_path / "b.h5", mask=fastmri_line(28, 4).astype(np.float32))
  assert "size: found none, for a line of 28 columns" in refusal(path)
  assert read_mask(path, size=(5, 28))[0].shape == (5, 28)
  mask = recipes.gaussian2d((24, 30), 3, 6, 0)
  path = save_h5(tmp_path / "c.h5", pattern=np.fft.fftshift(mask))
  np.testing.assert_array_equal(read_mask(path, key="pattern")[0], mask)


# BART


@pytest.mark.parametrize("shape", SHAPES)
def test_bart_patterns(tmp_path, shape):
  mask = recipes.gaussian2d(shape, 3, 6, 0)
  centred = np.fft.fftshift(mask).astype(complex)
  for array in (
    centred[None],  # of bart poisson: phase encoding 1 and 2
    centred[..., None],  # of bart pattern, 2-D k-space: readout, phase encoding
    np.broadcast_to(centred, (3, *shape)),  # of bart pattern, 3-D k-space
  ):
    save_bart(tmp_path / "a", array)
    for name in ("a", "a.cfl", "a.hdr"):
      got, note = read_mask(tmp_path / name)
      np.testing.assert_array_equal(got, mask)
      assert note.startswith("a BART pattern with zero frequency in the middle")
  np.testing.assert_array_equal(uncentred(centred.real.T[15]), mask.T[0])


def test_a_bart_line_is_along_the_columns(tmp_path):
  line = fastmri_line(28, 6)
  path = save_bart(tmp_path / "a", line[None, :, None].astype(complex))
  assert "size: found none, for a line of 28 columns" in refusal(path)
  got, _ = read_mask(path, size=(5, 28))
  np.testing.assert_array_equal(got, np.tile(uncentred(line), (5, 1)))


def test_other_bart_arrays_are_refused(tmp_path):
  mask = np.fft.fftshift(recipes.gaussian2d((24, 30), 3, 6, 0)).astype(complex)
  path = save_bart(tmp_path / "a", np.stack([mask] * 2, -1)[None])
  assert "found 2 entries in dimension 3" in refusal(path)
  save_bart(path, np.stack([mask, mask[::-1]]))
  assert "varies along all of the dimensions 0, 1 and 2" in refusal(path)
  save_bart(path, 1j * mask[None])
  assert "type complex64" in refusal(path)
  save_bart(path, np.fft.ifftshift(mask)[None])
  assert refusal(path).endswith("with --nocentred.")


# Files


@pytest.mark.parametrize("axis", [-1, 2, 7])
def test_the_axis_is_0_or_1(tmp_path, axis):
  for mask in (np.ones(30), np.ones((24, 30))):
    np.save(tmp_path / "mask.npy", mask)
    found = refusal(tmp_path / "mask.npy", axis=axis, size=(24, 30))
    assert f"axis: found {axis}; expected 0 (rows) or 1 (columns)" in found


def test_other_files_are_refused(tmp_path):
  assert "no such file; expected a mask" in refusal(tmp_path / "gone.npy")
  (tmp_path / "mask.png").write_bytes(b"PNG")
  assert "the ending '.png'" in refusal(tmp_path / "mask.png")
  for ending in ("npy", "mat", "h5"):
    path = tmp_path / f"mask.{ending}"
    path.write_bytes(b"no such format")
    assert str(path) in refusal(path)
  np.save(tmp_path / "mask.npy", np.ones((2, 8, 8)))
  assert "shape (2, 8, 8)" in refusal(tmp_path / "mask.npy")
  np.save(tmp_path / "mask.npy", np.full((8, 8), 255))
  assert "the value 255" in refusal(tmp_path / "mask.npy")


def test_saved_masks_are_read_by_an_experiment(tmp_path):
  mask, path = recipes.cartesian((24, 30), 3, 6, 1, 0), tmp_path / "mask.npy"
  files.save(path, mask)
  np.testing.assert_array_equal(files.load(path, (24, 30), 1), mask)
  assert np.load(path).dtype == np.uint8
  before = path.read_bytes()
  with pytest.raises(UserError, match=r"mask.npy: found a file there"):
    files.save(path, mask.T)
  assert path.read_bytes() == before
  with pytest.raises(UserError, match=r"expected .npy"):
    files.save(tmp_path / "mask", mask)
  assert [file.name for file in tmp_path.iterdir()] == ["mask.npy"]


@pytest.mark.data
@pytest.mark.parametrize("anatomy", ["cardiac", "mrbrain", "knee"])
def test_published_masks(real_data, tmp_path, anatomy):
  for tag in ("4x", "5x", "8x"):
    path = real_data / "us_masks" / anatomy / f"mask_{tag}.npy"
    got, note = read_mask(path)
    np.testing.assert_array_equal(got, np.load(path))
    assert note.endswith("with zero frequency at [0, 0]")
    assert refusal(path, centred=True).endswith("with --nocentred.")
    np.save(tmp_path / "centred.npy", np.fft.fftshift(got))
    assert refusal(tmp_path / "centred.npy").endswith("with --centred.")

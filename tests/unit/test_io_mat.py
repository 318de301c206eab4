"""Files of MATLAB: read as SciPy reads them; damaged ones are refused."""

import struct

import numpy as np
import pytest
import scipy.io
import scipy.sparse
from helpers.refusing import IMAGES, refused

from kdmri_jax.io.mat import contents, read_mat


def test_sparse_matrix_of_matlab(tmp_path):
  path, matrix = tmp_path / "mask.mat", scipy.sparse.csc_matrix(np.eye(8))
  scipy.io.savemat(path, {"mask": matrix})
  np.testing.assert_array_equal(read_mat(path, "mask")[0], np.eye(8))
  for wrong in (8, -1, 10**6):
    matrix.indices[3] = wrong
    scipy.io.savemat(path, {"mask": matrix})
    refused(lambda p: read_mat(p, "mask"), path, "entries outside")
  scipy.io.savemat(path, {"mask": scipy.sparse.csc_matrix(np.eye(8))})
  content, starts = path.read_bytes(), list(range(9))
  for place, wrong, found in ((2, 9, "columns"), (0, 1, "columns"), (8, 9, "outside")):
    changed = [*starts[:place], wrong, *starts[place + 1 :]]
    old, new = (struct.pack("<9i", *numbers) for numbers in (starts, changed))
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))
    refused(lambda p: read_mat(p, "mask"), path, found)
  scipy.io.savemat(path, {"mask": scipy.sparse.csc_matrix((10**5, 10**5))})
  refused(lambda p: read_mat(p, "mask"), path, "100000 x 100000 values")


@pytest.mark.parametrize("packed", [False, True])
def test_matlab_files_are_read_as_scipy_reads_them(tmp_path, packed):
  path, rng = tmp_path / "a.mat", np.random.default_rng(0)
  for kind in ("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8", "c8", "c16"):
    for shape in ((3, 4), (2, 3, 5), (0, 3)):
      array = (50 * rng.normal(size=shape)).astype(kind)
      array = array + array.dtype.type(1j) if kind[0] == "c" else array
      others = {"text": "abc", "cells": np.array([1, "a"], object), "more": {"x": 1}}
      scipy.io.savemat(path, {"a": array} | others, do_compression=packed)
      (found,), expected = read_mat(path, "a"), scipy.io.loadmat(path)["a"]
      assert found.dtype == expected.dtype
      np.testing.assert_array_equal(found, expected)
    assert contents(path) == "a (0, 3), cells (1, 2), more (1, 1), text (1, 3)"
    refused(lambda p: read_mat(p, "text"), path, "no array 'text'")
  for kind in ("f8", "c16"):
    matrix = scipy.sparse.random(30, 20, 0.2, "csc", kind, rng=rng)
    scipy.io.savemat(path, {"a": matrix}, do_compression=packed)
    np.testing.assert_array_equal(read_mat(path, "a")[0], matrix.toarray())


def test_matlab_file_of_a_machine_with_the_other_byte_order(tmp_path):
  path, tag = tmp_path / "a.mat", struct.Struct(">II").pack
  flags, sizes = tag(6, 8) + tag(6, 0), tag(5, 8) + tag(2, 3)
  values = tag(9, 48) + np.arange(6, dtype=">f8").tobytes()
  body = flags + sizes + struct.pack(">HHs3x", 1, 1, b"a") + values
  path.write_bytes(
    b"MATLAB 5.0 MAT-file".ljust(124) + b"\1\0MI" + tag(14, len(body)) + body
  )
  np.testing.assert_array_equal(read_mat(path, "a")[0], [[0, 2, 4], [1, 3, 5]])


def test_matlab_file_of_version_4(tmp_path):
  path, matrix = tmp_path / "a.mat", scipy.sparse.random(9, 8, 0.3, rng=0)
  scipy.io.savemat(path, {"a": IMAGES[0], "b": matrix}, format="4")
  first, second = read_mat(path, "a", "b")
  np.testing.assert_array_equal(first, IMAGES[0])
  np.testing.assert_array_equal(second, matrix.toarray())

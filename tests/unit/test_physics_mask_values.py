"""A mask holds 0 and 1 of any type; other values are refused, and named."""

import functools

import h5py
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import scipy.io

import kdmri_jax as kd
from kdmri_jax.config import DataConfig
from kdmri_jax.data.sources import fastmri
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.physics import consistency
from kdmri_jax.physics.masks import files, formats
from kdmri_jax.physics.sampled import is_sampled
from kdmri_jax.pretrained import example
from kdmri_jax.types import Measurement

TYPES = (bool, np.uint8, np.int64, np.float16, np.float32, float, ml_dtypes.bfloat16)
HEART = example()
MASK = kd.masks.cartesian(HEART.shape, acceleration=4, centre_lines=8)
KSPACE = np.where(MASK, np.fft.fft2(HEART, norm="ortho"), 0).astype(np.complex64)
COIL = np.ones((1, *HEART.shape), np.complex64)


@functools.cache
def student():
  return kd.load_pretrained("cardiac-4x-distilled")


def imitation(mask):
  measurement = Measurement(KSPACE[None], mask)
  return kd.distillation.kspace_imitation(HEART, 0.9 * HEART, measurement=measurement)


def consistent(mask):
  operator = consistency.make(Measurement(KSPACE[None], mask), channels=1)
  return operator(HEART[None, ..., None])


# Each function of the library that takes a mask.
TAKES = {
  "undersample": lambda mask: kd.undersample(HEART, mask)[0],
  "reconstruct": lambda mask: student().reconstruct(KSPACE, mask),
  "apply": lambda mask: student().apply(HEART, Measurement(KSPACE, mask)),
  "forward": lambda mask: kd.coils.forward(HEART, COIL, mask),
  "adjoint": lambda mask: kd.coils.adjoint(KSPACE[None], COIL, mask),
  "cg_sense": lambda mask: kd.coils.cg_sense(KSPACE[None], COIL, mask, iterations=1),
  "kspace_imitation": imitation,
  "consistency": consistent,
}


@pytest.mark.parametrize("name", TAKES)
def test_masks_of_all_types_give_the_same(name):
  expected = TAKES[name](MASK)
  for kind in TYPES:
    np.testing.assert_array_equal(TAKES[name](MASK.astype(kind)), expected, str(kind))
  np.testing.assert_array_equal(TAKES[name](jnp.asarray(MASK, float)), expected)


@pytest.mark.parametrize("name", [*TAKES, "save"])
@pytest.mark.parametrize(
  ("factor", "found"), [(0.5, "the value 0.5,"), (255, "the value 255,"), (-1.0, "-1")]
)
def test_other_values_are_named(tmp_path, name, factor, found):
  call = TAKES.get(name, lambda mask: kd.masks.save(tmp_path / "mask.npy", mask))
  mask = MASK.astype(np.min_scalar_type(factor)) * factor
  with pytest.raises(ArgumentError, match=f"mask: found .*{found}.*neither 0 nor 1"):
    call(mask)
  assert not list(tmp_path.iterdir())


def test_many_values_are_counted():
  blurred = np.linspace(0, 1, 12)
  with pytest.raises(ArgumentError, match=r"values 0.0909091, .*0.363636 and 6 more,"):
    is_sampled(blurred)
  with pytest.raises(ArgumentError, match=r"the values 0.5, nan, neither 0 nor 1"):
    is_sampled([1.0, 0.5, np.nan, np.nan])


def test_a_mask_that_jit_traces_is_taken_as_it_is():
  np.testing.assert_array_equal(jax.jit(is_sampled)(MASK.astype(float)), MASK)


@pytest.mark.parametrize("kind", [bool, np.uint8, np.float32, float])
@pytest.mark.parametrize("factor", [1, 0.5])
def test_masks_in_files(tmp_path, kind, factor):
  mask = MASK.astype(kind) if factor == 1 else (factor * MASK).astype(np.float32)
  np.save(tmp_path / "mask.npy", mask)
  scipy.io.savemat(tmp_path / "mask.mat", {"mask": mask})
  with h5py.File(tmp_path / "mask.h5", "w") as file:
    file["mask"] = np.fft.fftshift(mask)
  readers = [lambda: files.load(tmp_path / "mask.npy", MASK.shape)]
  for name in ("mask.npy", "mask.mat", "mask.h5"):
    readers.append(lambda path=tmp_path / name: formats.read_mask(path)[0])
  for read in readers:
    if factor == 1:
      np.testing.assert_array_equal(read(), MASK)
    else:
      with pytest.raises(UserError, match=r"mask\.\w+: found the value 0\.5, neither"):
        read()


def test_the_mask_beside_k_space(tmp_path):
  path, lines = tmp_path / "scan.h5", np.fft.fftshift(MASK[:, 0])
  kspace = np.fft.fftshift(KSPACE).T[None]
  for factor in (1.0, 0.5):
    with h5py.File(path, "w") as file:
      file["kspace"], file["mask"] = kspace, (factor * lines).astype(np.float32)
      file["reconstruction_esc"] = np.zeros(kspace.shape, np.float32)
    if factor == 1:
      found = fastmri.read(path, DataConfig("fastmri"))
      np.testing.assert_array_equal(found.mask, MASK.T)
    else:
      with pytest.raises(UserError, match=r"scan.h5: found 'mask' with the value 0\.5"):
        fastmri.read(path, DataConfig("fastmri"))

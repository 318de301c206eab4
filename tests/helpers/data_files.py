"""Settings, arrays and small files that the tests of the data package share."""

import dataclasses

import h5py
import nibabel
import numpy as np
import pytest

from kdmri_jax.config import PhantomConfig, parse
from kdmri_jax.data.sources import find_source
from kdmri_jax.errors import UserError, arguments_of
from kdmri_jax.experiments import base
from kdmri_jax.types import Acquisition

EVEN_ROWS = (np.arange(6) % 2 == 0)[:, None] * np.ones(5)


def all_sampled(shape):
  """For `data.load`: one task that samples everything, and no noise."""
  return Acquisition(np.ones((1, *shape), np.uint8))


def measured_by(mask):
  """For `data.load`: one task with this mask [H, W] and no noise."""
  return lambda shape: Acquisition(np.asarray(mask, np.uint8)[None])


BASE = dataclasses.replace(
  parse(base.get_config()).data,
  validation_fraction=0.25,
  phantom=PhantomConfig("mixed", 4, 3, (32, 28), 0, False),
)


def config(**changes):
  return dataclasses.replace(BASE, **changes)


def images(seed=0, shape=(4, 6, 5)):
  return np.random.default_rng(seed).uniform(0.1, 8, shape)


def read(source, root="", **changes):
  """The volumes of a source as they come, before any check."""
  settings = config(source=source, root=str(root), **changes)
  with arguments_of("data."):
    return list(find_source(source).read_volumes(settings))


def refused_when_truncated(source, root, path, share):
  """A source's error for a folder in which a file is truncated to this share."""
  data = path.read_bytes()
  path.write_bytes(data[: int(share * len(data))])
  with pytest.raises(UserError, match=f"{path.name}: found a file that cannot be read"):
    read(source, root)


def save_nifti(path, array, affine=None):
  path.parent.mkdir(parents=True, exist_ok=True)
  nibabel.save(
    nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), path
  )


def save_h5(path, **arrays):
  path.parent.mkdir(parents=True, exist_ok=True)
  with h5py.File(path, "w") as file:
    for key, array in arrays.items():
      file[key] = array


def stack(seed=0, shape=(6, 5, 3)):
  """Integers (rows, columns, slices)."""
  return np.random.default_rng(seed).integers(0, 900, shape).astype(np.int16)


def kdmri_file(path, seed, shape=(6, 5, 3), tag="4x", **extra):
  """Target, k-space of even rows and its image, by the definition."""
  target = images(seed, shape)
  mask = (np.arange(shape[0]) % 2 == 0).reshape(-1, *[1] * (len(shape) - 1))
  kspace = mask * np.fft.fft2(target, axes=(0, 1), norm="ortho")
  image = np.abs(np.fft.ifft2(kspace, axes=(0, 1), norm="ortho"))
  arrays = {"volfs": target, f"kspace_volus_{tag}": kspace, f"img_volus_{tag}": image}
  save_h5(path, **arrays | extra)
  return arrays


def kdmri_folder(root, count=2):
  """Settings of a small data set in the original's layout, written below `root`."""
  for number in range(count):
    kdmri_file(root / "train" / "acc_4x" / f"{number}.h5", number)
  kdmri_file(root / "validation" / "acc_4x" / "0.h5", 99, shape=(6, 5, 2))
  return config(source="kdmri", root=str(root))

"""Pairs of clean targets and the k-space that was measured with their inputs."""

import dataclasses

import numpy as np
import pytest
from helpers import coil_files
from helpers.coil_files import settings
from helpers.data_files import config, measured_by, save_h5

import kdmri_jax as kd
from kdmri_jax.config import InputsConfig
from kdmri_jax.data import load, pairs, read
from kdmri_jax.data.sources import prepared
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.training.stage_networks import complete

pytestmark = pytest.mark.usefixtures("quick_compilation")

MASK = kd.masks.cartesian((24, 20), 2, 8, axis=1)


def noisy_pairs(tmp_path):
  """Settings of clean targets and noisy k-space, and what the coils saw of it."""
  seen = []
  for number in (1, 2):
    images, maps = coil_files.coil_images(number)
    noise = np.random.default_rng(number).normal(size=images.shape)
    seen.append(images + 0.1 * noise)
    for name, each in (("clean", images), ("noisy", seen[-1])):
      (tmp_path / name).mkdir(exist_ok=True)
      coil_files.write("fastmri", tmp_path / name, number, each, maps)
  inputs = InputsConfig(root=str(tmp_path / "noisy"), kspace=True)
  kept = {"inputs": inputs, "sensitivities": "given", "validation": ("2",)}
  return settings("fastmri", tmp_path / "clean", **kept), seen


def test_clean_targets_of_noisy_kspace_of_coils(tmp_path):
  """In memory, and prepared; the networks get what was measured, not the target's."""
  own, seen = noisy_pairs(tmp_path)
  clean = load(dataclasses.replace(own, inputs=InputsConfig()), measured_by(MASK))
  prepared.write_folder(read(own), tmp_path / "prepared", {})
  there = config(source="prepared", root=str(tmp_path / "prepared"), validation=("2",))
  for data in (load(each, measured_by(MASK)) for each in (own, there)):
    (slices,) = data.train.parts
    np.testing.assert_array_equal(slices.target, clean.train.parts[0].target)
    batch = complete(slices, data.acquisitions[24, 20])
    scale = clean.train.volumes[0].record["scale_factor"]
    kspace = MASK * np.fft.fft2(seen[0], norm="ortho") / scale
    np.testing.assert_allclose(batch.measurement.kspace, kspace, atol=1e-5)
    assert data.record["stored_kspace_used"] and not data.record["simulated_kspace"]
    assert "K-space is that of the inputs" in " ".join(data.record["notes"])


def test_clean_targets_of_noisy_kspace_of_one_coil(tmp_path):
  for number in "12":
    target = np.abs(coil_files.image(int(number))).astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 0.1, target.shape)
    kspace = np.fft.fft2(target + noise, norm="ortho").astype(np.complex64) * MASK
    zero_filled = np.abs(np.fft.ifft2(kspace, norm="ortho"))
    for name, image in (("clean", target), ("noisy", target + noise)):
      path = tmp_path / name / f"{number}.h5"
      measured = {"kspace": kspace, "zero_filled": zero_filled}
      save_h5(path, target=np.abs(image), **(measured if name == "noisy" else {}))
  inputs = InputsConfig(root=str(tmp_path / "noisy"), kspace=True)
  root = str(tmp_path / "clean")
  own = config(source="prepared", root=root, inputs=inputs, validation=("1",))
  data = load(own, measured_by(MASK))
  (slices,), (volume,) = data.train.parts, data.train.volumes
  scale = volume.record["scale_factor"]
  np.testing.assert_allclose(slices.target[..., 0], target / scale, rtol=1e-6)
  np.testing.assert_allclose(slices.kspace, kspace / scale, atol=1e-6)
  np.testing.assert_allclose(slices.zero_filled[..., 0], zero_filled / scale, atol=1e-6)
  assert slices.input is None and not data.record["simulated_kspace"]


def test_pairs_without_the_kspace_that_is_asked_for(tmp_path):
  own, _ = noisy_pairs(tmp_path)
  inputs = dataclasses.replace(own.inputs, kspace=False)
  with pytest.raises(UserError, match=r"1\.h5: found the k-space .*inputs.kspace=True"):
    load(dataclasses.replace(own, inputs=inputs), measured_by(MASK))
  of_coils = next(read(own))
  real = dataclasses.replace(of_coils, target=np.abs(of_coils.target))
  with pytest.raises(UserError, match=r"1\.h5: found real images, and their input"):
    next(pairs.join([real], [of_coils], own))
  for number in "12":
    image = np.abs(coil_files.image(int(number)))
    save_h5(tmp_path / "images" / f"{number}.h5", target=image)
  inputs = InputsConfig(root=str(tmp_path / "images"), kspace=True)
  images = config(source="prepared", root=str(tmp_path / "images"), inputs=inputs)
  with pytest.raises(UserError, match=r"1\.h5: found an input without k-space"):
    load(images, measured_by(MASK))
  with pytest.raises(ArgumentError, match=r"^kspace: found True, although no inputs"):
    InputsConfig(kspace=True)

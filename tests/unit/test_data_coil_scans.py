"""Scans of several coils as they are read to be reconstructed."""

import numpy as np
import pytest
from helpers import coil_files
from helpers.data_files import config

import kdmri_jax as kd
from kdmri_jax.data import spool
from kdmri_jax.data.input_scale import LARGEST
from kdmri_jax.errors import UserError
from kdmri_jax.inference import read_scan
from kdmri_jax.inference.kspace import slices_of_kspace
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.physics import acquisition
from kdmri_jax.training import batches
from kdmri_jax.training.stage_networks import complete

pytestmark = pytest.mark.usefixtures("quick_compilation")

MASK = kd.masks.cartesian((24, 20), 2, 8, axis=1)


@pytest.mark.parametrize("source", coil_files.WRITERS)
@pytest.mark.parametrize("method", ["espirit", "given"])
def test_an_undersampled_scan_gives_a_h_y_in_the_units_of_the_file(
  tmp_path, source, method
):
  images, maps = coil_files.coil_images(1)
  mask = kd.masks.cartesian((24, 20), 2, 8, axis=0) if source == "ismrmrd" else MASK
  path = coil_files.write(source, tmp_path, 1, images, maps, mask)
  if source == "calgary_multi":
    mask = mask * (np.fft.ifftshift(np.arange(20)) < 17)
  options = {"combine": "none", "sensitivities": method, "source": source}
  if source in ("bart", "arrays"):
    options["contrast"] = "kspace"
  scan = read_scan.read(path, config(), **options)
  np.testing.assert_array_equal(scan.mask, mask)
  assert (scan.record["coils"], scan.record["sensitivities"]) == (4, method)
  own = spool.in_memory(scan.sensitivities)
  if method == "given":
    np.testing.assert_allclose(own, maps, atol=1e-5)
  kspace = mask * np.fft.fft2(images, norm="ortho")
  expected = (own.conj() * np.fft.ifft2(kspace, norm="ortho")).sum(1)
  arrays = scan.kspace, scan.mask
  more = "a scan", LARGEST, scan.sensitivities
  slices, scale = slices_of_kspace(*arrays, DCCNN(channels=2), *more)
  batch = complete(
    batches.take(slices, np.arange(2)), acquisition.Acquisition(mask[None])
  )
  found = scale * batch.zero_filled
  np.testing.assert_allclose(found[..., 0] + 1j * found[..., 1], expected, atol=2e-5)
  with pytest.raises(UserError, match="a scan: found k-space of several coils"):
    slices_of_kspace(*arrays, DCCNN(), *more)


def test_the_only_subject_of_a_folder_keeps_its_coils(tmp_path):
  coil_files.subjects("hammernik", tmp_path, [1])
  scan = read_scan.read(tmp_path, config(), source="hammernik", combine="none")
  assert scan.sensitivities.shape == scan.kspace.shape == (2, 4, 24, 20)
  assert scan.target.shape == (2, 24, 20)


def test_scans_of_coils_that_cannot_be_reconstructed(tmp_path):
  images, maps = coil_files.coil_images(1)
  mask = np.arange(20) % 2 * np.ones((24, 1))  # without the centre
  path = coil_files.write("fastmri", tmp_path, 1, images, maps, mask)
  with pytest.raises(UserError, match=r"1\.h5: found undersampled .* of 4 coils.*none"):
    read_scan.read(path, config())
  match = r"1\.h5: found a fully sampled centre of .* in slice 0; .*1_sens\.npy"
  with pytest.raises(UserError, match=match):
    read_scan.read(path, config(), combine="none")
  given = {"combine": "none", "sensitivities": "given"}
  assert read_scan.read(path, config(), **given).kspace.shape == (2, 4, 24, 20)
  np.save(tmp_path / "1_sens.npy", maps[:, :3])
  with pytest.raises(UserError, match=r"1_sens\.npy: found .*expected complex"):
    read_scan.read(path, config(), **given)
  with pytest.raises(UserError, match="sensitivities: found 'mine'; expected one of"):
    read_scan.read(path, config(), sensitivities="mine")

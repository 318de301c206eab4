"""ISMRM raw data of 3-D acquisitions."""

import numpy as np
import pytest
from helpers.centred import complex_images, dft
from helpers.data_files import config, read
from helpers.ismrmrd_files import header, readout, save
from ismrmrd import xsd

from kdmri_jax.data.sources import ismrmrd as ismrmrd_source
from kdmri_jax.errors import UserError

SIZES = (8, 5, 7)  # samples, lines, partitions


def header_3d(samples=SIZES[0], kept=SIZES[0], partitions=SIZES[2], limits=None):
  head = header((samples, SIZES[1]), (kept, SIZES[1]))
  encoding = head.encoding[0]
  for space in (encoding.encodedSpace, encoding.reconSpace):
    space.matrixSize.z, space.fieldOfView_mm.z = partitions, 3.0 * partitions
  if limits:
    names = "minimum", "maximum", "center"
    limit = xsd.limitType(**dict(zip(names, limits, strict=True)))
    encoding.encodingLimits.kspace_encoding_step_2 = limit
  return head


def readouts_3d(kspace, points=None, **fields):
  """Readouts of k-space [C, samples, lines, partitions], all or at some points."""
  every = [(a, b) for b in range(SIZES[2]) for a in range(SIZES[1])]
  return [
    readout(kspace[:, :, a, b], a, kspace_encode_step_2=b, **fields)
    for a, b in every
    if points is None or points[a, b]
  ]


def images_3d(coils=2, samples=SIZES[0]):
  images = complex_images((coils, samples, *SIZES[1:]))
  kspace = images
  for axis in (1, 2, 3):
    kspace = dft(kspace, axis)
  return images, kspace


def test_a_3d_acquisition_is_planes_along_its_readout(tmp_path):
  """Averaged, without readout oversampling, with an offset of the centre."""
  images, kspace = images_3d(samples=2 * SIZES[0])
  head = header_3d(samples=16, limits=(0, 6, 3))
  acquisitions = readouts_3d(0.8 * kspace) + readouts_3d(1.2 * kspace, average=1)
  save(tmp_path / "a.h5", head, acquisitions[::-1])
  (volume,) = read("ismrmrd", tmp_path)
  start = SIZES[0] - SIZES[0] // 2
  expected = np.sqrt((np.abs(images[:, start : start + SIZES[0]]) ** 2).sum(0))
  np.testing.assert_allclose(volume.target, expected, rtol=1e-4, atol=1e-6)
  record = volume.record
  assert record["zooms"] == [2, 3, 2] and record["averages"] == [2, 2]
  assert "phase_encode_axis" not in record
  assert "along the readout of a 3-D acquisition" in record["note"]


def test_kspace_of_its_coils_is_kept(tmp_path):
  images, kspace = images_3d()
  save(tmp_path / "a.h5", header_3d(), readouts_3d(kspace))
  settings = dict(combine="none", sensitivities="low_resolution")
  (volume,) = read("ismrmrd", tmp_path, **settings)
  expected = np.fft.fft2(images.swapaxes(0, 1), norm="ortho")
  np.testing.assert_allclose(np.stack(volume.kspace), expected, rtol=1e-4, atol=1e-5)


def test_its_corners_may_be_missing_and_nothing_else(tmp_path):
  images, kspace = images_3d(coils=1)
  y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SIZES[1:]), indexing="ij")
  inside = y**2 + x**2 < 1.5
  assert not inside.all()
  save(tmp_path / "a.h5", header_3d(), readouts_3d(kspace, inside))
  (volume,) = read("ismrmrd", tmp_path)
  assert volume.target.shape == SIZES
  gaps = inside.copy()
  gaps[:, ::2] = False
  save(tmp_path / "b/b.h5", header_3d(), readouts_3d(kspace, gaps))
  with pytest.raises(UserError, match=r"b.h5: found .*empty columns between"):
    read("ismrmrd", tmp_path / "b")
  scan = ismrmrd_source.read(tmp_path / "b/b.h5", config(source="ismrmrd"))
  np.testing.assert_array_equal(np.fft.fftshift(scan.mask), gaps)
  expected = np.fft.fft2(images[0], norm="ortho") * scan.mask
  np.testing.assert_allclose(scan.kspace, expected, rtol=1e-4, atol=1e-5)

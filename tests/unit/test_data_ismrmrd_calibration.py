"""ISMRM raw data with calibration lines that are no part of the image."""

import re

import numpy as np
import pytest
from helpers import coil_files
from helpers.centred import dft
from helpers.coil_files import settings
from helpers.data_files import config
from helpers.ismrmrd_files import header, readout, save
from helpers.raw_files import to_kspace

import kdmri_jax as kd
from kdmri_jax.data import dataset, spool
from kdmri_jax.data.sources import ismrmrd
from kdmri_jax.errors import UserError
from kdmri_jax.inference import read_scan

SHAPE = (2, 24, 20)  # slices, lines, samples
SIZE = (20, 24)
IMAGE, CENTRE = range(0, 24, 3), range(6, 18)
ALONE = ("PARALLEL_CALIBRATION",)
BOTH = ("PARALLEL_CALIBRATION_AND_IMAGING",)


def acquired(kspace, lines, **fields):
  """Readouts of some lines of k-space [slices, coils, lines, samples]."""
  return [
    readout(kspace[k, :, line], line, k, **fields)
    for line in lines
    for k in range(len(kspace))
  ]


def of_another_contrast(seed=5):
  """K-space of the same coils, of another image."""
  images, _ = coil_files.coil_images(seed, shape=SHAPE)
  return (0.3 * to_kspace(images)).astype(np.complex64)


def read(path, **options):
  return read_scan.read(path, config(), **({"combine": "none"} | options))


def centre_of(kspace, lines, method="espirit"):
  """Sensitivities from some lines of centred k-space [S, C, H, W]."""
  kept = np.zeros_like(kspace)
  kept[:, :, lines] = kspace[:, :, lines]
  uncentred = np.fft.ifftshift(kept, (-2, -1))
  maps = [kd.coils.estimate(own, method) for own in uncentred]
  return np.fft.fftshift(maps, (-2, -1))


@pytest.mark.parametrize("mode", ["separate", "external", None])
@pytest.mark.parametrize("method", ["espirit", "low_resolution"])
def test_sensitivities_are_those_of_the_calibration_lines(tmp_path, mode, method):
  """In any order; without readouts that correct the phase, and lines of the image."""
  images, _ = coil_files.coil_images(1)
  kspace, other = to_kspace(images), of_another_contrast()
  readouts = acquired(other, CENTRE, flags=ALONE)
  readouts += acquired(kspace, IMAGE, flags=BOTH if mode else ())
  readouts += acquired(1e3 * other, [11], flags=(*ALONE, "PHASECORR_DATA"))
  save(tmp_path / "a.h5", header(SIZE, SIZE, calibration=mode), readouts[::-1])
  scan = read(tmp_path / "a.h5", sensitivities=method)
  own = spool.in_memory(scan.sensitivities)
  np.testing.assert_allclose(own, centre_of(other, CENTRE, method), atol=1e-4)
  mask = np.zeros(SHAPE[1:])
  mask[IMAGE] = 1
  np.testing.assert_array_equal(np.fft.fftshift(scan.mask), mask)
  expected = np.fft.fft2(images, norm="ortho") * scan.mask
  np.testing.assert_allclose(spool.in_memory(scan.kspace), expected, atol=1e-4)
  assert scan.record["calibration"] == (
    "Separate calibration lines are used: their fully sampled centre has 12x20 points, "
    "that of the image 1x20."
  )


def test_a_scan_reconstructs_as_well_as_with_embedded_lines(tmp_path):
  """Of the same lines of the image, and far better than with few lines of its own."""
  images, _ = coil_files.coil_images(1)
  kspace, truth = to_kspace(images), np.sqrt((np.abs(images) ** 2).sum(1))
  image, mask = range(0, 24, 2), np.zeros(SHAPE[1:])
  mask[image] = 1
  mask = np.fft.ifftshift(mask)
  ways = {
    "separate": acquired(of_another_contrast(), CENTRE, flags=ALONE),
    "embedded": acquired(kspace, set(CENTRE) - set(image), flags=ALONE),
    "": acquired(kspace, {10, 11, 12, 13, 14} - set(image)),
  }
  errors = {}
  for mode, more in ways.items():
    path = tmp_path / f"{mode or 'own'}.h5"
    readouts = acquired(kspace, image) + more
    save(path, header(SIZE, SIZE, calibration=mode or None), readouts)
    scan = read(path)
    assert ("calibration" in scan.record) == (mode == "separate")
    own = map(spool.in_memory, (scan.kspace, scan.sensitivities))
    found = np.abs(kd.coils.cg_sense(*own, mask))
    errors[mode] = np.linalg.norm(found - truth) / np.linalg.norm(truth)
  assert errors["separate"] < min(0.04, 1.1 * errors["embedded"])
  assert errors["separate"] < 0.25 * errors[""]


@pytest.mark.parametrize("mode", ["embedded", "separate"])
def test_embedded_lines_may_fill_every_gap(tmp_path, mode):
  """The scan is whole then, for reconstruction and as a target; not by other lines."""
  kspace = to_kspace(coil_files.coil_images(1)[0])
  readouts = acquired(kspace, IMAGE)
  readouts += acquired(kspace, set(range(SHAPE[1])) - set(IMAGE), flags=ALONE)
  path = tmp_path / "a.h5"
  save(path, header(SIZE, SIZE, calibration=mode), readouts)
  combined = config(root=str(tmp_path), combine="rss")
  if mode == "separate":
    with pytest.raises(UserError, match="phase-encode lines in slice 0"):
      list(ismrmrd.volumes(combined))
    return
  (target,) = ismrmrd.volumes(combined)
  whole = ismrmrd.read(path, combined)
  np.testing.assert_array_equal(whole.target, target.target)
  expected = np.sqrt((np.abs(coil_files.coil_images(1)[0]) ** 2).sum(1))
  np.testing.assert_allclose(target.target, expected, atol=1e-4)


def test_lines_that_are_also_part_of_the_image_calibrate_with_the_others(tmp_path):
  """In a file that does not tell that its lines are embedded."""
  images, _ = coil_files.coil_images(1)
  kspace = to_kspace(images).astype(np.complex64)
  both = sorted(set(CENTRE) & set(IMAGE))
  readouts = acquired(kspace, set(IMAGE) - set(both))
  readouts += acquired(kspace, both, flags=BOTH)
  readouts += acquired(kspace, set(CENTRE) - set(both), flags=ALONE)
  save(tmp_path / "a.h5", header(SIZE, SIZE), readouts)
  scan = read(tmp_path / "a.h5")
  own = spool.in_memory(scan.sensitivities)
  np.testing.assert_allclose(own, centre_of(kspace, CENTRE), atol=1e-4)
  assert scan.mask.any(1).sum() == len(IMAGE)


def test_calibration_of_the_first_echo_serves_the_others(tmp_path):
  images, _ = coil_files.coil_images(1)
  kspace, other = to_kspace(images), of_another_contrast()
  third = of_another_contrast(6)
  readouts = acquired(other, CENTRE, flags=ALONE, contrast=1)
  readouts += acquired(third, CENTRE, flags=ALONE, contrast=2)
  readouts += [each for k in (1, 2, 3) for each in acquired(kspace, IMAGE, contrast=k)]
  save(tmp_path / "a.h5", header(SIZE, SIZE), readouts)
  for echo, lines in (("1", other), ("2", third), ("3", other)):
    scan = read(tmp_path / "a.h5", contrast=echo)
    own = spool.in_memory(scan.sensitivities)
    np.testing.assert_allclose(own, centre_of(lines, CENTRE), atol=1e-4)


def test_oversampling_and_a_centre_beside_the_middle(tmp_path):
  """The first calibration line, 4, lies as far from the centre, 11, as the last."""
  images, _ = coil_files.coil_images(1)
  others, _ = coil_files.coil_images(5)
  kspace, other = (
    np.roll(to_kspace(each), (-1, 1), (2, 3)) for each in (images, others)
  )
  readouts = acquired(kspace, range(2, 24, 3), center_sample=11)
  readouts += acquired(other, range(4, 18), flags=ALONE, center_sample=11)
  head = header((20, 24), (10, 24), limits=(0, 23, 11), calibration="separate")
  save(tmp_path / "a.h5", head, readouts)
  scan = read(tmp_path / "a.h5")
  own = spool.in_memory(scan.sensitivities)
  expected = centre_of(to_kspace(others[..., 5:15]), range(5, 19))
  np.testing.assert_allclose(own, expected, atol=1e-3)
  assert "14x10 points, that of the image 1x10." in scan.record["calibration"]


def test_the_noise_of_the_scan_prewhitens_its_calibration(tmp_path):
  images, _ = coil_files.coil_images(1)
  other = of_another_contrast()
  rng = np.random.default_rng(0)
  noise = rng.normal(size=(4, 400, 2)) @ [1, 1j]
  noise[1] += 2 * noise[0]
  readouts = acquired(to_kspace(images), IMAGE) + acquired(other, CENTRE, flags=ALONE)
  readouts.append(readout(noise, 0, flags=("NOISE_MEASUREMENT",)))
  save(tmp_path / "a.h5", header(SIZE, SIZE), readouts)
  scan = read(tmp_path / "a.h5")
  covariance = kd.coils.noise_covariance(noise.astype(np.complex64))
  white = np.stack([kd.coils.prewhiten(own, covariance) for own in other])
  own = spool.in_memory(scan.sensitivities)
  np.testing.assert_allclose(own, centre_of(white, CENTRE), atol=1e-3)


LINES = [*IMAGE, 10, 11, 13, 14]  # with a centre of 7 lines


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"encoding_space_ref": 1}, "they belong to another encoding space"),
    ({"slice": 0}, "they measure other slices than the image"),
    ({"position": (0, 0, 7)}, "their position is not that of the image"),
    ({"phase_dir": (0, 1, 0)}, "their phase_dir is not that of the image"),
    ({"center_sample": 9}, "their center_sample is 9, that of the image 10"),
    (
      {"kspace_encode_step_2": 1},
      "they have a second phase encoding, which the image lacks",
    ),
    ({"flags": (*ALONE, "REVERSE")}, "they have readouts in reverse direction .*"),
    (
      {"lines": range(12)},
      "their phase-encode lines 0 to 11 do not lie about the centre, 12, of the "
      "image's 0 to 23",
    ),
    ({"lines": range(1, 25)}, "their phase-encode lines 1 to 24 do not lie .*"),
    ({"samples": 12}, "their number_of_samples is 12, that of the image 20"),
    ({"lines": range(9, 16)}, ".* centre has 7x20 points, that of the image 7x20"),
    ({"lines": range(6, 18, 2)}, ".* centre has 1x20 points, that of the image 7x20"),
  ],
)
def test_lines_that_do_not_fit_are_told(tmp_path, fields, message):
  images, _ = coil_files.coil_images(1)
  kspace = to_kspace(images).astype(np.complex64)
  fields = {"lines": CENTRE, "samples": 20, "flags": ALONE} | fields
  lines, samples = fields.pop("lines"), fields.pop("samples")
  many = np.pad(of_another_contrast(), [(0, 0), (0, 0), (0, 1), (0, 0)])
  readouts = acquired(kspace, LINES)
  readouts += acquired(many[..., :samples], lines, **fields)
  save(tmp_path / "a.h5", header(SIZE, SIZE), readouts)
  scan = read(tmp_path / "a.h5")
  own = spool.in_memory(scan.sensitivities)
  np.testing.assert_allclose(own, centre_of(kspace, range(9, 16)), atol=1e-4)
  text = f"Separate calibration lines are not used: {message}\\."
  assert re.fullmatch(text, scan.record["calibration"])
  assert len(readouts) - 2 * len(LINES) == sum(
    scan.record["acquisitions_left_out"].values()
  )


def test_a_scan_that_cannot_be_calibrated_tells_why(tmp_path):
  images, maps = coil_files.coil_images(1)
  readouts = acquired(to_kspace(images), IMAGE)
  readouts += acquired(of_another_contrast(), range(12), flags=ALONE)
  path = tmp_path / "a.h5"
  save(path, header(SIZE, SIZE), readouts)
  match = r"a\.h5: found a fully sampled centre of 1x20 .*not used: their .* 0 to 11 do"
  with pytest.raises(UserError, match=match):
    read(path)
  np.save(tmp_path / "a_sens.npy", maps)
  for options in ({"sensitivities": "given"}, {"combine": "sense"}):
    assert "calibration" not in read(path, **options).record
  broken = acquired(np.full_like(to_kspace(images), np.nan), CENTRE, flags=ALONE)
  save(tmp_path / "b.h5", header(SIZE, SIZE), readouts[: 2 * len(IMAGE)] + broken)
  match = r"b\.h5: found NaN or infinite values in the calibration lines of slice 0"
  with pytest.raises(UserError, match=match):
    read(tmp_path / "b.h5")


def test_a_fully_sampled_scan_calibrates_itself(tmp_path):
  images, _ = coil_files.coil_images(1)
  kspace = to_kspace(images).astype(np.complex64)
  readouts = acquired(kspace, range(24))
  readouts += acquired(of_another_contrast(), CENTRE, flags=ALONE)
  save(tmp_path / "a.h5", header(SIZE, SIZE), readouts)
  (volume,) = dataset.read(settings("ismrmrd", tmp_path, scaling="none"))
  for found in (volume, read(tmp_path / "a.h5")):
    own = spool.in_memory(found.sensitivities)
    np.testing.assert_allclose(own, centre_of(kspace, range(24)), atol=1e-4)
    assert "calibration" not in found.record


def test_an_empty_slice_keeps_the_order_of_the_others(tmp_path):
  images, _ = coil_files.coil_images(1)
  kspace, other = to_kspace(images), of_another_contrast()
  kspace[0] = 0
  readouts = acquired(other, CENTRE, flags=ALONE) + acquired(kspace, IMAGE)
  save(tmp_path / "a.h5", header(SIZE, SIZE), readouts)
  own = spool.in_memory(read(tmp_path / "a.h5").sensitivities)
  assert not own[0].any()
  np.testing.assert_allclose(own[1], centre_of(other, CENTRE)[1], atol=1e-4)


@pytest.mark.parametrize("first", [6, 0])
def test_a_3d_acquisition(tmp_path, first):
  """A block of both phase encodings calibrates each pixel along the readout."""
  images, _ = coil_files.coil_images(1, shape=(8, 24, 20))
  other, _ = coil_files.coil_images(5, shape=(8, 24, 20))
  kspace, lines = (
    dft(np.moveaxis(own, 0, 1), 1, 2, 3).astype(np.complex64) for own in (images, other)
  )
  head = header((8, 24), (8, 24), calibration="separate")
  for space in (head.encoding[0].encodedSpace, head.encoding[0].reconSpace):
    space.matrixSize.z, space.fieldOfView_mm.z = 20, 60.0
  mask = np.zeros((24, 20))
  mask[::2, ::2] = 1
  block = np.zeros((24, 20), bool)
  block[first : first + 12, 4:16] = True

  def at(values, points, **fields):
    return [
      readout(values[:, :, a, b], a, kspace_encode_step_2=b, **fields)
      for a, b in np.argwhere(points)
    ]

  path = tmp_path / "a.h5"
  save(path, head, at(kspace, mask) + at(lines, block, flags=ALONE))
  if first == 0:
    with pytest.raises(UserError, match=r"not used: their phase-encode lines 0 to 11"):
      read(path)
    return
  scan = read(path)
  np.testing.assert_array_equal(np.fft.fftshift(scan.mask), mask)
  kept = np.fft.ifftshift(to_kspace(other) * block, (-2, -1))
  expected = [np.fft.fftshift(kd.coils.estimate(own), (1, 2)) for own in kept]
  own = spool.in_memory(scan.sensitivities)
  np.testing.assert_allclose(own, expected, atol=1e-3)
  assert "12x12 points, that of the image 1x1." in scan.record["calibration"]

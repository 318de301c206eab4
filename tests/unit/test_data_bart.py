"""BART's pairs of files, and k-space and images in them."""

import json
import struct

import nibabel
import numpy as np
import pytest
from helpers.centred import complex_images, dft
from helpers.data_files import all_sampled, config, read

from kdmri_jax.config import DataConfig
from kdmri_jax.data import load
from kdmri_jax.data.sources import bart
from kdmri_jax.errors import UserError
from kdmri_jax.inference.write_scan import write
from kdmri_jax.io.cfl import read_cfl, write_cfl

HEADER = (
  "# Dimensions\n{}\n# Command\nfft 7 a b\n# Files\n >b <a\n# Creator\nBART v0.9\n"
)


def save(path, array, dimensions=None, header=HEADER):
  """Writes the pair number by number, the first index fastest."""
  path.parent.mkdir(parents=True, exist_ok=True)
  sizes = dimensions or array.shape
  path.with_name(f"{path.name}.hdr").write_text(
    header.format(" ".join(map(str, sizes)) + " ")
  )
  numbers = array.T.ravel()
  data = b"".join(struct.pack("<ff", z.real, z.imag) for z in numbers)
  path.with_name(f"{path.name}.cfl").write_bytes(data)


def placed(planes, coil_axis=None):
  """Slices [S, R, P] or coils [S, C, R, P] in BART's dimensions, slices in 13."""
  if planes.ndim == 3:
    planes = planes[:, None]
  array = planes.transpose(2, 3, 1, 0)  # readout, phase, coils, slices
  return array.reshape(*array.shape[:2], 1, array.shape[2], *[1] * 9, array.shape[3])


# The pair of files


def test_a_pair_is_written_byte_by_byte(tmp_path):
  array = np.array([[1 + 2j, 3 - 4j, 0.5], [-1, 2j, 7]])
  write_cfl(tmp_path / "a.b", array)
  assert (tmp_path / "a.b.hdr").read_text() == "# Dimensions\n2 3 " + "1 " * 14 + "\n"
  expected = struct.pack("<12f", 1, 2, -1, 0, 3, -4, 0, 2, 0.5, 0, 7, 0)
  assert (tmp_path / "a.b.cfl").read_bytes() == expected
  assert sorted(path.name for path in tmp_path.iterdir()) == ["a.b.cfl", "a.b.hdr"]


@pytest.mark.parametrize("name", ["a", "a.hdr", "a.cfl"])
def test_round_trip(tmp_path, name):
  array = complex_images((3, 1, 4, 2)).astype(np.complex64)
  write_cfl(tmp_path / name, array)
  got = read_cfl(tmp_path / name)
  assert isinstance(got, np.memmap) and got.shape == (3, 1, 4, 2) + (1,) * 12
  np.testing.assert_array_equal(got.reshape(array.shape), array)


@pytest.mark.parametrize(
  "sizes", ["3 2", "3 2 1 1", "3 2" + " 1" * 14, "3 2" + " 1" * 20]
)
def test_headers_of_all_lengths(tmp_path, sizes):
  array = complex_images((3, 2)).astype(np.complex64)
  save(tmp_path / "a", array, dimensions=[sizes])
  np.testing.assert_array_equal(read_cfl(tmp_path / "a")[..., *[0] * 14], array)


@pytest.mark.parametrize(
  ("header", "message"),
  [
    ("", r"no section '# Dimensions'"),
    ("3 2\n", r"no section"),
    ("# Dimensions\n\n# Creator\nBART\n", r"no section"),
    ("# Dimensions\n3 two\n", r"the dimensions 3 two"),
    ("# Dimensions\n3 0\n", r"the dimensions 3 0"),
    ("# Dimensions\n3 -2\n", r"the dimensions 3 -2"),
    ("# Dimensions\n" + "1 " * 16 + "6\n", r"17 dimensions"),
    ("# Dimensions\n6\n# SizesDimensions\n1 1\n# MultiDimensions\n4\n2\n", r"several"),
    ("\xff\xfe\n", r"cannot be read"),
  ],
)
def test_other_headers_are_refused(tmp_path, header, message):
  save(tmp_path / "a", complex_images((3, 2)))
  (tmp_path / "a.hdr").write_bytes(header.encode("latin-1"))
  with pytest.raises(UserError, match=rf"a\.hdr: found .*{message}"):
    read_cfl(tmp_path / "a")


@pytest.mark.parametrize("order", "<>")
def test_a_pair_of_nifti_is_named(tmp_path, order):
  header = nibabel.Nifti1Pair(np.ones((3, 2, 1), np.float32), np.eye(4)).header
  (tmp_path / "a.hdr").write_bytes(header.as_byteswapped(order).binaryblock)
  (tmp_path / "a.img").write_bytes(bytes(24))
  with pytest.raises(UserError, match=r"a.hdr: found the header of a pair of NIfTI or"):
    bart.read(tmp_path / "a.hdr", DataConfig(contrast="image"))


def test_a_header_with_a_byte_order_mark(tmp_path):
  array = complex_images((3, 2))
  save(tmp_path / "a", array)
  header = (tmp_path / "a.hdr").read_bytes().replace(b"\n", b"\r\n")
  (tmp_path / "a.hdr").write_bytes(b"\xef\xbb\xbf" + header)
  found = read_cfl(tmp_path / "a").squeeze()
  np.testing.assert_array_equal(found, array.astype(np.complex64))


def test_the_size_is_checked_before_memory_is_spent(tmp_path):
  save(tmp_path / "a", complex_images((3, 2)), dimensions=(10**6, 10**6, 10**6))
  with pytest.raises(UserError, match=r"a.cfl: found 48 bytes; expected 8000000000000"):
    read_cfl(tmp_path / "a")
  save(tmp_path / "a", complex_images((3, 2)), dimensions=(3, 1, 1))
  with pytest.raises(UserError, match=r"found 48 bytes; expected 24 .*\[3\] in a.hdr"):
    read_cfl(tmp_path / "a")
  (tmp_path / "a.cfl").unlink()
  with pytest.raises(UserError, match=r"a.cfl: found a file that cannot be read"):
    read_cfl(tmp_path / "a")


@pytest.mark.parametrize(
  "array", [np.zeros((2, 0)), np.zeros((1,) * 17), np.array(["a"]), np.array([None])]
)
def test_what_cannot_be_written_destroys_nothing(tmp_path, array):
  write_cfl(tmp_path / "a", np.ones(3))
  with pytest.raises(UserError, match=r"a.cfl: found an array of"):
    write_cfl(tmp_path / "a", array)
  np.testing.assert_array_equal(read_cfl(tmp_path / "a").ravel(), np.ones(3))


def test_a_failed_write_keeps_the_old_pair(tmp_path):
  write_cfl(tmp_path / "a", np.ones(3))
  (tmp_path / "a.cfl").unlink()
  (tmp_path / "a.cfl").mkdir()
  with pytest.raises(UserError, match=r"a failed write"):
    write_cfl(tmp_path / "a", np.zeros((2, 2)))
  assert (tmp_path / "a.hdr").read_text().startswith("# Dimensions\n3 1 ")
  assert len(list(tmp_path.iterdir())) == 2


# Volumes


@pytest.mark.parametrize("shape", [(3, 6, 5), (2, 7, 8), (1, 5, 7)])
def test_kspace_of_one_coil_gives_the_complex_image(tmp_path, shape):
  images = complex_images(shape)
  save(tmp_path / "site 1" / "p.1", placed(dft(images, 1, 2)))
  (volume,) = read("bart", tmp_path)
  assert (volume.name, volume.subject) == ("site_1_p.1", "site 1_p.1")
  assert volume.target.dtype == np.complex64
  np.testing.assert_allclose(volume.target, images, atol=1e-5)
  record = json.loads(json.dumps(volume.record))
  assert record["simulated_kspace"] is False and record["unit"] == "file"
  assert record["phase_encode_axis"] == 1 and record["slices_along_dimension"] == 13
  assert "data.contrast is not set" in record["note"]
  assert (record["coils"], record["combine"]) == (1, "")
  (again,) = read("bart", tmp_path, contrast="kspace", subject_pattern=r"p\.\d")
  np.testing.assert_array_equal(again.target, volume.target)
  assert (again.record["note"], again.record["unit"]) == ("", "subject")


def test_coils_become_their_root_sum_of_squares(tmp_path):
  coils = complex_images((2, 3, 4, 5))
  save(tmp_path / "a", placed(dft(coils, 2, 3)))
  (volume,) = read("bart", tmp_path)
  expected = np.sqrt((np.abs(coils) ** 2).sum(1))
  assert volume.target.dtype == np.float32
  np.testing.assert_allclose(volume.target, expected, rtol=1e-5)
  assert volume.record["simulated_kspace"] and volume.record["coils"] == 3
  assert "root sum of squares" in volume.record["note"]
  save(tmp_path / "a", placed(coils))
  (volume,) = read("bart", tmp_path, contrast="image")
  np.testing.assert_allclose(volume.target, expected, rtol=1e-5)


@pytest.mark.parametrize("contrast", ["kspace", "image"])
def test_coils_combined_by_their_sensitivities(tmp_path, contrast):
  image, maps = complex_images((2, 4, 5), 1), complex_images((2, 3, 4, 5), 2)
  maps[0, :, 1, 2] = 0
  coils = maps * image[:, None]
  stored = dft(coils, 2, 3) if contrast == "kspace" else coils
  save(tmp_path / "a", placed(stored))
  with pytest.raises(
    UserError, match=r"a_sens.cfl: found no such file.*ecalib -m 1 a a"
  ):
    read("bart", tmp_path, contrast=contrast, combine="sense")
  save(tmp_path / "a_sens", placed(maps))
  (volume,) = read("bart", tmp_path, contrast=contrast, combine="sense")
  image[0, 1, 2] = 0
  np.testing.assert_allclose(volume.target, image, atol=1e-5)
  assert volume.record["simulated_kspace"] is True
  save(tmp_path / "a_sens", placed(maps[:, :2]))
  with pytest.raises(
    UserError, match=r"a_sens.cfl: found dimensions .*\[4, 5, 1, 2, 2"
  ):
    read("bart", tmp_path, contrast=contrast, combine="sense")
  save(tmp_path / "a_sens", maps.reshape(4, 5, 1, 3, 2))
  with pytest.raises(
    UserError, match=r"a_sens.cfl: found 2 entries in dimension 4 \(m"
  ):
    read("bart", tmp_path, contrast=contrast, combine="sense")


def test_3d_kspace_is_divided_along_the_readout(tmp_path):
  volume = complex_images((5, 4, 3, 2))  # readout, phase 1, phase 2, coils
  save(tmp_path / "a", dft(volume, 0, 1, 2))
  (got,) = read("bart", tmp_path)
  expected = np.sqrt((np.abs(volume) ** 2).sum(3))
  np.testing.assert_allclose(got.target, expected, rtol=1e-5)
  assert got.record["slices_along_dimension"] == 0
  assert "phase_encode_axis" not in got.record
  save(tmp_path / "a_sens", volume)
  (got,) = read("bart", tmp_path, combine="sense")
  np.testing.assert_allclose(got.target, np.ones((5, 4, 3)), atol=1e-5)


@pytest.mark.parametrize("contrast", ["kspace", "image"])
@pytest.mark.parametrize("sampled", [1, 2])
def test_one_entry_of_readout_leaves_a_plane_of_both_phases(
  tmp_path, contrast, sampled
):
  coils = complex_images((1, 3, 16, 12)) * np.hanning(14)[1:-1]
  stored = coils
  if contrast == "kspace":
    coils[..., 4:12, 3:9] += 5  # an object: its k-space has most energy in the middle
    stored = dft(coils, 2, 3)
    stored[..., 1::sampled, :] *= sampled == 1
  arguments = DataConfig(source="bart", contrast=contrast, combine="sense")
  found = {}
  for name, array in (
    ("plane", placed(stored)),
    ("readout", stored.transpose(0, 2, 3, 1)),
  ):
    save(tmp_path / name, array)
    save(tmp_path / f"{name}_sens", np.ones_like(array))
    found[name] = bart.read(tmp_path / f"{name}.cfl", arguments)
  for name in ("target", "kspace", "mask"):
    one, other = (getattr(scan, name, None) for scan in found.values())
    np.testing.assert_array_equal(other, one)
  assert hasattr(found["readout"], "mask") == (contrast == "kspace" and sampled == 2)
  record = found["readout"].record
  write(tmp_path / "out.cfl", {"reconstruction": np.ones((1, 16, 12))}, record, "cfl")
  assert read_cfl(tmp_path / "out.cfl").shape == (1, 16, 12, *[1] * 13)


@pytest.mark.parametrize("angle", [0.0, 1.94])
def test_lines_through_the_centre_are_not_a_plane(tmp_path, angle):
  """Radial lines of a disc and a square, [1, samples, lines, coils]."""
  radius = np.linspace(-0.5, 0.5, 64, endpoint=False)
  turns = (angle or np.pi / 30) * np.arange(30)
  x, y = np.outer(radius, np.cos(turns)), np.outer(radius, np.sin(turns))
  kspace = np.sinc(20 * x) * np.sinc(20 * y) + 0.5 * np.sinc(8 * x) * np.sinc(5 * y)
  save(tmp_path / "a", kspace[None, :, :, None].astype(complex))
  with pytest.raises(UserError, match=r"lines along dimension 1 .*gridded"):
    read("bart", tmp_path)


def test_3d_images_are_divided_along_dimension_2(tmp_path):
  volume = complex_images((5, 4, 3))
  save(tmp_path / "a", volume)
  (got,) = read("bart", tmp_path, contrast="image")
  np.testing.assert_allclose(got.target, volume.transpose(2, 0, 1), rtol=1e-6)
  assert got.record["simulated_kspace"] and got.record["slices_along_dimension"] == 2
  save(tmp_path / "a", np.abs(volume))
  (got,) = read("bart", tmp_path, contrast="image")
  assert got.target.dtype == np.float32
  save(tmp_path / "a", -np.abs(volume))
  (got,) = read("bart", tmp_path, contrast="image")
  assert got.target.dtype == np.complex64


@pytest.mark.parametrize(
  ("shape", "message"),
  [
    ((4, 5, 1, 1, 2), r"2 entries in dimension 4 \(maps\)"),
    ((4, 5, 1, 1, 1, 3), r"3 entries in dimension 5 \(echo times\)"),
    ((4, 5, *[1] * 8, 3), r"3 entries in dimension 10 \(time\).*bart slice 10 0"),
    ((4, 5, *[1] * 12, 2), r"2 entries in dimension 14 \(averages\)"),
    ((4, 5, 2, *[1] * 10, 3), r"2 entries in dimension 2 and 3 in dimension 13"),
    ((6, 1, 4), r"the dimensions \[6, 1, 4\].*bart transpose"),
    ((20,), r"the dimensions \[20, 1, 1\]"),
  ],
)
def test_other_dimensions_are_refused(tmp_path, shape, message):
  save(tmp_path / "a", complex_images(shape))
  with pytest.raises(UserError, match=rf"a.cfl: found {message}"):
    read("bart", tmp_path)


def test_undersampled_kspace_is_refused(tmp_path):
  kspace = dft(complex_images((2, 6, 8)), 1, 2)
  kspace[1, :, 1::2] = 0
  save(tmp_path / "a", placed(kspace))
  with pytest.raises(UserError, match=r"a.cfl: found undersampled k-space \(slice 1"):
    read("bart", tmp_path)
  kspace = dft(complex_images((5, 6, 4)), 0, 1, 2)
  kspace[:, 2] = 0
  save(tmp_path / "a", kspace)
  with pytest.raises(UserError, match=r"undersampled k-space \(slice 0: 1 empty rows"):
    read("bart", tmp_path)


def test_settings_and_folders(tmp_path):
  with pytest.raises(UserError, match=r"found an empty folder"):
    read("bart", tmp_path)
  (tmp_path / "a.hdr").write_text("# Dimensions\n4 5\n")
  with pytest.raises(UserError, match=r"no file \*.cfl in it"):
    read("bart", tmp_path)
  with pytest.raises(UserError, match=r"contrast: found 'T1', of .* kspace, image;"):
    read("bart", tmp_path, contrast="T1")
  for name in "abc":
    save(tmp_path / name, placed(complex_images((1, 4, 5))))
  assert [v.name for v in read("bart", tmp_path, include=("[ac]",))] == ["a", "c"]
  (tmp_path / "b.hdr").unlink()
  with pytest.raises(UserError, match=r"b.hdr: found a file that cannot be read"):
    read("bart", tmp_path)


def test_loaded_with_two_channels(tmp_path):
  images = complex_images((3, 2, 4, 5))
  for name, own in zip("abc", images, strict=True):
    save(tmp_path / name, placed(dft(own, 1, 2)))
  data = load(
    config(source="bart", root=str(tmp_path), validation=("b",), scaling="none"),
    all_sampled,
  )
  assert data.record["channels"] == 2
  assert not any(volume["simulated_kspace"] for volume in data.record["volumes"])
  got = data.validation.parts[0].target
  np.testing.assert_allclose(got[..., 0] + 1j * got[..., 1], images[1], atol=1e-5)

"""The mask tool: what it measures, draws and says."""

import functools

import numpy as np
import pytest
from helpers import commands
from helpers.data_files import images, save_nifti, stack
from matplotlib import image as image_lib
from skimage.metrics import structural_similarity

from kdmri_jax.data.sources import arrays
from kdmri_jax.errors import UserError
from kdmri_jax.physics.masks import files, recipes
from kdmri_jax.report import figures
from kdmri_jax.report.figures.grid import Grid
from kdmri_jax.report.mask_tables import measured

run = functools.partial(commands.run, "masks")
refused = functools.partial(commands.refused, "masks")


def dft(size):
  k = np.arange(size)
  return np.exp(-2j * np.pi * np.outer(k, k) / size) / np.sqrt(size)


# Energy and image quality of a mask


@pytest.mark.parametrize("phase", [0, 1j])
def test_energy_and_quality_by_the_definition(phase):
  target = images(shape=(2, 9, 12)) * np.exp(phase * images(1, (2, 9, 12)))
  mask = recipes.gaussian2d((9, 12), 2, 3, 0)
  kspace = dft(9) @ target @ dft(12).T
  energy = np.sum(np.abs(kspace * mask) ** 2) / np.sum(np.abs(kspace) ** 2)
  zero_filled = np.abs(dft(9).conj() @ (kspace * mask) @ dft(12).conj().T)
  truth = np.abs(target)
  psnr = 10 * np.log10(truth.max() ** 2 / np.mean((zero_filled - truth) ** 2))
  ssim = [
    structural_similarity(t, z, win_size=7, data_range=truth.max())
    for t, z in zip(truth, zero_filled, strict=True)
  ]
  got = measured(target, mask)
  assert got == pytest.approx({"energy": energy, "psnr": psnr, "ssim": np.mean(ssim)})
  assert measured(target, np.ones((9, 12)))["energy"] == pytest.approx(1)


def test_images_of_another_shape_or_type_are_refused():
  with pytest.raises(UserError, match=r"shape \(2, 9, 12\); expected .* 12 rows, 9 c"):
    measured(np.ones((2, 9, 12)), np.ones((12, 9)))
  with pytest.raises(UserError, match=r"scan: found images of type <U1"):
    measured(np.full((2, 9, 12), "a"), np.ones((9, 12)), where="scan")


def test_images_of_numpy_archives(tmp_path):
  path = tmp_path / "a.npz"
  np.savez(path, image=images())
  np.testing.assert_array_equal(arrays.read_images(path).target, images())
  path.write_bytes(path.read_bytes()[:-30])
  with pytest.raises(UserError, match=r"a.npz: found a file that cannot be read"):
    arrays.read_images(path)
  with pytest.raises(UserError, match=r"found no such file; expected an image"):
    arrays.read_images(tmp_path / "gone.npz")


# The figure


def grid_of(panel, columns, bands, spread):
  """The panels of a figure, for a look at its pixels."""
  return Grid(
    panel,
    columns,
    (None, 0.3, spread) * bands,
    (0.14, 0.08, 0.27) + (0.42, 0.08, 0.27) * (bands - 1),
    left=0.3,
    right=0.06,
    bottom=0.22,
    gap=0.22,
    panel=panel[1],
  )


def test_every_sample_is_drawn_with_zero_frequency_in_the_middle(tmp_path):
  shown = {
    "lines": recipes.cartesian((40, 32), 3, 4, 0, 0),
    "points": recipes.gaussian2d((25, 31), 3, 5, 0),
  }
  path = figures.save(figures.sampling(shown), tmp_path / "m.png")
  drawn = image_lib.imread(path)[..., 0]
  sizes = {"lines": (440, 352), "points": (350, 434)}  # zoomed by 11 and 14
  grid = grid_of((440, 434), 2, 1, 350 / 434)
  assert drawn.shape == (grid.total_height, grid.total_width)
  for column, (name, mask) in enumerate(shown.items()):
    left, top = grid.corner(0, column)
    height, width = sizes[name]
    left += (434 - width) // 2
    zoom = height // mask.shape[0]
    half = zoom // 2
    centres = drawn[top + half : top + height : zoom, left + half : left + width : zoom]
    np.testing.assert_array_equal(centres, np.fft.fftshift(mask))
  assert [file.name for file in tmp_path.iterdir()] == ["m.png"]


def test_a_folder_that_cannot_be_made(tmp_path):
  (tmp_path / "file").touch()
  full = figures.sampling({"full": recipes.full((20, 16))})
  with pytest.raises(UserError, match=r"file: found a file; expected a folder"):
    figures.save(full, tmp_path / "file" / "m.png")
  assert figures.save(full, tmp_path / "a" / "b" / "m.png").is_file()


def test_five_masks_take_two_bands(tmp_path):
  full = recipes.full((20, 16))  # has no side lobe
  shown = figures.sampling({str(k): full for k in range(5)})
  path = figures.save(shown, tmp_path / "m.png")
  grid = grid_of((440, 360), 4, 2, 0.5)
  assert image_lib.imread(path).shape[:2] == (grid.total_height, grid.total_width)


# The script


def test_help_shows_the_actions():
  help_text = run("--help").stdout
  for action in ("make", "show", "compare", "convert"):
    assert f"kdmri masks {action}" in help_text
  for flag in ("--size", "--[no]centred", "--image", "--out"):
    assert flag in help_text


def test_make_convert_and_compare(tmp_path):
  made, centred = tmp_path / "made.npy", tmp_path / "centred.npy"
  done = run("make", "--size=48,40", "--centre_lines=6", "--axis=1", f"--out={made}")
  assert done.returncode == 0, done.stderr
  assert f"--config.mask.path={made} --config.mask.axis=1" in done.stdout
  mask = files.load(made, (48, 40), 1)
  np.testing.assert_array_equal(mask, recipes.cartesian((48, 40), 4, 6, 1, 0))

  np.save(centred, np.roll(mask, (24, 20), (0, 1)))
  converted = tmp_path / "converted.npy"
  done = run("convert", centred, "--centred", "--axis=1", f"--out={converted}")
  assert done.returncode == 0, done.stderr
  assert "zero frequency in the middle, from where it was moved" in done.stdout
  np.testing.assert_array_equal(np.load(converted), mask)

  np.save(tmp_path / "points.npy", recipes.gaussian2d((48, 40), 4, 6, 0))
  save_nifti(tmp_path / "a.nii", stack(0, (50, 46, 2)))
  done = run(
    "compare",
    made,
    converted,
    tmp_path / "points.npy",
    f"--image={tmp_path / 'a.nii'}",
    f"--out={tmp_path / 'm.png'}",
  )
  assert done.returncode == 0, done.stderr
  rows = {line.split()[0]: line for line in done.stdout.splitlines() if line}
  first = done.stdout.split("made ")[1].splitlines()[0]
  again = done.stdout.split("converted ")[1].splitlines()[0]
  assert first.split() == again.split()
  cropped = np.moveaxis(stack(0, (50, 46, 2)), 2, 0)[:, 1:49, 3:43]
  quality = measured(cropped, mask)
  expected = f"10 of 40 4.00 6 {100 * quality['energy']:.3f}% {quality['psnr']:.2f}"
  assert set(expected.split()) <= set(first.split())
  assert "from 50x46 to 48x40" in done.stdout
  assert rows["made"].split()[1:3] == ["100%", "100%"]
  assert image_lib.imread(tmp_path / "m.png").shape[1] > 1000


def test_bad_commands_are_explained(tmp_path):
  path = tmp_path / "mask.npy"
  files.save(path, recipes.cartesian((24, 20), 3, 4, 0, 0))
  before = path.read_bytes()
  assert "no action; expected one of make, show, compare" in refused()
  assert "--seed: found no use for it in make --kind=central" in refused(
    "make", "--kind=central", "--size=8,8", "--seed=1"
  )
  assert "a file there; expected a new file .png" in refused(
    "show", path, f"--out={path}"
  )
  assert "1 files for compare; expected 2 or more" in refused("compare", path)
  assert path.read_bytes() == before


@pytest.mark.data
def test_the_table_of_the_published_masks(real_data):
  folder = real_data / "us_masks"
  paths = sorted(folder.glob("*/mask_?x.npy"))
  rows = run("show", *paths).stdout.splitlines()[-9:]
  table = [row.split()[:6] for row in rows]
  assert table[0] == ["cardiac/mask_4x", "150x150", "0", "(rows)", "37", "of"]
  lines = [int(row.split()[4]) for row in rows]
  assert lines == [37, 30, 18, 94, 74, 50, 60, 48, 30]
  accelerations = [row.split()[7] for row in rows]
  assert accelerations[:3] == ["4.05", "5.00", "8.33"]

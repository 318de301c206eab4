"""scripts/evaluate.py as a user runs it."""

import csv
import pathlib

import h5py
import numpy as np
import pytest
from helpers import commands

from kdmri_jax import metrics
from kdmri_jax.protocols import PROTOCOLS

ROOT = pathlib.Path(__file__).parents[2]


def run(*arguments, cwd):
  return commands.run("evaluate", *arguments, cwd=cwd)


@pytest.fixture
def volumes(tmp_path):
  """A target and two predictions, [2, 10, 12], as files and arrays."""
  rng = np.random.default_rng(0)
  target = rng.random((2, 10, 12))
  arrays = {"target": target}
  for name, noise in (("kd", 0.1), ("teacher/results", 0.05)):
    arrays[name] = target + noise * rng.standard_normal(target.shape)
  for name, volume in arrays.items():
    (tmp_path / name).mkdir(parents=True)
    with h5py.File(tmp_path / name / "v.h5", "w") as file:
      file["reconstruction"] = volume
  return tmp_path, arrays


def test_a_metric_that_fails_takes_no_other_number_along(volumes):
  folder, arrays = volumes
  arguments = ("--target=target", "--prediction=kd")
  names = "--metrics=psnr,helpers.failing:SINGLE,mse"
  done = run(*arguments, names, "--out=metrics", cwd=folder)
  assert done.returncode == 1
  assert "the metric Single (all or some of its values) is missing" in done.stderr
  assert "RuntimeError: one slice, please (kd/v.h5)" in done.stderr
  assert "Traceback" not in done.stderr
  expected = metrics.all(arrays["target"], arrays["kd"], "kdmri")
  assert f"{expected['psnr']:.2f}" in done.stdout
  with (folder / "metrics" / "volumes.csv").open() as file:
    row = next(csv.DictReader(file))
  assert (float(row["psnr"]), float(row["mse"])) == (expected["psnr"], expected["mse"])
  assert row["SINGLE"] == ""


def test_images_below_a_window_are_named_with_their_size(tmp_path):
  for name in ("target", "kd"):
    (tmp_path / name).mkdir()
    with h5py.File(tmp_path / name / "v.h5", "w") as file:
      file["reconstruction"] = np.random.default_rng(len(name)).random((3, 6, 9))
  arguments = ("--target=target", "--prediction=kd")
  text = commands.refused("evaluate", *arguments, cwd=tmp_path)
  assert "kd/v.h5" in text and "shape (3, 6, 9)" in text
  assert "at least 7x7 pixels, the window of SSIM" in text
  done = run(*arguments, "--metrics=psnr,nmse", cwd=tmp_path)
  assert done.returncode == 0 and "PSNR" in done.stdout


def test_table_and_files(volumes):
  folder, arrays = volumes
  done = run(
    "--target=target",
    "--prediction=kd,teacher/results",
    "--prediction=again=kd",
    "--protocol=slice",
    "--out=metrics",
    cwd=folder,
  )
  assert done.returncode == 0, done.stderr
  expected = {
    "kd": metrics.all(arrays["target"], arrays["kd"], "slice"),
    "teacher": metrics.all(arrays["target"], arrays["teacher/results"], "slice"),
  }
  lines = [line.split() for line in done.stdout.splitlines()[2:5]]
  assert [line[0] for line in lines] == ["kd", "teacher", "again"]
  assert lines[0][1:] == lines[2][1:]
  for line in lines[:2]:
    values = expected[line[0]]
    assert line[1] == f"{values['psnr']:.2f}" and line[2] == f"{values['ssim']:.4f}"
  assert f"protocol slice: {PROTOCOLS['slice'].definition}" in done.stdout
  with (folder / "metrics" / "volumes.csv").open() as file:
    rows = [row for row in csv.DictReader(file) if row["protocol"] == "slice"]
  assert float(rows[0]["psnr"]) == expected["kd"]["psnr"]
  assert len(list((folder / "metrics").iterdir())) == 4


def test_chosen_metrics(volumes):
  folder, arrays = volumes
  chosen = "--metrics=nmse,ssim"
  done = run("--target=target", "--prediction=kd", chosen, "--out=metrics", cwd=folder)
  assert done.returncode == 0, done.stderr
  header, _, row = (line.split() for line in done.stdout.splitlines()[:3])
  assert header == ["model", "NMSE", "SSIM", "volumes"]
  nmse = metrics.nmse(arrays["target"], arrays["kd"])
  assert row[:2] == ["kd", f"{nmse:.5f}"]
  written = (folder / "metrics" / "volumes.csv").read_text()
  expected = "model,volume,subject,protocol,nmse,ssim,empty_slices"
  expected += ",target_key,prediction_key"
  assert written.splitlines()[0] == expected


def test_nothing_is_overwritten(volumes):
  folder, _ = volumes
  (folder / "metrics").mkdir()
  (folder / "metrics" / "volumes.csv").write_text("mine")
  done = run("--target=target", "--prediction=kd", "--out=metrics", cwd=folder)
  assert done.returncode == 1
  assert done.stderr.count("\n") <= 2 and "not empty" in done.stderr
  assert (folder / "metrics" / "volumes.csv").read_text() == "mine"


def test_bad_input_is_one_paragraph(volumes):
  folder, _ = volumes
  done = run("--target=target", "--prediction=nowhere", "--out=metrics", cwd=folder)
  assert done.returncode == 1
  assert "nowhere: found no such folder" in done.stderr
  assert "Traceback" not in done.stderr and not (folder / "metrics").exists()
  done = run("--target=target", "--prediction=kd", "--metrics=psrn", cwd=folder)
  assert done.returncode == 1
  assert "--metrics: found 'psrn'" in done.stderr and "mean 'psnr'" in done.stderr
  done = run("--target=target", "--prediction=kd,kd", cwd=folder)
  assert done.returncode == 1 and "a second folder called 'kd'" in done.stderr


# The array of each side


def save(path, **arrays):
  path.parent.mkdir(parents=True, exist_ok=True)
  if path.suffix == ".npz":
    np.savez(path, **arrays)
  else:
    with h5py.File(path, "w") as file:
      file.attrs["subject"] = arrays.pop("subject", "")
      for key, array in arrays.items():
        file[key] = array


@pytest.fixture
def images():
  """Target, zero-filled image and reconstruction, [3, 16, 16]."""
  rows, columns = np.mgrid[:16, :16] / 16
  target = np.stack([1 + k + rows + columns**2 for k in range(3)])
  noise = np.random.default_rng(0).normal(0, 0.1, (2, *target.shape))
  return {
    "target": target,
    "zero_filled": target + 2 * noise[0],
    "reconstruction": target + noise[1],
  }


def read_rows(folder):
  with (folder / "out" / "volumes.csv").open() as file:
    return [row for row in csv.DictReader(file) if row["protocol"] == "kdmri"]


def evaluated(folder, *flags):
  """The printed text, and the records under the protocol kdmri."""
  done = run("--target=a", "--prediction=m=b", "--out=out", *flags, cwd=folder)
  assert done.returncode == 0, done.stderr
  return done.stdout, read_rows(folder)


@pytest.mark.parametrize("ending", ["h5", "npz"])
@pytest.mark.parametrize("same_folder", [False, True])
def test_files_of_reconstruct_on_both_sides(tmp_path, images, ending, same_folder):
  """The target of the first and the reconstruction of the second are compared."""
  save(tmp_path / f"a/v.{ending}", **images)
  if same_folder:
    (tmp_path / "b").symlink_to(tmp_path / "a")
  else:
    save(tmp_path / f"b/v.{ending}", **images)
  text, (row,) = evaluated(tmp_path)
  expected = metrics.all(images["target"], images["reconstruction"], "kdmri")
  assert float(row["psnr"]) == expected["psnr"]
  assert float(row["ssim"]) == expected["ssim"]
  assert (row["target_key"], row["prediction_key"]) == ("target", "reconstruction")
  assert "the targets: target of a\nm: reconstruction of b\n" in text
  assert "caution" not in text


@pytest.mark.parametrize(
  "key", ["volfs", "reconstruction_rss", "reconstruction_esc", "image"]
)
def test_every_target_key_precedes_a_reconstruction(tmp_path, images, key):
  kind = "npz" if key == "image" else "h5"
  target = images["target"]
  stored = np.moveaxis(target, 0, 2) if key == "volfs" else target
  save(tmp_path / f"a/v.{kind}", **{key: stored}, reconstruction=target + 1)
  save(tmp_path / "b/v.h5", **images)
  text, (row,) = evaluated(tmp_path)
  assert row["target_key"] == key and f"the targets: {key} of a" in text
  expected = metrics.psnr(target, images["reconstruction"])
  assert float(row["psnr"]) == pytest.approx(expected)


def test_keys_are_named(tmp_path, images):
  save(tmp_path / "a/v.h5", **images)
  save(tmp_path / "b/v.h5", **images)
  text, (row,) = evaluated(tmp_path, "--prediction_key=zero_filled")
  expected = metrics.psnr(images["target"], images["zero_filled"])
  assert float(row["psnr"]) == expected and "m: zero_filled of b" in text
  done = run("--target=a", "--prediction=b", "--target_key=x", cwd=tmp_path)
  assert done.returncode == 1 and "reconstruction, target, zero_filled" in done.stderr


def as_a_copy(folder, target):
  save(folder / "b/v.h5", target=target)


def as_a_reconstruction(folder, target):
  save(folder / "b/v.h5", reconstruction=target)


def as_a_link(folder, target):
  del target
  (folder / "b").symlink_to(folder / "a")


def as_another_format(folder, target):
  save(folder / "b/v.npz", image=target)


@pytest.mark.parametrize(
  "give", [as_a_copy, as_a_reconstruction, as_a_link, as_another_format]
)
def test_the_same_array_on_both_sides_is_refused(tmp_path, images, give):
  save(tmp_path / "a/v.h5", target=images["target"])
  give(tmp_path, images["target"])
  done = run("--target=a", "--prediction=b", "--out=out", cwd=tmp_path)
  assert done.returncode == 1 and not (tmp_path / "out").exists()
  assert "b: found the targets themselves in every volume" in done.stderr
  assert "--prediction_key" in done.stderr and "Traceback" not in done.stderr
  same = run("--target=a", "--prediction=a", cwd=tmp_path)
  assert same.returncode == 1 and "the targets themselves" in same.stderr


def test_one_equal_volume_is_told(tmp_path, images):
  for name in "vw":
    save(tmp_path / f"a/{name}.h5", target=images["target"])
    save(tmp_path / f"b/{name}.h5", **images)
  save(tmp_path / "b/w.h5", reconstruction=images["target"])
  text, _ = evaluated(tmp_path)
  assert "caution: m: the reconstruction is the target itself, number by" in text
  assert "(1 of 2 volumes, such as w)" in text


def test_volumes_that_count_twice_are_told(tmp_path, images):
  for k, name in enumerate("uvw"):
    target = images["target"] * 2.5**k
    target[0] = 0
    save(tmp_path / f"a/{name}.h5", target=target)
    save(tmp_path / f"b/{name}.h5", reconstruction=target + (target > 0))
  assert "more than once" not in evaluated(tmp_path)[0]
  (tmp_path / "a/w.h5").unlink()
  (tmp_path / "a/w.h5").symlink_to("u.h5")
  (tmp_path / "out").rename(tmp_path / "before")
  text, _ = evaluated(tmp_path)
  words = "count more than once: 2 slices of w also in u."
  assert f"caution: the targets: equal images, which {words}" in text


def test_an_open_choice_is_refused_or_told(tmp_path, images):
  target = images["target"]
  save(tmp_path / "a/v.h5", reconstruction_rss=target, reconstruction_esc=target + 1)
  save(tmp_path / "b/v.h5", reconstruction=images["reconstruction"])
  text, _ = evaluated(tmp_path)
  assert "'reconstruction_rss' was read, not reconstruction_esc" in text
  save(tmp_path / "b/v.h5", target=target, zero_filled=images["zero_filled"])
  done = run("--target=a", "--prediction=b", cwd=tmp_path)
  assert done.returncode == 1 and "b/v.h5: found target, zero_filled" in done.stderr
  assert "prediction_key" in done.stderr


def test_arrays_of_the_other_role_are_told(tmp_path, images):
  save(tmp_path / "a/v.h5", reconstruction=images["target"])
  save(tmp_path / "b/v.h5", target=images["reconstruction"])
  text, _ = evaluated(tmp_path)
  assert "caution: the targets: the target is read from the array 'reconstr" in text
  assert "caution: m: the reconstruction is read from an array that is not" in text


@pytest.mark.parametrize(
  ("change", "words"),
  [
    (lambda x: 255 * x, "the target is 0.00392 times the reconstruction"),
    (lambda x: 0.9 * x, "the target is 1.11 times the reconstruction"),
    (lambda x: x[::-1], "with slices reversed"),
    (lambda x: x[:, ::-1], "with rows reversed"),
    (lambda x: x[:, :, ::-1], "with columns reversed"),
    (lambda x: x[:, ::-1, ::-1], "with rows and columns reversed"),
    (lambda x: x.swapaxes(1, 2), "rows and columns exchanged"),
    (lambda x: x - 3, "clearly negative intensities"),
    (lambda x: x.astype(complex), "the magnitude of complex numbers"),
  ],
)
def test_what_does_not_belong_together_is_told(tmp_path, images, change, words):
  shape = np.random.default_rng(3).random((3, 16, 16))  # no symmetry
  for name, array in images.items():
    images[name] = shape + array / 4
  save(tmp_path / "a/v.h5", target=images["target"])
  save(tmp_path / "b/v.h5", reconstruction=images["reconstruction"])
  assert "caution" not in evaluated(tmp_path)[0]
  save(tmp_path / "b/v.h5", reconstruction=change(images["reconstruction"]))
  done = run("--target=a", "--prediction=m=b", cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  assert "caution: m: " in done.stdout and words in done.stdout


def test_other_subjects_are_told(tmp_path, images):
  save(tmp_path / "a/v.h5", subject="patient01", target=images["target"])
  save(tmp_path / "b/v.h5", subject="patient02", **images)
  assert "'patient01' and 'patient02'" in evaluated(tmp_path)[0]


def test_volumes_that_not_all_folders_have_are_named(tmp_path):
  """Every network is measured on the same volumes."""
  rng = np.random.default_rng(0)
  for folder, names in {"a": "uvwx", "b": "vwxy", "c": "uwx"}.items():
    for name in names:
      save(tmp_path / f"{folder}/{name}.h5", reconstruction=rng.random((2, 9, 8)))
  arguments = ("--target=a", "--prediction=b,c", "--metrics=psnr")
  done = run(*arguments, "--out=out", cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  assert {(row["model"], row["volume"]) for row in read_rows(tmp_path)} == {
    (model, volume) for model in "bc" for volume in "wx"
  }
  told = [line for line in done.stdout.splitlines() if "caution: " in line][:3]
  assert told == [
    "caution: b: no reconstruction of 1 of 4 targets (u.h5).",
    "caution: b: no target of 1 of 4 reconstructions (y.h5).",
    "caution: c: no reconstruction of 1 of 4 targets (v.h5); measured are the 2 "
    "volumes that all folders have.",
  ]
  for name in "wx":
    (tmp_path / f"c/{name}.h5").unlink()
  text = commands.refused("evaluate", *arguments, cwd=tmp_path)
  assert "a: found u.h5, v.h5, w.h5 and 1 more, and none of these names" in text

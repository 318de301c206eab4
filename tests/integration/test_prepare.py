"""Prepared folders, and the script that writes them."""

import functools
import json
import resource

import h5py
import numpy as np
import pytest
from helpers import commands
from helpers.data_files import (
  EVEN_ROWS,
  all_sampled,
  config,
  images,
  kdmri_folder,
  measured_by,
  save_h5,
  save_nifti,
  stack,
)

from kdmri_jax.data import load, read
from kdmri_jax.data.sources import prepared
from kdmri_jax.errors import UserError


def prepare(settings, out):
  return prepared.write_folder(read(settings), out, {"source": settings.source})


def left_in(folder):
  return sorted(path.name for path in folder.iterdir())


def test_prepared_volumes_are_the_same_data(tmp_path):
  settings = kdmri_folder(tmp_path / "raw")
  assert prepare(settings, tmp_path / "out") == ["train_0", "train_1", "validation_0"]
  again = config(source="prepared", root=str(tmp_path / "out"))
  first, second = (load(c, measured_by(EVEN_ROWS)) for c in (settings, again))
  for part in ("train", "validation"):
    a, b = getattr(first, part).parts[0], getattr(second, part).parts[0]
    np.testing.assert_array_equal(a.target, b.target)
    np.testing.assert_array_equal(a.kspace, b.kspace)
    np.testing.assert_array_equal(a.zero_filled, b.zero_filled)
  for key in ("subjects", "unit", "split_rule"):
    assert first.record[key] == second.record[key]
  assert first.record["unit"] == "file"
  origin = second.record["volumes"][0]["prepared_from"]
  assert origin["file"].endswith("train/acc_4x/0.h5")


def test_the_folder(tmp_path):
  names = prepare(config(), tmp_path / "new" / "out")
  assert names == ["brain_000", "cardiac_001", "knee_002", "brain_003"]
  out = tmp_path / "new" / "out"
  files = sorted(f"{name}.h5" for name in names)
  assert left_in(out) == sorted([*files, "montage.png", "prepared.json"])
  assert left_in(out.parent) == ["out"]
  with h5py.File(out / "knee_002.h5") as file:
    assert file["target"].shape == (3, 32, 28)
    assert file.attrs["subject"] == "knee_002"
    assert json.loads(file.attrs["record"])["source"] == "phantom"
  record = json.loads((out / "prepared.json").read_text())
  assert record["settings"] == {"source": "phantom"}
  assert [volume["name"] for volume in record["volumes"]] == names
  assert (out / "montage.png").read_bytes().startswith(b"\x89PNG")


def test_an_empty_folder_is_filled_and_another_is_left_alone(tmp_path):
  out = tmp_path / "out"
  out.mkdir()
  prepare(config(), out)
  before = {path: path.read_bytes() for path in out.iterdir()}
  with pytest.raises(UserError, match=r"out: found a folder that is not empty"):
    prepare(config(), out)
  assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_a_bad_volume_leaves_nothing(tmp_path):
  save_nifti(tmp_path / "raw" / "a.nii", stack())
  save_nifti(tmp_path / "raw" / "b.nii", 0 * stack())
  with pytest.raises(UserError, match=r"b.nii: found the same value"):
    prepare(config(source="nifti", root=str(tmp_path / "raw")), tmp_path / "out")
  assert left_in(tmp_path) == ["raw"]


def test_a_write_that_fails_leaves_nothing(tmp_path):
  """A limit on the file size stands for a full disk: the same failing write."""
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
  try:
    with pytest.raises(UserError, match=r"out: found a failed write \(File too large"):
      prepare(config(), tmp_path / "out")
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  assert left_in(tmp_path) == []


def test_refuses_two_volumes_of_one_name(tmp_path):
  save_nifti(tmp_path / "raw" / "a.nii", stack())
  save_nifti(tmp_path / "raw" / "a.nii.gz", stack(1))
  with pytest.raises(UserError, match=r"the volume name 'a', which .*a.nii has too"):
    prepare(config(source="nifti", root=str(tmp_path / "raw")), tmp_path / "out")
  assert left_in(tmp_path) == ["raw"]


def test_files_of_other_origin(tmp_path):
  save_h5(tmp_path / "a.h5", target=images(0))
  save_h5(tmp_path / "b.h5", target=images(1))
  settings = config(source="prepared", root=str(tmp_path), validation=("b",))
  record = load(settings, all_sampled).record
  assert (record["subjects"]["train"], record["unit"]) == (["a"], "file")
  with h5py.File(tmp_path / "b.h5", "a") as file:
    file.attrs["split"] = "val"
  with pytest.raises(UserError, match=r"b.h5: found the split 'val'"):
    load(settings, all_sampled)
  save_h5(tmp_path / "b.h5", image=images(1))
  with pytest.raises(UserError, match=r"no dataset 'target' \(the keys are: image\)"):
    load(settings, all_sampled)


@pytest.mark.parametrize("record", ["[]", "null", "3", "{", 3])
def test_a_record_that_is_no_json_object_is_damage(tmp_path, record):
  save_h5(tmp_path / "a.h5", target=images())
  with h5py.File(tmp_path / "a.h5", "a") as file:
    file.attrs["record"] = record
  with pytest.raises(UserError, match=r"a.h5: found a file that cannot be read"):
    load(config(source="prepared", root=str(tmp_path)), all_sampled)


run = functools.partial(commands.run, "prepare")


def test_the_script_prepares(tmp_path):
  for k in (1, 2):
    path = tmp_path / "raw" / f"IXI00{k}-HH-{k}-PD.nii.gz"
    save_nifti(path, stack(k, (9, 8, 5)))
  done = run(
    "--source=ixi",
    f"--root={tmp_path / 'raw'}",
    f"--out={tmp_path / 'out'}",
    "--crop=6,4",
    "--slices_per_volume=3",
    "--subject_pattern=XI[0-9]+",
    "--include=IXI002*",
  )
  assert done.returncode == 0, done.stderr
  assert "1 volumes in" in done.stdout
  assert "1 of 1 volumes: IXI (brain-development.org)" in done.stdout
  with h5py.File(tmp_path / "out" / "IXI002-HH-2-PD.h5") as file:
    assert file["target"].shape == (3, 6, 4)
    assert file.attrs["subject"] == "XI002"
  settings = json.loads((tmp_path / "out" / "prepared.json").read_text())["settings"]
  assert settings["crop"] == [6, 4]


def test_the_script_tells_equal_images(tmp_path):
  for part, name, seed in (
    ("train", "a", 0),
    ("train", "b", 1),
    ("validation", "c", 0),
  ):
    save_nifti(tmp_path / "raw" / part / f"{name}.nii", stack(seed))
  flags = ("--source=nifti", f"--root={tmp_path / 'raw'}")
  done = run(*flags, f"--out={tmp_path / 'out'}")
  assert (
    "count more than once: 3 slices of validation/c also in train/a." in done.stdout
  )
  (tmp_path / "raw" / "validation" / "c.nii").unlink()
  done = run(*flags, f"--out={tmp_path / 'again'}")
  assert "more than once" not in done.stdout


def test_the_script_explains_bad_input_in_one_paragraph(tmp_path):
  done = run(
    "--source=acdc", f"--root={tmp_path / 'gone'}", f"--out={tmp_path / 'out'}"
  )
  assert done.returncode == 1
  assert "gone: found no such folder; expected" in done.stderr
  assert "Traceback" not in done.stderr
  assert left_in(tmp_path) == []


def test_the_script_names_the_flag_of_a_value_outside_its_limits(tmp_path):
  done = run("--source=phantom", "--phantom_subjects=0", f"--out={tmp_path / 'out'}")
  assert done.returncode == 1
  assert "error: --phantom_subjects: found 0; expected a number of" in done.stderr


def test_the_script_helps():
  done = run("--help")
  for flag in ("--source", "--root", "--out", "--crop", "--subject_pattern"):
    assert flag in done.stdout
  assert "kdmri prepare --source=acdc" in done.stdout

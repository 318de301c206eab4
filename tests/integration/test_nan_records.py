"""NaN in the header of a scan: valid records, with which a run goes on."""

import json
import math

import h5py
import nibabel
import numpy as np
import pytest
from helpers.data_files import images, save_h5
from helpers.tiny import tiny_config

from kdmri_jax import config as config_lib
from kdmri_jax.data.sources import prepared
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import UserError
from kdmri_jax.training.experiment import Experiment

pytestmark = pytest.mark.usefixtures("quick_compilation")

NAMES = ("a", "b", "c", "d")


def strict(text):
  return json.loads(text, parse_constant=pytest.fail)


def nifti(root):
  """Voxel sizes that are not finite."""
  for seed, name in enumerate(NAMES):
    stack = np.moveaxis(images(seed, (2, 8, 9)), 0, 2).astype(np.float32)
    image = nibabel.Nifti1Image(stack, np.eye(4))
    image.header["pixdim"][1:4] = [math.nan, math.inf, 2]
    nibabel.save(image, root / f"{name}.nii")
  return "zooms", [None, "inf", 2.0]


def prepared_before(root):
  """Records as earlier versions prepared them, with Python's own NaN."""
  for seed, name in enumerate(NAMES):
    save_h5(root / f"{name}.h5", target=images(seed, (2, 8, 9)).astype(np.float32))
    with h5py.File(root / f"{name}.h5", "a") as file:
      file.attrs["record"] = json.dumps({"zooms": [math.nan, 2.0]})
      file.attrs["subject"] = name
  return "prepared_from", {"zooms": [None, 2.0]}


def experiment(source, root, workdir):
  config = tiny_config(devices=1)
  config.mask.update(centre_lines=2)
  config.data.update(source=source, root=str(root), scaling="volume_max")
  return Experiment(config_lib.parse(config), workdir)


@pytest.mark.parametrize(
  ("source", "make"), [("nifti", nifti), ("prepared", prepared_before)]
)
def test_a_run_goes_on(tmp_path, source, make):
  root, workdir = tmp_path / "data", tmp_path / "run"
  root.mkdir()
  key, value = make(root)
  experiment(source, root, workdir).claim(["teacher"])
  data = strict((workdir / "dataset.json").read_text())
  assert all(volume[key] == value for volume in data["volumes"])
  again = experiment(source, root, workdir)
  again.claim(["teacher"])
  # A record of an earlier version: no checksum, and NaN as Python spells it.
  (workdir / "dataset.json").write_text(json.dumps(again.data))
  again.claim(["teacher"])
  assert strict((workdir / "dataset.json").read_text()) == data
  again.data["volumes"][0][key] = 7
  with pytest.raises(UserError, match=f"volumes.0.{key}.* there, 7 here"):
    again.claim(["teacher"])


def test_prepared_volumes_have_valid_records(tmp_path):
  record = {"zooms": [math.nan, math.inf, 1], "simulated_kspace": True}
  volume = Volume("a", "a", images().astype(np.float32), record=record)
  prepared.write_folder([volume], tmp_path / "out", {"limit": math.inf})
  found = strict((tmp_path / "out" / "prepared.json").read_text())
  assert found["settings"] == {"limit": "inf"}
  assert found["volumes"][0]["zooms"] == [None, "inf", 1]
  with h5py.File(tmp_path / "out" / "a.h5") as file:
    assert strict(file.attrs["record"])["zooms"] == [None, "inf", 1]

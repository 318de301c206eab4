"""The record of a data source, and sources of the user's own."""

import sys
import textwrap

import numpy as np
import pytest
from helpers.data_files import all_sampled, config

from kdmri_jax.data import Measured, Source, Volume, load, read
from kdmri_jax.data.source import FILE, by_ending
from kdmri_jax.data.sources import SOURCES, find_source
from kdmri_jax.errors import ArgumentError, UserError, arguments_of
from kdmri_jax.inference import read_scan, write_scan

MODULE = """
  import pathlib

  import numpy as np

  from kdmri_jax.data import Measured, Source, Volume
  from kdmri_jax.data.source import FILE, by_ending


  def volumes(config):
    for path in sorted(pathlib.Path(config.root).glob("*.txt")):
      yield Volume(path.stem, path.stem[0], np.loadtxt(path)[None])


  def read(path, config):
    return Measured(np.loadtxt(path)[None] + 0j, np.ones((2, 3)), {"zooms": [1, 2, 3]})


  SIMPLE = Source(volumes)
  OWN = Source(
    volumes, unit=FILE, recognise=by_ending(".txt", ".ksp"), axes=(0, 2, 1)
  )
  UNDERSAMPLED = Source(volumes, recognise=by_ending(".ksp"), read=read)
  NOT_VOLUMES = Source(lambda config: [np.ones(3)])
  FUNCTION = volumes
"""


@pytest.fixture
def root(tmp_path, monkeypatch):
  code = tmp_path / "code"
  code.mkdir()
  (code / "own_source.py").write_text(textwrap.dedent(MODULE))
  monkeypatch.syspath_prepend(code)
  folder = tmp_path / "scans"
  folder.mkdir()
  for k, name in enumerate(("a1", "a2", "b1", "c1")):
    np.savetxt(folder / f"{name}.txt", np.arange(1 + k, 7 + k).reshape(2, 3))
  yield folder
  sys.modules.pop("own_source", None)


def settings(root, name, **changes):
  return config(source=f"own_source:{name}", root=str(root), **changes)


def test_every_source_is_a_record():
  assert all(isinstance(source, Source) for source in SOURCES.values())
  plain = {name for name, source in SOURCES.items() if source.volumes is None}
  assert plain == {"h5", "npy"}
  assert find_source("nifti") is SOURCES["nifti"]


def test_volumes_alone_are_enough_to_train_on(root):
  dataset = load(settings(root, "SIMPLE", validation=("b",)), all_sampled)
  assert dataset.record["source"] == "own_source:SIMPLE"
  assert dataset.record["unit"] == "subject" and dataset.record["simulated_kspace"]
  assert dataset.record["subjects"]["train"] == ["a", "c"]
  (chosen,) = read(settings(root, "SIMPLE", include=("b?",)))
  np.testing.assert_allclose(chosen.target[0] * 8, np.arange(3, 9).reshape(2, 3))
  (first, *_) = read(settings(root, "OWN"))
  assert first.record["unit"] == FILE
  (first, *_) = read(settings(root, "OWN", subject_pattern="(.)"))
  assert first.record["unit"] == "subject"


@pytest.mark.parametrize(
  ("name", "changes", "message"),
  [
    ("SIMPLE", {"contrast": "T1"}, r"^config.data.contrast: .*does not support it"),
    ("SIMPLE", {"include": ("x*",)}, r"^config.data.include: .*such as a1, a2, b1,"),
    ("NOT_VOLUMES", {}, r"^config.data.source: found a source that yields a ndarray"),
    ("FUNCTION", {}, r"^config.data.source: .*of type function; expected a .*Source"),
    ("NONE", {}, r"^config.data.source: .*AttributeError.*package.module:name"),
  ],
)
def test_mistakes_are_named_by_the_key(root, name, changes, message):
  with pytest.raises(UserError, match=message), arguments_of("config.data."):
    load(settings(root, name, **changes), all_sampled)


def test_files_to_be_reconstructed_train_nothing():
  with pytest.raises(ArgumentError, match=r"source: found 'h5'; expected one of phant"):
    list(read(config(source="h5")))


def test_one_of_its_files_is_read(root):
  path = root / "a2.txt"
  run = config(source="phantom")
  scan = read_scan.read(path, run, source="own_source:SIMPLE")
  np.testing.assert_array_equal(scan.target[0], np.arange(2, 8).reshape(2, 3))
  assert scan.record["file"] == str(path)
  assert scan.record["source"] == "own_source:SIMPLE"
  with pytest.raises(UserError, match=r"several volumes \(a1, a2, b1, c1\)"):
    read_scan.read(root, run, source="own_source:SIMPLE")
  scan = read_scan.read(root, run, source="own_source:SIMPLE", name="b1")
  assert scan.name == "b1"
  with pytest.raises(UserError, match=r"a2.txt: found the name ending .txt"):
    read_scan.read(path, run)
  for name in ("phantom", "mni152"):
    with pytest.raises(ArgumentError, match=rf"source: found '{name}'; .*reads files"):
      read_scan.read(path, run, source=name)


def test_the_runs_own_source_recognises_its_files(root):
  scan = read_scan.read(root / "a2.txt", settings(root, "OWN"))
  assert isinstance(scan, Volume) and scan.name == "a2"
  (root / "a2.txt").rename(root / "a2.ksp")
  scan = read_scan.read(root / "a2.ksp", settings(root, "UNDERSAMPLED"))
  assert isinstance(scan, Measured) and scan.kspace[0, 1, 2] == 7
  assert scan.record["zooms"] == [1, 2, 3]
  assert scan.record["source"] == "own_source:UNDERSAMPLED"


def test_results_lie_over_its_nifti_files(root, tmp_path):
  nibabel = pytest.importorskip("nibabel")
  images = np.random.default_rng(0).random((2, 3, 4)).astype(np.float32)
  stored = nibabel.Nifti1Image(images.transpose(0, 2, 1), np.diag([1, 2, 3, 1]))
  nibabel.save(stored, tmp_path / "a.nii")
  record = {"file": str(tmp_path / "a.nii"), "source": "own_source:OWN"}
  write_scan.write(tmp_path / "b.nii", {"reconstruction": images}, record, "nifti")
  result = nibabel.load(tmp_path / "b.nii")
  np.testing.assert_array_equal(result.get_fdata(), stored.get_fdata())
  np.testing.assert_array_equal(result.affine, stored.affine)


def test_endings(tmp_path):
  (tmp_path / "A.NII.GZ").write_bytes(b"")
  recognise = by_ending(".nii", ".nii.gz")
  assert recognise(tmp_path / "A.NII.GZ") and not recognise(tmp_path / "a.nii")

"""Folders of h5 volumes -> tables of metrics."""

import csv
import errno
import json
import os

import h5py
import numpy as np
import pytest

from kdmri_jax import metrics
from kdmri_jax.errors import UserError
from kdmri_jax.io import volume_files
from kdmri_jax.protocols import PROTOCOLS
from kdmri_jax.report import tables


def write_volume(path, volume, key="reconstruction", **attributes):
  path.parent.mkdir(parents=True, exist_ok=True)
  with h5py.File(path, "w") as file:
    file[key] = volume
    file.attrs.update(attributes)


@pytest.fixture
def folders(tmp_path):
  """Two targets and two models; the second target names its subject."""
  rng = np.random.default_rng(0)
  for name, attributes in (("a", {}), ("b", {"subject": "patient02"})):
    target = rng.random((3, 12, 10)).astype(np.float32)
    write_volume(tmp_path / "target" / f"{name}.h5", target, "target", **attributes)
    for model, noise in (("teacher", 0.05), ("kd", 0.1)):
      noisy = target + noise * rng.standard_normal(target.shape)
      write_volume(tmp_path / model / f"{name}.h5", noisy)
  return tmp_path


def evaluate(folders, models=("teacher", "kd"), **options):
  return tables.evaluate_folders(
    folders / "target", {name: folders / name for name in models}, **options
  )


def read(path, key):
  with h5py.File(path) as file:
    return file[key][()]


def test_a_record_for_each_model_volume_slice_and_protocol(folders):
  found = evaluate(folders)
  assert len(found.volumes) == 2 * 2 * 3
  assert len(found.slices) == 2 * 2 * 3 * 3
  assert found.records == found.volumes + found.slices
  subjects = {(r["volume"], r["subject"]) for r in found.records}
  assert subjects == {("a", "a"), ("b", "patient02")}
  target = read(folders / "target/b.h5", "target")
  prediction = read(folders / "kd/b.h5", "reconstruction")
  for protocol in PROTOCOLS:
    expected = metrics.all(target, prediction, protocol)
    label = {"model": "kd", "volume": "b", "subject": "patient02"}
    assert {
      **label,
      "protocol": protocol,
      **expected,
      "empty_slices": 0,
      "target_key": "target",
      "prediction_key": "reconstruction",
    } in found.volumes
    slices = metrics.per_slice(target, prediction, protocol)
    values = {name: column[2] for name, column in slices.items()}
    assert {**label, "protocol": protocol, "slice": 2, **values} in found.slices


def test_the_original_layout_is_turned(folders):
  target = read(folders / "target/a.h5", "target")
  expected = evaluate(folders)
  write_volume(folders / "target/a.h5", target.transpose(1, 2, 0), "volfs")
  found = evaluate(folders)
  for record in found.volumes:
    assert record.pop("target_key") == (
      "volfs" if record["volume"] == "a" else "target"
    )
  for record in expected.volumes:
    del record["target_key"]
  assert found == expected


def test_single_images_and_complex_values(tmp_path):
  image = np.random.default_rng(0).random((9, 11))
  write_volume(tmp_path / "knee.h5", image * np.exp(0.3j), "volfs")
  stored = volume_files.read_volume(tmp_path / "knee.h5")
  np.testing.assert_allclose(stored.images, image[None])
  assert (stored.subject, stored.key, stored.is_complex) == ("", "volfs", True)


def test_a_named_key_is_read(folders):
  for path in folders.glob("*/*.h5"):
    with h5py.File(path, "a") as file:
      file["other"] = np.random.default_rng(1).random((2, 8, 8))
  found = evaluate(folders, target_key="other", prediction_key="other")
  assert all(np.isinf(record["psnr"]) for record in found.volumes)


def spoil_truncate(folders):
  path = folders / "kd/b.h5"
  path.write_bytes(path.read_bytes()[:600])
  return "b.h5"


def spoil_key(folders):
  write_volume(folders / "kd/b.h5", np.ones((3, 12, 10)), "image")
  return "the keys image"


def spoil_shape(folders):
  write_volume(folders / "kd/b.h5", np.ones((3, 10, 12)))
  return r"kd/b.h5: prediction: found shape \(3, 10, 12\).* axes are in another order"


def spoil_nan(folders):
  volume = np.ones((3, 12, 10))
  volume[1, 2, 3] = np.nan
  write_volume(folders / "kd/b.h5", volume)
  return "kd/b.h5: found NaN"


def spoil_type(folders):
  write_volume(folders / "kd/b.h5", np.bytes_(b"text"))
  return "kd/b.h5: found reconstruction of type"


def spoil_missing(folders):
  (folders / "kd/b.h5").unlink()
  return "kd: found no counterpart of b.h5"


def spoil_surplus(folders):
  (folders / "target/b.h5").unlink()
  return "target: found no counterpart of b.h5"


def spoil_empty(folders):
  for path in (folders / "kd").iterdir():
    path.unlink()
  return "kd: found no .h5 file"


def spoil_folder(folders):
  (folders / "kd").rename(folders / "elsewhere")
  return "kd: found no such folder"


def spoil_signal(folders):
  write_volume(folders / "target/b.h5", np.zeros((3, 12, 10)))
  return "target: found no signal"


@pytest.mark.parametrize(
  "spoil",
  [
    spoil_truncate,
    spoil_key,
    spoil_shape,
    spoil_nan,
    spoil_type,
    spoil_missing,
    spoil_surplus,
    spoil_empty,
    spoil_folder,
    spoil_signal,
  ],
)
def test_bad_files_are_refused(folders, spoil):
  words = spoil(folders)
  with pytest.raises(UserError, match=words):
    evaluate(folders)


def test_files_hold_the_records(folders, tmp_path):
  target = read(folders / "target/a.h5", "target")
  target[1] = 0  # undefined under "slice"
  write_volume(folders / "target/a.h5", target)
  write_volume(folders / "kd/a.h5", target)  # perfect: infinite PSNR
  found = evaluate(folders, ["kd"])
  paths = tables.write_tables(tmp_path / "out" / "deep", found)
  assert sorted(path.name for path in paths) == [
    "slices.csv",
    "slices.json",
    "volumes.csv",
    "volumes.json",
  ]
  assert sorted((tmp_path / "out" / "deep").iterdir()) == sorted(paths)
  for name in ("volumes", "slices"):
    records = getattr(found, name)
    with (tmp_path / "out/deep" / f"{name}.csv").open() as file:
      rows = list(csv.DictReader(file))
    text = (tmp_path / "out/deep" / f"{name}.json").read_text()
    parsed = json.loads(text, parse_constant=pytest.fail)
    for record, row, entry in zip(records, rows, parsed, strict=True):
      assert row.keys() == entry.keys() == record.keys()
      for key, value in record.items():
        if isinstance(value, float) and np.isnan(value):
          assert row[key] == "" and entry[key] is None
        elif value == np.inf:
          assert row[key] == "inf" and entry[key] == "inf"
        else:
          assert row[key] == str(value) and entry[key] == value


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
  path = tmp_path / "table.json"
  tables.write_json(path, {"old": 1})

  def full(*_):
    raise OSError(errno.ENOSPC, "full")

  with monkeypatch.context() as patch, pytest.raises(UserError, match="no space"):
    patch.setattr(os, "replace", full)
    tables.write_text(path, "new")
  assert json.loads(path.read_text()) == {"old": 1}
  assert list(tmp_path.iterdir()) == [path]


def test_a_name_that_is_not_unicode_is_written_with_escapes(tmp_path):
  tables.write_text(tmp_path / "a.md", "caf\udce9")
  assert (tmp_path / "a.md").read_text() == r"caf\udce9"


def test_seeds_are_a_column(folders):
  plain = evaluate(folders)
  dirs = {
    "teacher": {None: folders / "teacher"},
    "kd": {7: folders / "kd", 8: folders / "teacher"},
  }
  found = tables.evaluate_folders(folders / "target", dirs)
  assert list(found.volumes[0])[:3] == ["model", "seed", "volume"]
  by_seed = {
    seed: [{k: v for k, v in r.items() if k != "seed"} for r in found.records
           if (r["model"], r["seed"]) == ("kd", seed)]
    for seed in (7, 8)
  }  # fmt: skip
  assert by_seed[7] == [r for r in plain.records if r["model"] == "kd"]
  teacher = [r for r in plain.records if r["model"] == "teacher"]
  assert by_seed[8] == [{**r, "model": "kd"} for r in teacher]
  assert {r["seed"] for r in found.records if r["model"] == "teacher"} == {None}

"""Folders of PNG and TIFF images."""

import struct

import numpy as np
import pytest
from helpers.data_files import all_sampled, config, read
from PIL import Image

from kdmri_jax.data import load
from kdmri_jax.errors import UserError
from kdmri_jax.inference import read_scan

SIZE = (6, 5)


def grey(seed, kind=np.uint8, size=SIZE):
  most = {np.uint8: 255, np.uint16: 65535}.get(kind, 1)
  values = np.random.default_rng(seed).uniform(0, most, size)
  return values.astype(kind)


def save(path, array, *more):
  path.parent.mkdir(parents=True, exist_ok=True)
  first, *others = map(Image.fromarray, (array, *more))
  pages = {"save_all": True, "append_images": others} if others else {}
  first.save(path, **pages)


@pytest.mark.parametrize(
  ("ending", "kind"),
  [
    (".png", np.uint8),
    (".png", np.uint16),
    (".tif", np.uint8),
    (".TIFF", np.uint16),
    (".tif", np.float32),
  ],
)
def test_a_folder_is_a_volume_in_the_order_of_its_numbers(tmp_path, ending, kind):
  for folder in "pq":
    for number in (10, 2, 1):
      image = grey(number + ord(folder), kind)
      save(tmp_path / f"{folder}/slice_{number}{ending}", image)
  first, second = read("images", tmp_path)
  assert (first.name, first.subject, second.name) == ("p", "p", "q")
  assert first.record["unit"] == "folder" and first.record["files"] == 3
  for volume in (first, second):
    expected = [grey(n + ord(volume.name), kind) for n in (1, 2, 10)]
    np.testing.assert_array_equal(volume.target, expected)
  assert "Each folder counts as a subject" in first.record["note"]


def test_a_pattern_tells_the_subjects_of_one_folder(tmp_path):
  for subject in ("s1", "s2"):
    for k in range(3):
      save(tmp_path / f"{subject}_{k}.png", grey(k + ord(subject[1])))
  alone = read("images", tmp_path)
  assert [v.name for v in alone] == [f"s{s}_{k}" for s in "12" for k in range(3)]
  assert {v.record["unit"] for v in alone} == {"file"}
  first, second = read("images", tmp_path, subject_pattern=r"(s\d)_")
  assert (first.name, first.subject, second.name) == ("s1", "s1", "s2")
  assert first.record["unit"] == "subject" and len(second.target) == 3
  (tmp_path / "deep").mkdir()
  for path in list(tmp_path.glob("*.png")):
    path.rename(tmp_path / "deep" / path.name)
  volumes = read("images", tmp_path, subject_pattern=r"(s\d)_")
  assert [v.name for v in volumes] == ["deep_s1", "deep_s2"]


def test_the_folders_may_be_the_split(tmp_path):
  for split in ("train", "validation"):
    for k in range(2):
      save(tmp_path / f"{split}/{split[0]}/{k}.png", grey(k + len(split)))
  data = load(config(source="images", root=str(tmp_path)), all_sampled)
  assert [v.name for v in data.train.volumes] == ["t"]
  assert [v.name for v in data.validation.volumes] == ["v"]
  assert data.record["unit"] == "folder"


def test_pages_are_slices(tmp_path):
  pages = [grey(k, np.uint16) for k in range(3)]
  save(tmp_path / "a.tif", *pages)
  (volume,) = read("images", tmp_path)
  np.testing.assert_array_equal(volume.target, pages)


def test_a_scan_is_a_file_or_a_folder(tmp_path):
  for k in range(3):
    save(tmp_path / f"scan/{k}.png", grey(k))
  scan = read_scan.read(tmp_path / "scan", config())
  np.testing.assert_array_equal(scan.target, [grey(k) for k in range(3)])
  scan = read_scan.read(tmp_path / "scan/1.png", config())
  np.testing.assert_array_equal(scan.target, grey(1)[None])
  assert scan.record["source"] == "images"


def test_what_is_no_grey_image_of_one_size_is_refused(tmp_path):
  save(tmp_path / "p/0.png", grey(0))
  save(tmp_path / "p/1.png", grey(1, size=(6, 7)))
  with pytest.raises(UserError, match=r"1.png: found an image of \(6, 7\) pixels of"):
    read("images", tmp_path)
  save(tmp_path / "p/1.png", grey(1, np.uint16))
  words = r"pixels of uint16; expected \(.*\) of uint8, as 0.png"
  with pytest.raises(UserError, match=words):
    read("images", tmp_path)
  colour = np.random.default_rng(0).integers(0, 255, (*SIZE, 3)).astype(np.uint8)
  save(tmp_path / "p/1.png", colour)
  with pytest.raises(
    UserError, match=r"1.png: found an image of mode RGB; expected gr"
  ):
    read("images", tmp_path)
  data = (tmp_path / "p/0.png").read_bytes()
  (tmp_path / "p/1.png").write_bytes(data[:60])
  with pytest.raises(UserError, match=r"1.png: found a file that cannot be read"):
    read("images", tmp_path)
  (tmp_path / "p/1.png").write_text("text")
  with pytest.raises(UserError, match=r"1.png: found a file that cannot be read"):
    read("images", tmp_path)
  save(tmp_path / "q/2.tif", grey(1), grey(1, size=(7, 7)))
  with pytest.raises(UserError, match=r"2.tif: found a file that .*page 1 has another"):
    read("images", tmp_path / "q")
  (tmp_path / "none").mkdir()
  (tmp_path / "none/a.txt").write_text("text")
  with pytest.raises(UserError, match=r"found no file \*.png, \*.tif or \*.tiff in it"):
    read("images", tmp_path / "none")


def test_white_is_zero(tmp_path):
  """8 bits are turned over when they are read; what would stay negative is refused."""
  for kind, name in ((np.uint8, "p/byte.tif"), (np.uint16, "q/word.tif")):
    path = tmp_path / name
    save(path, grey(0, kind))
    black_is_0, white_is_0 = (struct.pack("<HHIHH", 262, 3, 1, k, 0) for k in (1, 0))
    content = path.read_bytes()
    assert content.count(black_is_0) == 1
    path.write_bytes(content.replace(black_is_0, white_is_0))
  (volume,) = read("images", tmp_path / "p")
  np.testing.assert_array_equal(volume.target[0], 255 - grey(0))
  with pytest.raises(UserError, match=r"word.tif: found a TIFF .* in which white is 0"):
    read("images", tmp_path / "q")

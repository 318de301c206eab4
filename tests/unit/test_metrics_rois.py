"""Regions: found in tissue, read from a file, measured."""

import numpy as np
import pytest

from kdmri_jax.errors import UserError
from kdmri_jax.metrics import roi_snr
from kdmri_jax.metrics.roi_snr import Roi
from kdmri_jax.report import roi_file

SHAPES = {"head": (3, 40, 50)}
HEADER = "volume,slice,row,column,height,width\n"


def volume():
  """Air, a bright textured rim, and inside it tissue that is smooth in two places."""
  rng = np.random.default_rng(0)
  image = np.zeros((3, 40, 50))
  image[:, 5:35, 5:45] = 1 + 0.5 * rng.random((3, 30, 40))
  image[:, 8:18, 8:18] = 0.8 + 0.01 * rng.random((3, 10, 10))
  image[:, 20:30, 30:40] = 0.6 + 0.02 * rng.random((3, 10, 10))
  return image


def test_snr_is_mean_over_deviation():
  image = volume()
  roi = Roi(1, 8, 8, 4, 6)
  pixels = image[1, 8:12, 8:14]
  assert roi_snr.snr(image, roi) == pytest.approx(pixels.mean() / pixels.std(ddof=1))
  assert roi_snr.snr(np.ones((2, 20, 20)), roi) == np.inf


@pytest.mark.parametrize("count", [1, 3, 6])
def test_the_most_homogeneous_squares_are_found(count):
  found = roi_snr.find(volume(), count=count, side=9)
  assert len(found) == count
  for roi in found:
    smooth = (8 <= roi.row <= 9 and 8 <= roi.column <= 9) or (
      20 <= roi.row <= 21 and 30 <= roi.column <= 31
    )
    assert smooth
  by_slice = np.bincount([roi.slice for roi in found], minlength=3)
  assert by_slice.max() - by_slice.min() <= 1


def test_squares_lie_in_tissue_and_do_not_overlap():
  image = volume()
  found = roi_snr.find(image, count=30, side=5)
  covered = np.zeros(image.shape, int)
  for roi in found:
    roi.cut(covered)[:] += 1
    assert roi.cut(image).min() > 0.3
  assert covered.max() == 1
  assert len(found) == 30


def test_air_has_no_region():
  assert roi_snr.find(np.zeros((2, 30, 30))) == []
  assert roi_snr.find(np.ones((2, 6, 30))) == []


@pytest.mark.parametrize("mark", ["", "\ufeff"])  # as spreadsheets write it
def test_regions_from_a_file(tmp_path, mark):
  path = tmp_path / "rois.csv"
  path.write_text(mark + HEADER + "head,0,1,2,3,4\nhead,2,36,46,4,4\n")
  assert roi_file.read(path, SHAPES) == {
    "head": [Roi(0, 1, 2, 3, 4), Roi(2, 36, 46, 4, 4)]
  }


@pytest.mark.parametrize(
  ("text", "found"),
  [
    ("volume,row\n", "the header volume,row"),
    ("", "the header (none)"),
    (HEADER, "no region"),
    (HEADER + "foot,0,1,2,3,4\n", "'foot'"),
    (HEADER + "head,0,1,2,3,x\n", "'x'"),
    (HEADER + "head,0,1,2,3\n", "line 2"),
    (HEADER + "head,0,1,2,3,4,5\n", "1 more entries"),
    (HEADER + "head,3,1,2,3,4\n", "slice=3"),
    (HEADER + "head,0,38,2,3,4\n", "row=38"),
    (HEADER + "head,0,-1,2,3,4\n", "row=-1"),
    (HEADER + "head,0,1,2,1,1\n", "two pixels or more"),
  ],
)
def test_mistakes_are_named(tmp_path, text, found):
  path = tmp_path / "rois.csv"
  path.write_text(text)
  with pytest.raises(UserError) as caught:
    roi_file.read(path, SHAPES)
  assert found in str(caught.value)
  assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(UserError, match=r"none\.csv"):
    roi_file.read(tmp_path / "none.csv", SHAPES)

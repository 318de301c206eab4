"""The slices of the page: their choice, their pictures, the page without a script."""

import dataclasses
import io
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from helpers.measured import BARE, make_input, measure
from PIL import Image

from kdmri_jax import report
from kdmri_jax.errors import UserError
from kdmri_jax.io.h5 import write_h5
from kdmri_jax.report import shown_slices, viewer
from kdmri_jax.report.figures import style


def test_slices_at_equal_distances_and_the_worst_one():
  tables = measure(("zero_filled", "kd"), subjects=10)  # of two slices each
  chosen = shown_slices.choose(tables, "kdmri", None)
  places = [(record["volume"], record["slice"]) for record in chosen]
  assert places == [
    *(("v0", 1), ("v1", 1), ("v3", 0), ("v4", 0)),
    *(("v5", 1), ("v6", 1), ("v8", 0), ("v9", 0)),
  ]
  own = [r for r in tables.slices if r["protocol"] == "kdmri" and r["model"] == "kd"]
  worst = min(own, key=lambda record: record["psnr"])
  chosen = shown_slices.choose(tables, "kdmri", None, "kd")
  assert len(chosen) == shown_slices.MOST
  (found,) = (record for record in chosen if record["why"])
  assert found == {**worst, "why": "lowest PSNR of kd"}


def test_slices_without_signal_are_not_chosen():
  tables = measure(("zero_filled", "kd"), subjects=2)
  for record in tables.slices:
    if record["volume"] == "v0":
      record["psnr"] = np.nan
  chosen = shown_slices.choose(tables, "kdmri", None, "kd")
  assert [(r["volume"], r["slice"]) for r in chosen] == [("v1", 0), ("v1", 1)]
  for record in tables.slices:
    record["psnr"] = np.nan
  assert shown_slices.choose(tables, "kdmri", None, "kd") == []


def test_slices_are_read_from_the_files(tmp_path):
  rng = np.random.default_rng(0)
  stored = {"targets": "target", "kd": "reconstruction"}
  images = {name: rng.random((3, 6, 5), np.float32) for name in stored}
  for name, key in stored.items():
    (tmp_path / name).mkdir()
    write_h5(tmp_path / name / "v0.h5", {key: images[name]})
  record = {"volume": "v0", "subject": "s0", "slice": 2, "why": ""}
  folders = {"kd": tmp_path / "kd"}
  (found,) = shown_slices.read([record], folders, tmp_path / "targets")
  np.testing.assert_array_equal(found.images["target"], images["targets"][2])
  np.testing.assert_array_equal(found.images["kd"], images["kd"][2])
  with pytest.raises(UserError, match=r"v1\.h5"):
    shown_slices.read([{**record, "volume": "v1"}], folders, tmp_path / "targets")


def pixels(layer):
  with Image.open(io.BytesIO(layer.png)) as image:
    assert image.mode == "L"
    return np.asarray(image)


def test_pictures_are_grey_values_of_images_and_errors():
  inputs = make_input()
  (block,) = viewer.blocks_of(inputs, {})
  assert [each.title for each in block.slices] == [
    "subject s0, volume v0, slice 1",
    "subject s1, volume v1, slice 2: lowest PSNR of kd",
  ]
  images = inputs.slices[0].images
  found = {layer.name: layer for layer in block.slices[0].pictures}
  errors = [f"error of {name}" for name in images if name != "target"]
  assert list(found) == [*images, *errors]
  white = np.percentile(images["target"], 99.7)
  expected = np.clip(images["kd"] / white, 0, 1) * 255
  assert abs(pixels(found["kd"]) - expected).max() <= 0.5 + 1e-4
  (perfect,) = (x for x in block.slices[1].pictures if x.name == "error of kd")
  assert not pixels(perfect).any()
  (record,) = (
    r
    for r in inputs.tables.slices
    if (r["model"], r["volume"], r["slice"]) == ("kd", "v0", 0)
    and r["protocol"] == "kdmri"
  )
  assert found["kd"].text == f"{record['psnr']:.2f} dB / {record['ssim']:.4f}"
  assert found["input"].text and not found["target"].text
  assert "that of lowest PSNR of kd" in block.caption


def test_pictures_are_bounded(monkeypatch):
  inputs = make_input()
  (slices,) = (block.slices for block in viewer.blocks_of(inputs, {}))
  size = sum(len(layer.png) for layer in slices[0].pictures)
  monkeypatch.setattr(viewer, "MOST_BYTES", size)
  (block,) = viewer.blocks_of(inputs, {})
  assert len(block.slices) == 1
  rng = np.random.default_rng(0)
  large = inputs.slices[0]._replace(
    images={name: rng.random((1300, 640)) for name in ("target", "input")}
  )
  (block,) = viewer.blocks_of(dataclasses.replace(inputs, slices=[large]), {})
  assert pixels(block.slices[0].pictures[1]).shape == (433, 213)
  assert "means over squares of 3 pixels" in block.caption


def test_the_page_shows_the_first_slice_without_a_script(tmp_path):
  inputs = make_input(**{**BARE, "slices": make_input().slices})
  text = report.write(tmp_path, inputs).read_text()
  slices = re.findall(r'<div class="slice"( hidden)?>', text)
  assert slices == ["", " hidden"]
  assert '<div class="controls" hidden>' in text  # until the script shows them
  assert 'type="range" class="which" min="1" max="2" value="1"' in text
  controls = text.partition('<div class="controls"')[2].partition("</div>\n<figcap")[0]
  labels = re.findall(r"<label>\w.*?</label>", controls, re.DOTALL)
  assert len(labels) == len(re.findall(r"<(?:input|select)", controls)) == 4
  assert "<output" not in "".join(labels)  # a label names its first control
  style_sheet = text.partition("<style>")[2].partition("</style>")[0]
  assert ":focus-visible" in style_sheet
  of_print = style_sheet.partition("@media print")[2]
  assert ".controls" in of_print.partition("display: none")[0]
  assert re.search(r"@media screen \{\s*\.live \.slices \{ display: none", style_sheet)
  markdown = (tmp_path / "report.md").read_text()
  assert "shows 2 slices to compare" in markdown


def test_a_report_without_slices_has_no_viewer(tmp_path):
  text = report.write(tmp_path, make_input(**BARE)).read_text()
  assert '<figure class="viewer"' not in text and "<script>" not in text


_DRAW = """
import hashlib
from kdmri_jax.report import figures
epoch = {"epoch": 1, "train": {"loss": 0.2}, "validation": {"loss": 0.3, "psnr": 21.0}}
figure = figures.learning_curves({"kd": [[epoch]]})
digest = hashlib.sha256(figures.pdf(figure)).hexdigest()
"""


def test_a_pdf_has_the_same_bytes_in_every_process(monkeypatch):
  monkeypatch.setenv("PYTHONHASHSEED", "7")
  root = pathlib.Path(report.__file__).parents[2]
  command = [sys.executable, "-c", f"{_DRAW}print(digest)"]
  found = subprocess.run(command, capture_output=True, check=True, cwd=root, text=True)
  here = {}
  exec(_DRAW, here)
  assert found.stdout.strip() == here["digest"]


def test_a_pdf_holds_text_and_neither_date_nor_program():
  figure = style.new_figure(2, 2)
  figure.add_subplot().imshow(np.eye(3))
  content = style.pdf(figure)
  assert content.startswith(b"%PDF") and b"/FontFile2" in content
  assert b"CreationDate" not in content and b"atplotlib" not in content

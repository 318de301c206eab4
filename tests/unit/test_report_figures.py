"""Figures show the data they are given: read back from the pixels."""

import re
from importlib import resources

import matplotlib
import numpy as np
import pytest
from helpers.measured import make_records, normal, seeded
from matplotlib import image as image_lib

from kdmri_jax.metrics import METRICS
from kdmri_jax.report import figures, gradient_audit, networks, paired, wording
from kdmri_jax.report.figures import style
from kdmri_jax.report.figures.grid import Grid
from kdmri_jax.report.figures.images import interesting_box
from kdmri_jax.report.inputs import events

SHOWN = (METRICS["psnr"], METRICS["ssim"])


@pytest.fixture
def images():
  rng = np.random.default_rng(0)
  target = np.zeros((40, 48))
  target[8:32, 10:40] = rng.random((24, 30))
  noisy = {
    n: target + s * rng.standard_normal(target.shape)
    for n, s in (("input", 0.2), ("teacher", 0.02), ("student", 0.05), ("kd", 0.04))
  }
  return {"input": noisy.pop("input"), "target": target, **noisy}


def pixels(figure, tmp_path):
  """The colours of a figure's PNG."""
  return image_lib.imread(figures.save(figure, tmp_path / "figure.png"))[..., :3]


def epochs(count, best=2):
  return [
    {
      "epoch": index + 1,
      "train": {"loss": 1 / (index + 1)},
      "validation": {"loss": 1.1 / (index + 1), "psnr": 20.0 + index},
      "best": index <= best,
    }
    for index in range(count)
  ]


def test_comparison_shows_every_pixel_of_the_target(images, tmp_path):
  figure = figures.comparison(images, metrics=SHOWN)
  grid = Grid((40, 48), 5, (None, 1, None), (0.14, 0.14, 0.04))
  left, top = grid.corner(0, 1)
  zoom = grid.width // 48
  shown = pixels(figure, tmp_path)[top : top + 40 * zoom, left : left + grid.width]
  centres = shown[zoom // 2 :: zoom, zoom // 2 :: zoom]
  target = images["target"]
  expected = np.clip(target / np.percentile(target, 99.7), 0, 1)
  grey = np.ptp(centres, axis=-1) == 0  # all but the yellow box
  assert grey.mean() > 0.9
  np.testing.assert_allclose(centres[grey][:, 0], expected[grey], atol=0.01)


def test_comparison_leaves_its_input_and_the_global_style_alone(images, tmp_path):
  before = {name: image.copy() for name, image in images.items()}
  style = dict(matplotlib.rcParams)
  figure = figures.comparison(images, metrics=SHOWN, data_range=1.0)
  figures.save(figure, tmp_path / "c.png")
  for name, image in images.items():
    np.testing.assert_array_equal(image, before[name])
  assert dict(matplotlib.rcParams) == style
  assert [path.name for path in tmp_path.iterdir()] == ["c.png"]


def test_comparison_of_perfect_images(images, tmp_path):
  target = images["target"]
  figure = figures.comparison({"target": target, "kd": target}, metrics=SHOWN)
  assert pixels(figure, tmp_path).shape[1] > 2 * 400


def test_comparison_of_an_empty_slice_has_no_numbers(images, monkeypatch):
  written = []
  monkeypatch.setattr(Grid, "caption", lambda *args: written.append(args[-1]))
  empty = {name: 0 * image for name, image in images.items()}
  noisy = empty | {"kd": images["kd"]}
  for shown in (empty, noisy):
    figures.comparison(shown, metrics=SHOWN)
  assert set(written) == {"PSNR / SSIM", "no signal"}


def test_interesting_box_finds_the_structure():
  image = np.zeros((60, 80))
  image[30:46, 50:66] = np.indices((16, 16)).sum(0) % 2  # a checkerboard
  top, left, side = interesting_box(image, 16)
  assert abs(top - 30) <= 2 and abs(left - 50) <= 2 and side == 16


def test_interesting_box_keeps_away_from_the_border():
  image = np.random.default_rng(0).random((64, 64))
  image[8:-8, 8:-8] = 0.5
  top, left, side = interesting_box(image, 20)
  assert top >= 8 and left >= 8 and top + side <= 56 and left + side <= 56


def test_attention_maps_of_equal_models_have_no_residue(tmp_path):
  maps = np.random.default_rng(0).random((2, 30, 30))
  shown = {"teacher": maps, "kd": 3 * maps}  # equal up to scale
  drawn = pixels(figures.attention_maps(shown), tmp_path)
  grid = Grid(
    (30, 30), 2, [None] * 3, [0.14, 0.04, 0.07], left=0.24, right=0.65, panel=260
  )
  left, top = grid.corner(2, 1)
  residue = drawn[top : top + grid.width, left : left + grid.width]
  lower = residue[grid.width // 3 :]  # below the written norm
  assert np.ptp(lower.reshape(-1, 3), axis=0).max() == 0
  left, top = grid.corner(1, 1)
  assert drawn[top : top + grid.width, left : left + grid.width].std() > 0.05


def test_attention_maps_of_the_teacher_alone(tmp_path):
  maps = np.random.default_rng(0).random((3, 20, 30))
  assert pixels(figures.attention_maps({"teacher": maps}), tmp_path).std() > 0.05


def test_mask_has_zero_frequency_at_the_centre(tmp_path):
  sampling = np.zeros((16, 16))
  sampling[0] = 1
  shown = pixels(figures.mask(sampling), tmp_path)
  grid = Grid((16, 16), 1, (None,), (0.04,), left=0.13, bottom=0.13)
  left, top = grid.corner(0, 0)
  zoom = grid.width // 16
  column = shown[top + zoom // 2 : top + grid.width : zoom, left + grid.width // 2, 0]
  np.testing.assert_array_equal(column, np.eye(16)[8])


@pytest.mark.parametrize("count", [1, 2, 40])
def test_learning_curves(tmp_path, count):
  runs = [epochs(count)]
  one = figures.learning_curves({"kd": runs})
  two = figures.learning_curves({"teacher": runs, "kd": runs})
  assert pixels(two, tmp_path).shape[1] > 1.5 * pixels(one, tmp_path).shape[1]


def test_learning_curves_of_unusual_values(tmp_path):
  lines = epochs(4)
  lines[1]["validation"]["psnr"] = float("nan")
  lines[2]["train"]["loss"] = 0.0
  for line in lines:
    line["best"] = False
  figures.save(figures.learning_curves({"kd": [lines]}), tmp_path / "l.png")


def test_only_stages_and_seeds_with_an_epoch_are_drawn():
  line = {"event": "epoch", "epoch": 1}
  histories = {"teacher": [[{"event": "start"}, line], []], "feature": [[]]}
  assert events(histories, "epoch") == {"teacher": [[line]]}


@pytest.mark.parametrize("subjects", [1, 8])
def test_differences(tmp_path, subjects):
  base = normal(30, 1, subjects, 0)
  records = make_records({"kd": base + 1, "student": base, "teacher": base + 2})
  pairs = [
    paired.paired(records, a, b, metric)
    for metric in ("psnr", "ssim")
    for a, b in (("kd", "student"), ("kd", "teacher"))
  ]
  shown = pixels(figures.differences(pairs, metrics=METRICS), tmp_path)
  green = (abs(shown - np.array([0, 158, 115]) / 255).max(axis=-1) < 0.35) & (
    shown[..., 1] > shown[..., 0] + 0.2
  )
  assert green.sum() > 8 * subjects  # the dots, in the colour of kd


def test_colours_are_distinct_and_fixed():
  names = ["teacher", "student", "kd", "feature", "input", "target", "fsp", "ahead"]
  found = figures.colours(names)
  assert len(set(found.values())) == len(names)
  assert figures.colours(["kd"])["kd"] == found["kd"]


def test_twelve_pairs_of_differences_stay_apart(tmp_path):
  base = normal(30, 1, 8, 0)
  records = make_records({"kd": base + 1, "student": base})
  pair = paired.paired(records, "kd", "student", "psnr")
  figure = figures.differences([pair] * 12, metrics=METRICS)
  height, *_ = pixels(figure, tmp_path).shape
  assert 12 * 85 <= height <= 12 * 120


def test_differences_mark_the_seeds(tmp_path):
  base = normal(30, 1, (3, 8), 0)
  records = seeded({"kd": base + np.array([[1], [2], [6]]), "student": base})
  pair = paired.paired(records, "kd", "student", "psnr")
  red = {"kd": "#ff0000"}
  figure = figures.differences([pair], metrics=METRICS, colours=red)
  shown = pixels(figure, tmp_path)
  ticks = (shown[..., 0] > 0.9) & (shown[..., 1:].max(axis=-1) < 0.1)
  columns = np.flatnonzero(ticks.sum(axis=0) >= 10)
  starts = columns[np.flatnonzero(np.diff(columns, prepend=-9) > 1)]
  assert len(starts) == 3
  first, second = np.diff(starts)
  assert second / first == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("seeds", [1, 3])
def test_audit_draws_share_above_cosine(tmp_path, seeds):
  terms = {"reconstruction": (1.0, 1.0), "imitation": (0.0, -1.0)}
  values = {t: {"value": 1.0, "share": s, "cosine": c} for t, (s, c) in terms.items()}
  lines = [{"step": step, "terms": values} for step in (0, 100, 200)]
  shown = pixels(figures.audit({"kd": [lines] * seeds}), tmp_path)
  blue, red = (
    abs(shown - np.array(colour) / 255).max(axis=-1) < 0.05
    for colour in ((0, 114, 178), (213, 94, 0))
  )
  half = len(shown) // 2
  for part in (slice(0, half), slice(half, None)):
    rows = [np.argmax(colour[part].sum(axis=1)) for colour in (blue, red)]
    assert rows[0] < rows[1]


@pytest.mark.parametrize("left", [0, 2])
def test_gradients_that_are_not_finite_leave_gaps(tmp_path, left):
  """As logged in the step before a training failed."""
  bad = {"value": np.inf, "share": np.nan, "cosine": np.nan}
  good = {"value": 1.0, "share": 0.5, "cosine": 1.0}
  lines = [{"step": s, "terms": {"l1": good if s < left else bad}} for s in range(3)]
  pixels(figures.audit({"kd": [lines]}), tmp_path)
  (entry,) = gradient_audit.summarise({"kd": [lines]})
  table = networks.audit([entry])[2]
  dash = wording.ABSENT
  cells = ("50.0%", "50.0% to 50.0%", "1.00")
  cells = cells if left else (dash, f"{dash} to {dash}", dash)
  assert table.rows == [("kd: l1", *cells, "3")]
  assert not entry["absent"]


def test_audit_and_curves_wrap_after_four_stages(tmp_path):
  runs = {f"stage_{i}": [epochs(3), epochs(2)] for i in range(8)}
  shape = pixels(figures.learning_curves(runs), tmp_path).shape
  one = pixels(figures.learning_curves({"kd": [epochs(3)]}), tmp_path).shape
  assert shape[0] == 2 * one[0] and shape[1] < 5 * one[1]


@pytest.mark.parametrize("name", ["teacher", "student", "kd", "feature", "input"])
def test_text_in_the_colour_of_a_network_is_readable(name):
  (colour,) = figures.colours([name]).values()
  shade = style.for_text(colour)
  assert style.contrast(shade) >= 4.5
  assert shade == colour.lower() or style.contrast(colour) < 4.5
  figure = figures.learning_curves({name: [epochs(3)]})
  titles = [axes.title for axes in figure.axes if axes.get_title()]
  texts = [*titles, *(axes.xaxis.label for axes in figure.axes)]
  assert all(style.contrast(text.get_color()) >= 4.5 for text in texts)


@pytest.mark.parametrize(("colour", "value"), [("#000000", 21), ("#767676", 4.54)])
def test_contrast_is_that_of_the_guidelines(colour, value):
  assert style.contrast(colour) == pytest.approx(value, abs=0.01)
  assert style.contrast("#ffffff", colour) == style.contrast(colour)


@pytest.mark.parametrize("fall", [1.5, 3, 10, 1000])
def test_a_loss_has_ticks_to_read_it_by(fall):
  lines = epochs(9)
  for index, line in enumerate(lines):
    line["train"]["loss"] = line["validation"]["loss"] = 0.02 * fall ** (-index / 8)
  figure = figures.learning_curves({"kd": [lines]})
  low, high = figure.axes[0].get_ylim()
  figure.canvas.draw()
  ticks = [t for t in figure.axes[0].get_yticks() if low <= t <= high]
  assert 3 <= len(ticks) <= 14


def test_the_page_is_readable_in_both_schemes():
  """Text of the page on every ground that it has."""
  text = resources.files("kdmri_jax.report").joinpath("templates/style.css").read_text()
  light, dark, printed = re.findall(r":root \{(.*?)\}", text, re.S)
  for scheme in (light, dark, printed):
    named = dict(re.findall(r"--([\w-]+): (#\w{6})", scheme))
    for ink, ground in (
      *(("ink", ground) for ground in ("paper", "wash", "best", "warn")),
      *(("quiet", ground) for ground in ("paper", "wash")),
      ("link", "paper"),
    ):
      assert style.contrast(named[ink], named[ground]) >= 4.5, (ink, ground, named)

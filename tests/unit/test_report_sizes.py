"""Image quality against size: the front, the picture and the table."""

import numpy as np
import pytest
from helpers.measured import BARE, load, make_input, measure

from kdmri_jax import report
from kdmri_jax.metrics import METRICS
from kdmri_jax.report import figures, sizes

NETWORKS = ("teacher", "student", "kd", "shared", "narrow")
PARAMETERS = dict(zip(NETWORKS, (141765, 49285, 49285, 9857, 45725), strict=True))
WORK = dict(zip(NETWORKS, (1300, 450, 450, 900, 420), strict=True))
QUALITY = dict(zip(NETWORKS, (31.0, 30.0, 30.2, 30.1, 29.0), strict=True))


def summarise(parameters=PARAMETERS, times=None, metric="psnr", quality=QUALITY):
  rows = [
    {"model": n, "parameters": parameters[n], metric: {"mean": quality[n]}}
    for n in NETWORKS
  ]
  rows.append({"model": "zero_filled", "parameters": None, metric: {"mean": 25.0}})
  timing = [{"model": n, "mean": t} for n, t in (times or {}).items()]
  work = {name: 1_000_000 * count for name, count in WORK.items()}
  return sizes.summary(rows, work, timing, {metric: METRICS[metric]})


def front(entries, axis):
  return {entry["model"] for entry in entries if axis in entry["front"]}


def test_the_front_has_the_networks_that_none_surpasses():
  entries = summarise(times={"teacher": 0.04, "student": 0.02, "kd": 0.02})
  assert [entry["model"] for entry in entries] == list(NETWORKS)
  assert front(entries, "parameters") == {"teacher", "kd", "shared"}
  assert front(entries, "multiplications") == {"teacher", "kd", "narrow"}
  assert front(entries, "seconds") == {"teacher", "kd"}
  alike = summarise(quality={**QUALITY, "kd": 30.0, "shared": 28.0})
  assert front(alike, "multiplications") == {"teacher", "student", "kd", "narrow"}


def test_a_lower_value_may_be_better():
  quality = {name: -value for name, value in QUALITY.items()}
  entries = summarise(metric="nmse", quality=quality)
  assert front(entries, "parameters") == {"teacher", "kd", "shared"}


def test_two_sizes_are_too_few():
  two = {**dict.fromkeys(NETWORKS, 49285), "teacher": 141765}
  rows = [{"model": n, "parameters": two[n], "psnr": {"mean": 30.0}} for n in NETWORKS]
  assert sizes.summary(rows, {}, [], {"psnr": METRICS["psnr"]}) == []
  assert len(sizes.summary(rows, WORK, [], {"psnr": METRICS["psnr"]})) == 5


@pytest.mark.parametrize("times", [{}, {"teacher": 0.04, "student": 0.021}])
def test_the_picture_has_a_panel_for_each_known_size(times):
  figure = figures.sizes(summarise(times=times), metric=METRICS["psnr"])
  panels = figure.axes
  assert len(panels) == 2 + bool(times)
  drawn = {tuple(np.ravel(line.get_data())) for line in panels[0].lines[1:]}
  assert drawn == {(PARAMETERS[n] / 1e3, QUALITY[n]) for n in NETWORKS}
  line = panels[0].lines[0]
  np.testing.assert_allclose(line.get_xdata(), [9.857, 49.285, 141.765])
  np.testing.assert_allclose(line.get_ydata(), [30.1, 30.2, 31.0])


def test_the_report_shows_picture_and_table(tmp_path):
  work = {"teacher": 27_095_040, "student": 9_400_320, "kd": 18_800_640}
  tables = measure(("zero_filled", *work))
  inputs = make_input(tables=tables, multiplications=work, **BARE)
  folder = report.write(tmp_path / "report", inputs).parent
  assert not inputs.parts.failed
  assert (folder / "figures" / "sizes.png").is_file()
  section = (folder / "report.md").read_text().partition("against size")[2]
  assert "\n| kd | 49.3 | 18.8 | " in section
  assert [entry["model"] for entry in load(folder)["sizes"]] == list(work)
  without = report.write(tmp_path / "two", make_input(**BARE)).parent
  assert "against size" not in (without / "report.md").read_text()

"""The table of results for a paper."""

import csv
import pathlib
import re

import pytest
from helpers.measured import BARE, OFFSETS, load, make_input

import kdmri_jax
from kdmri_jax import report
from kdmri_jax.metrics import METRICS
from kdmri_jax.report import paper, references


def test_the_tables_hold_the_rows_of_the_report(tmp_path):
  report.write(tmp_path / "report", make_input(**BARE))
  rows = load(tmp_path / "report")["rows"]
  with (tmp_path / "report" / "table.csv").open() as file:
    table = list(csv.DictReader(file))
  latex = (tmp_path / "report" / "table.tex").read_text()
  assert [each["model"] for each in table] == list(OFFSETS)
  assert [each["parameters"] for each in table] == ["", "141765", "49285", "49285"]
  for row, each in zip(rows, table, strict=True):
    for name, metric in METRICS.items():
      if metric.shown != "stored":
        for kind in ("mean", "sd"):
          text = f"{row[name][kind]:.{metric.decimals}f}"
          assert each[f"{metric.label} {kind}"] == text and text in latex
  assert r"zero\_filled & --" in latex and r"\textbf{kd} & \textbf{49,285}" in latex
  (header,) = (line for line in latex.splitlines() if line.startswith("model"))
  columns = latex.partition(r"\begin{tabular}{")[2].partition("}")[0]
  assert len(columns) == header.count("&") + 1


def test_the_references_are_those_of_the_citation_file():
  citation = pathlib.Path(__file__).parents[2] / "CITATION.cff"
  cited = ["kdmri_jax", "murugesan2020kdmri", "gayathri2023sft"]
  bibtex = references.bibtex(cited)
  for character, plain in (("{", ""), ("}", ""), ("\\_", "_")):
    bibtex = bibtex.replace(character, plain)
  known = " ".join(citation.read_text().split())
  assert f"version = {kdmri_jax.__version__}" in bibtex and "VERSION" not in bibtex
  found = re.findall(r"(?<!book)title = (.*),\n", bibtex)
  assert len(found) == 3
  assert all(title in known for title in found[1:])
  for author in ("Murugesan, Balamurali", "Gayathri, Matcha Naga"):
    family, given = author.split(", ")
    assert f"family-names: {family} given-names: {given}" in known and author in bibtex
  for url in re.findall(r"url = (.*)\n", bibtex):
    assert f"url: {url}" in known


@pytest.mark.parametrize(
  ("value", "plain", "latex"), [(None, "", "--"), (float("inf"), "inf", r"$\infty$")]
)
def test_values_that_are_no_numbers(value, plain, latex):
  rows = report.analyse(make_input(**BARE))["rows"][-1:]
  rows[0]["psnr"] |= {"mean": value, "sd": None}
  (record,) = paper.records(rows, METRICS)
  assert (record["PSNR, dB mean"], record["PSNR, dB sd"]) == (plain, "")
  assert f"49,285 & {latex} &" in paper.latex(rows, METRICS, None)

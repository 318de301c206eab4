"""The formats that texts name are those that the commands read."""

import ast
import pathlib
import re

from kdmri_jax.io import volume_files

ROOT = pathlib.Path(__file__).parents[2]


def test_the_texts_name_every_format():
  page = (ROOT / "docs" / "data.md").read_text()
  (told,) = re.findall(
    r"^`kdmri evaluate` compares folders of (.*?)images", page, re.S | re.M
  )
  program = ast.parse((ROOT / "scripts" / "evaluate.py").read_text())
  (of_help,) = re.findall(r"\((\.h5.*?)\)", ast.get_docstring(program), re.S)
  for text in (told, of_help):
    assert set(re.findall(r"\.\w+(?:\.gz)?", text)) == set(volume_files.FORMATS)

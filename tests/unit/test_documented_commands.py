"""Every command of the pages and of --help: its flags and its config are read."""

import ast
import pathlib
import re
import shlex

import pytest
from absl import flags
from helpers.commands import parsing

from kdmri_jax import config as config_lib

ROOT = pathlib.Path(__file__).parents[2]
PAGES = (
  *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
  *sorted((ROOT / "docs").glob("*.md")),
)
PROGRAMS = (*ROOT.glob("scripts/*.py"), *ROOT.glob("experiments/*.py"))

# Variables of the loops in the pages.
SHELL = {"$((100 - alpha))": "25", "$alpha": "75"}

# An experiment that a page has the reader write, or name, is read as this one.
OWN_FILE, SHIPPED = re.compile(r"--config=(\w+\.py|NAME\b)"), "--config=own"


def commands(text, is_page):
  """The lines `kdmri NAME --FLAG ...` of a text, as one line each."""
  if is_page:
    inline = re.findall(r"`(kdmri \w+ --[^`]+)`", text)
    settings = re.findall(r"`(--config\.(?!KEY)[^`]+=[^`]+)`", text)
    inline += [f"kdmri run {SHIPPED} --workdir=runs {each}" for each in settings]
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.S | re.M)
    text = "\n".join([own for kind, own in blocks if kind != "python"] + inline)
  text = re.sub(r"\\+\n\s*", " ", text)
  before = r"\s*(?:\S+=\S+ |taskset -c \d |\S+/)*"
  for line in text.splitlines():
    if found := re.match(rf"{before}(kdmri (?:masks|\w+ -).*)", line):
      yield found[1]


FOUND = sorted(
  {
    (path.name, command)
    for paths, is_page in ((PAGES, True), (PROGRAMS, False))
    for path in paths
    for command in commands(
      path.read_text() if is_page else ast.get_docstring(ast.parse(path.read_text())),
      is_page,
    )
  }
)


def test_all_kinds_of_commands_are_found():
  assert {name for name, _ in FOUND} >= {"README.md", "runs.md", "run.py", "demo.py"}
  assert {shlex.split(line)[1] for _, line in FOUND} >= {"run", "evaluate", "masks"}
  assert len(FOUND) > 60


@pytest.mark.parametrize(("page", "line"), FOUND)
def test_a_command_is_read(page, line):
  for name, value in SHELL.items():
    line = line.replace(name, value)
  line = re.sub(r"=[NK]\b", "=1", line)  # a number of the reader's
  line = OWN_FILE.sub(SHIPPED, line.replace("=(0,0)", "='(0,0)'"))
  words = shlex.split(line.partition(" > ")[0], comments=True)
  with parsing(words) as parse:
    try:
      assert not parse() or words[1] == "masks", "an argument that is no flag"
    except flags.IllegalFlagValueError as error:  # a page may omit what must be given
      if "must have a value other" not in str(error):
        raise
    config = "config" in flags.FLAGS and flags.FLAGS["config"].value
    if config:
      config = config_lib.parse(config.to_dict())
    if words[1] == "run" and flags.FLAGS["stages"].value:
      check_stages(config, flags.FLAGS["stages"].value)


def check_stages(config, names):
  """The stages can be trained where there is nothing but those that are given."""
  assert set(names) <= set(config.pipeline)
  needed = config.with_sources(names, lambda name: bool(config.stages[name].given))
  given = [name for name in needed if config.stages[name].given]
  assert set(needed) <= {*names, *given}

"""docs/promises.md: every promise names tests that exist."""

import ast
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
PAGE = (ROOT / "docs/promises.md").read_text()
TEST = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


def promises():
  """The items of all lists but the last section's."""
  kept, _, _ = PAGE.partition("## What is not promised")
  return re.findall(r"^- (?:.|\n(?!- |\n))+", kept, re.MULTILINE)


def test_every_promise_has_a_test():
  assert len(promises()) > 15
  for promise in promises():
    assert TEST.search(promise), promise


def test_every_named_test_exists():
  files = {path.name: path for path in (ROOT / "tests").rglob("test_*.py")}
  for file, name in TEST.findall(PAGE):
    nodes = ast.walk(ast.parse(files[file].read_text()))
    assert name in {getattr(node, "name", "") for node in nodes}, f"{file}::{name}"

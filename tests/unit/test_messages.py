"""Every message of the package: complete, useful, and in the words of its room."""

import ast
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
LIBRARY = ("physics", "models", "losses", "distillation", "ops", "metrics")
LIBRARY += ("statistics", "io")

# A remedy that says no more than that something is wrong.
EMPTY = re.compile(
  r"(Correct|Mend|Change|Fix|Choose)( (it|them|one|another( one)?"
  r"|the (name|names|value|setting|path|file|layer's name)|this setting))?\."
)


def messages():
  """Place, kind and arguments (where, found, expected, remedy) of every error."""
  folders = (ROOT / "kdmri_jax", ROOT / "scripts", ROOT / "experiments")
  for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
    for node in ast.walk(ast.parse(path.read_text())):
      name = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
      if name in ("UserError", "ArgumentError"):
        yield f"{path.relative_to(ROOT)}:{node.lineno}", node.args


def texts(node):
  """The literal text in an expression, part by part."""
  return [
    part.value
    for part in ast.walk(node)
    if isinstance(part, ast.Constant) and isinstance(part.value, str)
  ]


def test_every_message_says_what_was_found_and_expected():
  count = 0
  for place, arguments in messages():
    count += 1
    for argument in arguments[:3]:
      empty = isinstance(argument, ast.Constant) and argument.value == ""
      assert not empty, place
  assert count > 150


def test_no_remedy_says_only_that_something_is_wrong():
  for place, arguments in messages():
    for text in [text for argument in arguments[3:] for text in texts(argument)]:
      assert not EMPTY.fullmatch(text.strip()), f"{place}: {text}"


def test_library_rooms_know_neither_config_keys_nor_flags():
  for place, arguments in messages():
    if place.split("/")[1] in LIBRARY:
      for text in [text for argument in arguments for text in texts(argument)]:
        known = re.search(r"--\w|\bconfig\.", text)
        assert not known, f"{place}: {text}"


def test_library_rooms_name_no_config_key_to_their_errors():
  for room in LIBRARY:
    for path in (ROOT / "kdmri_jax" / room).rglob("*.py"):
      assert 'arguments_of("config.' not in path.read_text(), path
      assert 'arguments_of(f"config.' not in path.read_text(), path

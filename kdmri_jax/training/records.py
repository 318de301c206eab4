"""Reads and writes the JSON files of a run."""

import json
import pathlib
from typing import Any

from kdmri_jax.errors import UserError
from kdmri_jax.saving import replacing, saving


def read(path: pathlib.Path, remedy: str, needed: str = "") -> dict[str, Any]:
  """The object in a file.

  Args:
    path: the file.
    remedy: how to resolve it where there is none.
    needed: a key that the object must have.

  Raises:
    UserError: there is no such file, or it holds something else.
  """
  try:
    found = dict(json.loads(path.read_text()))
    if needed and needed not in found:
      raise ValueError(f"no {needed!r} in it")
    return found
  except (OSError, ValueError, TypeError) as error:
    expected = "the JSON file that a run wrote"
    raise UserError(path, f"no readable record ({error})", expected, remedy) from error


def write(path: pathlib.Path, value: Any) -> None:
  """Writes a value; creates the folder.

  Raises:
    UserError: it cannot be written; the file is then as it was.
  """
  with saving(path.parent):
    path.parent.mkdir(parents=True, exist_ok=True)
  with replacing(path) as temporary:
    temporary.write_text(json.dumps(value, indent=2) + "\n")

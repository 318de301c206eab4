"""Errors that a user can resolve."""

import contextlib
from collections.abc import Iterator


class UserError(Exception):
  """Bad input that the user can correct; commands print it as one paragraph.

  Nothing has been overwritten when it is raised. Line breaks in messages of libraries
  become spaces.

  Args:
    where: the file, folder, argument, config key or flag.
    found: what is wrong there.
    expected: a correct value.
    remedy: how to resolve it; "" where `expected` already says it.
  """

  def __init__(self, where: object, found: str, expected: str, remedy: str = ""):
    self.where, self.found, self.expected, self.remedy = where, found, expected, remedy
    text = f"{where}: found {found}; expected {expected}. {remedy}"
    lines = (line.strip() for line in text.splitlines())
    super().__init__(" ".join(line for line in lines if line))

  def __reduce__(self):
    return type(self), (str(self.where), self.found, self.expected, self.remedy)


class ArgumentError(UserError, ValueError):
  """A library function was given a bad argument; `where` is the argument's name.

  A caller that fills arguments from a config or from flags names these: see
  `arguments_of`.
  """


@contextlib.contextmanager
def arguments_of(prefix: str) -> Iterator[None]:
  """Names the arguments of the calls inside as the user wrote them.

  Args:
    prefix: precedes an argument's name: "config.mask." makes "acceleration" the key
      "config.mask.acceleration", "--" makes it a flag. Another one, such as "mask.", is
      a part of the name, which the caller's prefix precedes.

  Raises:
    UserError: in place of an `ArgumentError`; it is an `ArgumentError` again where the
      prefix is a part of the name.
  """
  whole = prefix.startswith(("config.", "--"))
  try:
    yield
  except ArgumentError as error:
    kind = UserError if whole else ArgumentError
    where = f"{prefix}{error.where}"
    raise kind(where, error.found, error.expected, error.remedy) from error


class Interrupted(Exception):
  """A signal stopped the run after its state was saved.

  Args:
    signal_number: the signal, so that the exit status can be 128 + signal.
    message: what was saved, and how to continue.
  """

  def __init__(self, signal_number: int, message: str):
    self.signal_number = signal_number
    super().__init__(message)

  def __reduce__(self):
    return type(self), (self.signal_number, *self.args)

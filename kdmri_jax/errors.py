"""The errors that tell a user what to do."""


class UserError(Exception):
  """Bad input that the user can mend; scripts print it as one paragraph.

  Say it in this order: the file or setting, what was found, what was expected
  and what to do. Nothing has been overwritten when it is raised. Line breaks in what a
  library says become spaces.

  Args:
    where: the file, folder or config key.
    found: what is wrong there.
    expected: what would have been right.
    remedy: what the user can do.
  """

  def __init__(self, where, found: str, expected: str, remedy: str):
    self.where, self.found, self.expected, self.remedy = where, found, expected, remedy
    text = f"{where}: found {found}; expected {expected}. {remedy}"
    lines = (line.strip() for line in text.splitlines())
    super().__init__(" ".join(line for line in lines if line))


class Interrupted(Exception):
  """A signal stopped the run after its state was saved.

  Args:
    signal_number: the signal, so that the exit status can be 128 + signal.
    message: what was saved and how to go on.
  """

  def __init__(self, signal_number: int, message: str):
    self.signal_number = signal_number
    super().__init__(message)

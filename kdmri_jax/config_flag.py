"""The flag --config: a shipped experiment by its name, or a file with get_config()."""

import pathlib

from absl import flags
from ml_collections import ConfigDict, config_flags

from kdmri_jax.config import complete
from kdmri_jax.errors import ArgumentError, UserError, arguments_of
from kdmri_jax.lookup import suggestion

_SHIPPED = pathlib.Path(__file__).parent / "experiments"

flags.disclaim_key_flags()  # the flag belongs to the script that defines it


def define(default: str | None = None, *, purpose: str) -> flags.FlagHolder:
  """Defines --config, and --config.key=value for each of its settings.

  Args:
    default: a shipped experiment; None makes the flag required.
    purpose: what the command does with the experiment, for --help.

  Returns:
    The flag; its value is the experiment's `ConfigDict`.
  """
  holder = config_flags.DEFINE_config_file(
    "config",
    default and str(experiment_file(default)),
    f"{purpose} A shipped experiment (demo, sft:acdc_small), or a file with "
    "get_config(); what follows a colon is its argument. --config.key=value changes "
    "a setting.",
    lock_config=True,
  )
  flag = flags.FLAGS["config"]
  flag.parser = _Parser(flag.parser)
  if default is None:
    flags.mark_flag_as_required("config")
  return holder


def experiment_file(name: str) -> pathlib.Path:
  """The file of an experiment.

  Args:
    name: of a shipped experiment, such as "demo"; or the path of a file, which ends in
      ".py" or names a folder.

  Returns:
    The path; that of a user's file as given, whether it exists or not.

  Raises:
    ArgumentError: no experiment of that name is shipped.
  """
  path = pathlib.Path(name)
  if path.suffix == ".py" or len(path.parts) > 1:
    return path
  shipped = _SHIPPED / f"{name}.py"
  if shipped.is_file():
    return shipped
  known = shipped_experiments()
  remedy = suggestion(name, known)
  if pathlib.Path(f"{name}.py").is_file():
    remedy = f"The file in this folder is {name}.py."
  expected = f"the path of a file .py, or one of {', '.join(known)}"
  raise ArgumentError("config", f"no such experiment {name!r}", expected, remedy)


def shipped_experiments() -> list[str]:
  """The names of the experiments that --config takes, in order."""
  paths = sorted(_SHIPPED.glob("[!_]*.py"))
  return [
    path.stem
    for path in paths
    if "\ndef get_config(" in path.read_text(encoding="utf-8")
  ]


class _Parser(flags.ArgumentParser):
  """Takes names of shipped experiments, too; adds the defaults of keys left out.

  It says at once which file has a mistake.

  Args:
    of_files: the parser of ml_collections.
  """

  def __init__(self, of_files: flags.ArgumentParser):
    self._of_files = of_files

  def parse(self, argument):
    name, colon, rest = argument.partition(":")
    where = f"--config={argument}"
    with arguments_of("--"):
      file = experiment_file(name)
    if not file.is_file():
      expected = "a Python file with get_config(), or the name of a shipped experiment"
      remedy = "`kdmri run --config=` lists these."
      raise UserError(where, "no such file", expected, remedy)
    config = self._of_files.parse(f"{file}{colon}{rest}")
    try:
      getattr(config, "lock", None)  # ml_collections keeps an OSError until now
    except OSError as error:
      found = f"a file that cannot be loaded ({error.__cause__})"
      raise UserError(where, found, "a Python file with get_config()") from error
    if isinstance(config, ConfigDict):
      complete(config)
    return config

  def flag_type(self):
    return self._of_files.flag_type()

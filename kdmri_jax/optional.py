"""Imports optional packages, which extras of the installation provide."""

import importlib
import types
from typing import Any

from kdmri_jax.errors import UserError


def require(
  module: str, extra: str, where: Any, purpose: str, otherwise: str = ""
) -> types.ModuleType:
  """Imports a module of an optional package.

  Args:
    module: its name, such as "nibabel".
    extra: the extra that brings the package, such as "data".
    where: the file or setting that needs it.
    purpose: the part of the error message that says what needs it.
    otherwise: an alternative for the user, such as ", or choose --format=h5".

  Raises:
    UserError: it is not installed.
  """
  try:
    return importlib.import_module(module)
  except ImportError as error:
    package = (error.name or module).partition(".")[0]
    found = f"{purpose}, but the package {package} is not installed"
    remedy = f"Install it with: pip install '.[{extra}]'{otherwise}."
    raise UserError(where, found, package, remedy) from error

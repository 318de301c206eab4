"""Settings that are given away: the names of files are left, their folders are not."""

import dataclasses
import pathlib
from typing import TypeVar

from kdmri_jax.config.setting import Settings, keys
from kdmri_jax.config.starting import PRETRAINED

Group = TypeVar("Group", bound=Settings)


def last_part(text: str, *, is_place: bool = False) -> str:
  """A value without folders: "pretrained:/path/NAME" is "pretrained:NAME".

  Args:
    text: the value.
    is_place: whether it is the place of a file or folder, of which the name is left.
  """
  if text.startswith(PRETRAINED):
    return PRETRAINED + pathlib.PurePath(text.removeprefix(PRETRAINED)).name
  return pathlib.PurePath(text).name if is_place else text


def without_folders(settings: Group) -> Group:
  """A group of settings with the last part alone of each file, folder or card."""
  found = {}
  for name, key in keys(type(settings)).items():
    value = getattr(settings, name)
    if key.group and key.is_named:
      found[name] = {k: without_folders(each) for k, each in value.items()}
    elif key.group:
      found[name] = without_folders(value)
    elif isinstance(value, str):
      found[name] = last_part(value, is_place=key.limits.place)
  return dataclasses.replace(settings, **found)

"""What a file of raw data says beside its arrays: an ISMRMRD header and attributes."""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import h5py
import numpy as np

from kdmri_jax.errors import UserError

_KEY = "ismrmrd_header"


class Header(NamedTuple):
  """Goes along with a volume into h5 files and nowhere else: it may name the patient.

  Attributes:
    text: XML of the ISMRMRD header; "" where there is none.
    attributes: those of the h5 file, as texts, numbers or lists of them.
  """

  text: str = ""
  attributes: Mapping[str, Any] = {}


NONE = Header()


def read(group: h5py.Group | None, path: pathlib.Path) -> Header:
  """The header of an open file of fastMRI, or of the group that `write` filled.

  Args:
    group: the file or group; what is none has no header.
    path: its file, for the message.

  Raises:
    UserError: `ismrmrd_header` is no text.
  """
  if not isinstance(group, h5py.Group):
    return NONE
  text = ""
  if _KEY in group:
    stored = group[_KEY]
    text = plain(stored[()]) if isinstance(stored, h5py.Dataset) else stored
  if not isinstance(text, str):
    raise UserError(
      path,
      f"{_KEY!r} that is no text",
      "the XML text of an ISMRMRD header",
      "Check that the file is one of fastMRI.",
    )
  return Header(text, {name: plain(value) for name, value in group.attrs.items()})


def write(group: h5py.Group, header: Header) -> None:
  """Writes a header as files of fastMRI have it: one dataset and the attributes."""
  if header.text:
    group[_KEY] = header.text
  for name, value in header.attributes.items():
    group.attrs[name] = value


def plain(value: Any) -> Any:
  """An attribute of h5 as JSON takes it."""
  if isinstance(value, bytes):
    return value.decode(errors="replace")
  if isinstance(value, np.generic | np.ndarray):
    return plain(value.item()) if value.size == 1 else value.tolist()
  return value if isinstance(value, str | int | float | bool) else str(value)

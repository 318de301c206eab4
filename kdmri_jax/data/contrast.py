"""The choice of a subject's image, where a source has several."""

from collections.abc import Iterable

from kdmri_jax.config import DataConfig
from kdmri_jax.errors import ArgumentError


def choose(
  config: DataConfig, usual: str, available: Iterable[str], where: object
) -> str:
  """The name of the image that `config.contrast` selects.

  Args:
    config: its contrast; "" takes the default.
    usual: the name of the source's default image.
    available: the names of the existing images.
    where: the folder or file that an error message names.

  Raises:
    ArgumentError: there is no such image; the message lists the existing ones.
  """
  name = config.contrast or usual
  available = list(available)
  if name not in available:
    found = f"{name!r}, of which there is no image in {where}"
    expected = f"one of {', '.join(available) or 'none'}; '' takes {usual}"
    raise ArgumentError("contrast", found, expected)
  return name

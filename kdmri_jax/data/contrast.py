"""Which image of a subject is read, where a source has several."""

from collections.abc import Iterable

from kdmri_jax.config import DataConfig
from kdmri_jax.errors import ArgumentError


def choose(
  config: DataConfig, usual: str, available: Iterable[str], where: object
) -> str:
  """The name of the image that `config.contrast` asks for.

  Args:
    config: its contrast; "" asks for the usual one.
    usual: the name of the image that the source reads unless told otherwise.
    available: the names of the images there are.
    where: the folder or file that an error message names.

  Raises:
    ArgumentError: there is no such image; the message lists those there are.
  """
  name = config.contrast or usual
  available = list(available)
  if name not in available:
    raise ArgumentError(
      "contrast",
      f"{name!r}, of which there is no image in {where}",
      f"one of those there, {', '.join(available) or 'none'}; '' asks for {usual}",
    )
  return name

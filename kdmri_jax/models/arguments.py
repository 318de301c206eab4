"""Checks of settings and images that several networks share."""

from collections.abc import Sequence

from kdmri_jax.types import Array


def check_image(image: Array, channels: int) -> None:
  """Raises ValueError unless the image is [B, H, W, channels]."""
  if image.ndim != 4 or image.shape[-1] != channels:
    raise ValueError(f"image has shape {image.shape}; expected [B, H, W, {channels}]")


def check_sizes(**sizes: int | Sequence[int]) -> None:
  """Raises ValueError unless each is a whole number of at least 1, or some of them."""
  for name, size in sizes.items():
    numbers = size if isinstance(size, Sequence) else (size,)
    if not numbers or not all(isinstance(n, int) and n >= 1 for n in numbers):
      raise ValueError(f"{name} {size!r}, not of whole numbers from 1 on")


def check_least(**numbers: float) -> None:
  """Raises ValueError unless each is a number of at least 0; infinity is allowed."""
  for name, number in numbers.items():
    if not number >= 0:
      raise ValueError(f"{name} {number!r}, not of at least 0")


def check_choice(name: str, value: object, choices: Sequence) -> None:
  """Raises ValueError unless the value is among the choices."""
  if value not in choices:
    raise ValueError(f"{name} {value!r}, none of {', '.join(map(repr, choices))}")


def check_mean(mean: Sequence[float], channels: int) -> None:
  """Raises ValueError unless there is a mean for each channel, or none."""
  if len(mean) not in (0, channels):
    raise ValueError(f"mean {mean!r} for {channels} channels")

"""Checks of settings and images that several networks share."""

from collections.abc import Collection, Sequence

from kdmri_jax.errors import ArgumentError
from kdmri_jax.lookup import suggestion
from kdmri_jax.types import Array


def check_image(image: Array, channels: int) -> None:
  """Raises ArgumentError unless the image is [B, H, W, channels]."""
  if image.ndim != 4 or image.shape[-1] != channels:
    raise ArgumentError("image", f"shape {image.shape}", f"[B, H, W, {channels}]")


def check_sizes(**sizes: int | Sequence[int]) -> None:
  """Raises ArgumentError unless each is a whole number from 1 on, or some of them."""
  for name, size in sizes.items():
    numbers = size if isinstance(size, Sequence) else (size,)
    if not numbers or not all(isinstance(n, int) and n >= 1 for n in numbers):
      raise ArgumentError(name, repr(size), "whole numbers from 1 on")


def check_least(**numbers: float) -> None:
  """Raises ArgumentError unless each is a number of at least 0; infinity is allowed."""
  for name, number in numbers.items():
    if not number >= 0:
      raise ArgumentError(name, repr(number), "a number of at least 0")


def check_choice(name: str, value: object, choices: Collection) -> None:
  """Raises ArgumentError unless the value is among the choices."""
  if value not in choices:
    expected = f"one of {', '.join(map(repr, choices))}"
    remedy = suggestion(str(value), map(str, choices))
    raise ArgumentError(name, repr(value), expected, remedy)


def check_mean(mean: Sequence[float], channels: int) -> None:
  """Raises ArgumentError unless there is a mean for each channel, or none."""
  if len(mean) not in (0, channels):
    expected = f"() or one for each of {channels} channels"
    raise ArgumentError("mean", repr(mean), expected)

"""A slice while it trains: images side by side, pixel by pixel, under captions."""

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kdmri_jax.metrics.squared_error import decibels

_RESIDUE = 5  # times as bright

_MARGIN = 2  # pixels around a caption
_GAP = 1  # pixels between two images


def of_slice(
  zero_filled: np.ndarray, image: np.ndarray, target: np.ndarray, epoch: int
) -> np.ndarray:
  """The picture of a slice: input, output, target, and five times the residue.

  Args:
    zero_filled: the network's input, [H, W, C].
    image: its output, likewise.
    target: the target, likewise; its brightest pixel is white.
    epoch: completed epochs, for the caption of the output.

  Returns:
    uint8 [H + caption, W'], of magnitudes; the captions have the PSNR of the slice over
    the maximum of its target.
  """
  given, made, wanted = (
    np.linalg.norm(x, axis=-1) for x in (zero_filled, image, target)
  )
  white = float(wanted.max()) or 1.0

  def psnr(one: np.ndarray) -> str:
    mse = max(float(np.mean((one - wanted) ** 2)) / white**2, 1e-12)
    return f"{float(decibels(mse)):.1f} dB"

  images = {
    f"input {psnr(given)}": given,
    f"epoch {epoch}: output {psnr(made)}": made,
    "target": wanted,
    f"residue x{_RESIDUE}": _RESIDUE * abs(made - wanted),
  }
  return side_by_side({caption: one / white for caption, one in images.items()})


def side_by_side(images: Mapping[str, np.ndarray]) -> np.ndarray:
  """Draws images in a row.

  A pixel of an image is a pixel of the picture. Where a caption is wider than its
  image, the image has black beside it.

  Args:
    images: caption -> grey image [H, W], 0 black, 1 white; values beyond are clipped.

  Returns:
    The picture, uint8 [H + caption, W'].
  """
  font = ImageFont.load_default()
  boxes = [font.getbbox(caption) for caption in images]
  above = max(round(box[3]) for box in boxes) + 2 * _MARGIN
  height = max(len(image) for image in images.values())
  widths = [
    max(image.shape[1], round(box[2]) + 2 * _MARGIN)
    for image, box in zip(images.values(), boxes, strict=True)
  ]
  picture = Image.new("L", (sum(widths) + _GAP * (len(widths) - 1), above + height))
  pen, left = ImageDraw.Draw(picture), 0
  for (caption, image), width in zip(images.items(), widths, strict=True):
    pen.text((left + _MARGIN, _MARGIN), caption, fill=255, font=font)
    grey = np.uint8(np.round(255 * np.clip(np.nan_to_num(image), 0, 1)))
    picture.paste(Image.fromarray(grey), (left, above))
    left += width + _GAP
  return np.asarray(picture)

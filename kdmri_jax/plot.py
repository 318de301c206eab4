"""Figures of matplotlib, for notebooks and papers.

A figure that ends a cell is shown; `figure.savefig(path)` writes it. They are drawn
without pyplot, so the backend that the user has chosen stays as it is.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from kdmri_jax import metrics as metrics_lib
from kdmri_jax.errors import ArgumentError
from kdmri_jax.report import figures

__all__ = ["comparison"]


def comparison(
  images: Mapping[str, ArrayLike],
  *,
  index: int | None = None,
  metrics: Sequence[str] = ("psnr", "ssim"),
  data_range: float | None = None,
) -> Figure:
  """Images side by side, with metrics, an enlarged region and the residues.

  Args:
    images: name -> image in the order of the columns, all of one shape; one of them is
      "target". Real or complex [H, W] or [S, H, W], or [B, H, W, C]; complex images are
      shown as magnitudes.
    index: the slice to show of several; None for the middle one.
    metrics: written under each image: names in `metrics.METRICS` or `OPTIONAL`, or
      import paths `package.module:name`.
    data_range: range of the metrics; None takes the target's maximum, over all slices.

  Returns:
    The figure.

  Raises:
    ArgumentError: no target, images of different shapes, no such slice, or an unknown
      metric.
  """
  shown = {name: _volume(name, image) for name, image in images.items()}
  if "target" not in shown or len(shown) < 2:
    expected = "'target' and one image to compare with it, or more"
    raise ArgumentError("images", f"{', '.join(shown) or 'none'}", expected)
  target = shown["target"]
  for name, volume in shown.items():
    if volume.shape != target.shape:
      expected = f"{target.shape}, as the target"
      raise ArgumentError(f"images[{name!r}]", f"shape {volume.shape}", expected)
  index = len(target) // 2 if index is None else index
  if not -len(target) <= index < len(target):
    raise ArgumentError("index", f"{index}", f"0 to {len(target) - 1}")
  return figures.comparison(
    {name: volume[index] for name, volume in shown.items()},
    metrics=list(metrics_lib.resolve(metrics).values()),
    data_range=float(target.max()) if data_range is None else data_range,
  )


def _volume(name: str, image: ArrayLike) -> np.ndarray:
  """Real images [S, H, W]."""
  image = np.asarray(image)
  if image.ndim == 4:
    image = image[..., 0] if image.shape[-1] == 1 else np.linalg.norm(image, axis=-1)
  if image.ndim not in (2, 3):
    expected = "[H, W], [S, H, W] or [B, H, W, C]"
    raise ArgumentError(f"images[{name!r}]", f"shape {image.shape}", expected)
  image = np.abs(image) if np.iscomplexobj(image) else image
  return image[None] if image.ndim == 2 else image

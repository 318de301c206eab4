"""Synthetic subjects, for demonstrations and tests without image files."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from kdmri_jax.config import DataConfig, PhantomConfig
from kdmri_jax.data.anatomy import brain, cardiac, knee, shapes
from kdmri_jax.data.folders import wanted
from kdmri_jax.data.source import Source, no_files
from kdmri_jax.data.volume import Volume
from kdmri_jax.lookup import unknown

FAMILIES = {"brain": brain.draw, "cardiac": cardiac.draw, "knee": knee.draw}

NOTE = (
  "Synthetic anatomy: results show that the pipeline works, not how it generalises."
)


def volumes(config: DataConfig) -> Iterator[Volume]:
  """Draws the subjects of `config.phantom`, named like "brain_000".

  Raises:
    ArgumentError: the family is unknown.
  """
  phantom = config.phantom
  if phantom.family not in (*FAMILIES, "mixed"):
    raise unknown("phantom.family", phantom.family, [*FAMILIES, "mixed"])
  families = list(FAMILIES) if phantom.family == "mixed" else [phantom.family]
  for k in range(phantom.subjects):
    family = families[k % len(families)]
    name = f"{family}_{k:03d}"
    if wanted(config, name):
      record = {"seed": phantom.seed, "phase": phantom.phase, "note": NOTE}
      image = draw_subject(phantom, k, family)
      yield Volume(name, subject=name, target=image, record=record)


def draw_subject(phantom: PhantomConfig, k: int, family: str) -> np.ndarray:
  """Draws subject `k`, which depends only on the seed, `k`, the family and the grid.

  Args:
    phantom: slices, size, seed and phase.
    k: number of the subject.
    family: key of `FAMILIES`.

  Returns:
    [S, H, W]: float32 in 0..1 with the maximum 1, or, with a phase, complex64 of
    the same magnitude.
  """
  rng = np.random.default_rng([phantom.seed, k])
  canvas = shapes.blank(phantom.slices, *phantom.size, rng)
  FAMILIES[family](canvas)
  image = canvas.image
  image *= 1 + 0.02 * canvas.field(0.06, smooth_z=0.1)
  image *= np.exp(0.12 * canvas.field(1.5, smooth_z=2.0))
  image = np.clip(image, 0, None) / image.max()
  if not phantom.phase:
    return image
  rng = np.random.default_rng([phantom.seed, k, 1])
  ramp = np.float32(rng.normal()) * canvas.x + np.float32(rng.normal()) * canvas.y
  phase = ramp + 0.7 * dataclasses.replace(canvas, rng=rng).field(0.8, smooth_z=1.5)
  return image * np.exp(1j * (phase + np.float32(rng.uniform(0, 2 * np.pi))))


SOURCE = Source(volumes, read=no_files, read_folder=no_files)

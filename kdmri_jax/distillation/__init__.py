"""Distillation: distances between a student's layers or image and a teacher's.

Every method of `METHODS` is a function of arrays here, a `distance.Distance`:

    distillation.attention_transfer(student_layers, teacher_layers, variant="paper")

Layers are float [B, H, W, C], one or several in order; images also [H, W] or [S, H, W].
"""

from kdmri_jax.distillation.distance import Distance
from kdmri_jax.distillation.methods import METHODS

__all__ = ["METHODS", *METHODS]


def __getattr__(name: str) -> Distance:
  if name not in METHODS:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
  return Distance(name, METHODS[name])


def __dir__() -> list[str]:
  return list(__all__)

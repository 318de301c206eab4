"""Knowledge distillation for MRI reconstruction and restoration in JAX/Flax.

`import kdmri_jax as kd` offers the names below. Each is imported when it is first used,
so the import itself takes no JAX.

Conventions: an image is real or complex [H, W], a stack of them [S, H, W], or a batch
float32 [B, H, W, C] with C = 1 (real) or 2 (real and imaginary part). k-space is
complex [H, W] or [S, H, W], of coils [..., C, H, W], orthonormal, zero frequency at
[0, 0]; masks have the same order. Arrays may be NumPy's or JAX's.
"""

from typing import TYPE_CHECKING

from kdmri_jax import lazy, xla_flags

if TYPE_CHECKING:
  from kdmri_jax import distillation, losses, metrics, models, plot, statistics
  from kdmri_jax.inference.network import load, load_pretrained
  from kdmri_jax.physics import coils, masks
  from kdmri_jax.physics.undersample import undersample
  from kdmri_jax.run import train

__version__ = "0.2.0"

__all__ = [
  "coils",
  "distillation",
  "load",
  "load_pretrained",
  "losses",
  "masks",
  "metrics",
  "models",
  "plot",
  "statistics",
  "train",
  "undersample",
]

_PLACES = {name: name for name in __all__} | {
  "coils": "physics.coils",
  "load": "inference.network:load",
  "load_pretrained": "inference.network:load_pretrained",
  "masks": "physics.masks",
  "train": "run:train",
  "undersample": "physics.undersample:undersample",
}
__getattr__ = lazy.attributes(__name__, _PLACES)

if xla_flags.ffts_may_deadlock():
  xla_flags.one_thread_per_operation()


def __dir__() -> list[str]:
  return [*__all__, "__version__"]

"""Parallel imaging: several coils, each with a sensitivity of its own.

k-space and sensitivities are complex [..., C, H, W], images complex [..., H, W], masks
[H, W] or [..., H, W]; the Fourier transform is orthonormal, with zero frequency at
[0, 0].

`simulate` and `estimate` give sensitivities, `forward` and `adjoint` are the operator
A = M F S and its adjoint, `cg_sense` reconstructs; `noise_covariance` and `prewhiten`
make the noise of the coils independent. `add_phase` makes images without a phase like
those of scans.
"""

from kdmri_jax.physics.coils.estimated import estimate
from kdmri_jax.physics.coils.operator import adjoint, forward
from kdmri_jax.physics.coils.phase import add_phase
from kdmri_jax.physics.coils.sense import cg_sense
from kdmri_jax.physics.coils.simulated import simulate
from kdmri_jax.physics.coils.whitening import noise_covariance, prewhiten

__all__ = [
  "add_phase",
  "adjoint",
  "cg_sense",
  "estimate",
  "forward",
  "noise_covariance",
  "prewhiten",
  "simulate",
]

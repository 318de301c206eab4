"""What the methods that own weights are built from."""

import functools

import jax
from flax import linen as nn

# Zero-padded, with bias; full float32 precision on accelerators too.
Conv = functools.partial(nn.Conv, precision=jax.lax.Precision.HIGHEST)

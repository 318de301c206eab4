"""Knowledge distillation for MRI reconstruction and restoration in JAX/Flax."""

from kdmri_jax import xla_flags

__version__ = "0.1.0"

if xla_flags.ffts_may_wait_forever():
  xla_flags.one_thread_an_operation()

"""Knowledge distillation for MRI reconstruction and restoration in JAX/Flax."""

from kdmri_jax import threads

__version__ = "0.1.0"

if threads.ffts_may_wait_forever():
  threads.one_an_operation()

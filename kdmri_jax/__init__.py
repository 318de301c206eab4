"""Knowledge distillation for MRI reconstruction and restoration in JAX/Flax."""

__version__ = "0.1.0"

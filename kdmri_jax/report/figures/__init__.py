"""Pictures for the report, drawn without pyplot and without global state."""

from kdmri_jax.report.figures.audit import audit
from kdmri_jax.report.figures.curves import differences, learning_curves
from kdmri_jax.report.figures.images import attention_maps, comparison, mask, regions
from kdmri_jax.report.figures.sampling import sampling
from kdmri_jax.report.figures.sizes import sizes
from kdmri_jax.report.figures.style import colours, pdf, png, save

__all__ = [
  "attention_maps",
  "audit",
  "colours",
  "comparison",
  "differences",
  "learning_curves",
  "mask",
  "pdf",
  "png",
  "regions",
  "sampling",
  "save",
  "sizes",
]

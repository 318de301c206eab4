"""Is one model better than another? Arrays in, results out.

Subjects are the unit wherever there are enough of them: slices of one subject resemble
each other, so counting them as independent overstates the evidence. Seeds are a second
factor, crossed with the subjects: every training is measured on all of them.
"""

from kdmri_jax.statistics.equivalence import Equivalence
from kdmri_jax.statistics.mixed_model import Effect, mixed_effects
from kdmri_jax.statistics.paired import Comparison, Share, compare, share_of_gap

__all__ = [
  "Comparison",
  "Effect",
  "Equivalence",
  "Share",
  "compare",
  "mixed_effects",
  "share_of_gap",
]

"""Data: sources of volumes, their checks, the split by subject, the slice sets."""

from kdmri_jax.data.dataset import Dataset, load, read
from kdmri_jax.data.measured import Measured
from kdmri_jax.data.slice_set import SliceSet
from kdmri_jax.data.source import Source
from kdmri_jax.data.volume import Volume

__all__ = ["Dataset", "Measured", "SliceSet", "Source", "Volume", "load", "read"]

"""Small trained networks in files of two: weights, and a card that describes them."""

from kdmri_jax.pretrained.card import Card
from kdmri_jax.pretrained.store import example, names, page, read

__all__ = ["Card", "example", "names", "page", "read"]

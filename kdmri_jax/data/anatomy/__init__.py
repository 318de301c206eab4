"""Synthetic anatomies: one file a family, built from the shapes in `shapes`."""

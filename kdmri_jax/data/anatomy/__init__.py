"""Synthetic anatomies: one file per family, built from the shapes in `shapes`."""

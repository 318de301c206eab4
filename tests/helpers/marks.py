"""Marks of single cases of a parametrised test."""

import pytest


def slow(*values):
  """A case that `make test` leaves out."""
  return pytest.param(*values, marks=pytest.mark.slow)

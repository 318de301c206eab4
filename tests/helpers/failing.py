"""Metrics of a user's own that fail, for every image or for some of them."""

from kdmri_jax.metrics import Metric


def absolute_error(target, prediction):
  """Mean absolute error of each slice."""
  return abs(prediction - target).mean(axis=(1, 2))


def of_single_slices(target, prediction):
  """Fails for volumes of several slices, so that a try on one slice succeeds."""
  if len(target) > 1:
    raise RuntimeError("one slice, please")
  return absolute_error(target, prediction)


def of_exact_slices(target, prediction):
  """Fails where the prediction is far from the target."""
  if abs(prediction - target).max() > 0.6:
    raise ZeroDivisionError("too far")
  return absolute_error(target, prediction)


def always(target, prediction):
  """Fails for every image."""
  raise KeyError("never")


SINGLE = Metric(of_single_slices, "Single", higher_is_better=False)
EXACT = Metric(of_exact_slices, "Exact", higher_is_better=False, shown="listed")
ALWAYS = Metric(always, "Always", higher_is_better=False)

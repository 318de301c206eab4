"""The page's style: text that can be read on what is behind it."""

import itertools
import pathlib
import re

import pytest

STYLE = pathlib.Path(__file__).parents[2] / "kdmri_jax/report/templates/style.css"
SCHEMES = re.findall(r":root \{(.*?)\}", STYLE.read_text(), re.DOTALL)
TEXTS = ("ink", "quiet", "accent", "link")
GROUNDS = ("paper", "wash", "best", "warn")


def luminance(colour):
  """Of sRGB, as WCAG 2 defines it."""
  parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
  linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
  return sum(w * x for w, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", range(3))
def test_text_has_contrast(scheme):
  """At least 4.5 to 1, on a light screen, on a dark one and on paper."""
  light, *_ = colours = [dict(re.findall(r"--([\w-]+): (#\w{6})", s)) for s in SCHEMES]
  found = light | colours[scheme]
  for text, ground in itertools.product(TEXTS, GROUNDS):
    low, high = sorted(luminance(found[name]) for name in (text, ground))
    assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)


def test_there_are_three_schemes():
  assert len(SCHEMES) == 3

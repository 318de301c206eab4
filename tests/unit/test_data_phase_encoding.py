"""A mask that omits lines of the readout is told."""

import dataclasses

import numpy as np
import pytest

from kdmri_jax.config import MaskConfig, TaskConfig
from kdmri_jax.data import phase_encoding
from kdmri_jax.data.volume import Volume
from kdmri_jax.physics import acquisition
from kdmri_jax.types import Acquisition

SHAPE = (12, 10)


def said(record, *masks):
  volume = Volume("a", "a", np.ones((2, *SHAPE)), record={"file": "a.h5", **record})
  both = [volume, dataclasses.replace(volume, name="b", record={"file": "b.h5"})]
  return phase_encoding.along_the_readout(both, {SHAPE: Acquisition(np.stack(masks))})


def mask(axis, kind="cartesian"):
  config = MaskConfig(kind=kind, acceleration=2.0, centre_lines=2, axis=axis)
  (made,) = acquisition.build({"": TaskConfig(config)}, SHAPE).masks
  return np.asarray(made)


@pytest.mark.parametrize("axis", [0, 1])
def test_lines_along_the_other_axis_are_told(axis):
  known = {"phase_encode_axis": axis}
  (text,) = said(known, mask(1 - axis))
  assert "In 1 file, such as a.h5," in text and f"set config.mask.axis={axis}" in text
  assert not said(known, mask(axis))
  assert not said({}, mask(1 - axis))
  assert said({"prepared_from": known}, mask(axis), mask(1 - axis))


@pytest.mark.parametrize("kind", ["full", "gaussian2d"])
def test_masks_without_lines_are_not(kind):
  assert not said({"phase_encode_axis": 1}, mask(0, kind))

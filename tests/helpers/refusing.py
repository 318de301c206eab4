"""Readers that must refuse a file, and what the files hold."""

import numpy as np
import pytest

from kdmri_jax.errors import UserError

HUGE = (1500, 1500, 1500)
IMAGES = np.random.default_rng(0).uniform(0.1, 1, (4, 8, 8))


def refused(read, path, found):
  with pytest.raises(UserError, match=found) as error:
    read(path)
  assert str(path) in str(error.value)

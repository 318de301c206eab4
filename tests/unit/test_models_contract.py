"""A network is traced on shapes: once for equal networks and shapes."""

import numpy as np
import pytest
from flax import linen as nn

from kdmri_jax.models import contract
from kdmri_jax.types import Array, Outputs

traced = []


class Shifted(nn.Module):
  """A convolution, and a constant that its user chooses."""

  shift: float | Array

  @nn.compact
  def __call__(self, image, measurement):
    traced.append(image.shape)
    return Outputs(nn.Conv(1, (3, 3))(image) + self.shift)


@pytest.mark.parametrize(
  ("shift", "once"), [(0.5, True), (np.full(1, 0.5), False)], ids=["number", "array"]
)
def test_shapes_are_those_of_the_network_whether_or_not_they_are_kept(shift, once):
  """An array has no hash, so the second, equal network is traced again."""
  traced.clear()
  counts = []
  for _ in range(2):
    model = Shifted(shift)
    contract.check(model, (8, 6), 1)
    kernel = contract.parameter_shapes(model, (8, 6))["Conv_0"]["kernel"]
    features = contract.feature_shapes(model, *contract.arguments((8, 6), 1))
    assert kernel.shape == (3, 3, 1, 1) and features["image"].shape == (1, 8, 6, 1)
    counts.append(len(traced))
  assert (counts == [2, 2]) == once  # to initialise it, and to apply it
  contract.check(Shifted(shift), (6, 8), 1)
  assert traced[-1] == (1, 6, 8, 1)

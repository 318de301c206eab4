"""A network is traced on shapes: once for equal networks and shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from helpers.marks import slow

from kdmri_jax.models import contract
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.models.edsr import EDSR
from kdmri_jax.models.swinir import SwinIR
from kdmri_jax.models.unet import UNet
from kdmri_jax.models.varnet import VarNet
from kdmri_jax.models.vdsr import VDSR
from kdmri_jax.types import Array, Outputs

pytestmark = pytest.mark.usefixtures("quick_compilation")

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


class Constant(nn.Module):
  """Weights that do not depend on the key."""

  channels = 1

  @nn.compact
  def __call__(self, image, measurement):
    step = self.param("step", nn.initializers.constant(0.3), ())
    scales = self.param("scales", lambda key: np.arange(3, dtype=np.float32))
    return Outputs(image * step + self.param("two", lambda key: 2.0) * scales.sum())


class Centred(nn.Module):
  """Its weight starts from the image."""

  @nn.compact
  def __call__(self, image, measurement):
    return Outputs(image - self.param("mean", lambda key: image.mean()))


@pytest.mark.parametrize(
  "model",
  [
    DCCNN(cascades=2, features=32),
    DCCNN(cascades=2, features=4, channels=2, shared=True, recompute=True),
    EDSR(blocks=1, features=4),
    slow(SwinIR(depths=(2,), features=4, heads=2, window=4)),
    slow(UNet(features=3, levels=1)),
    slow(VarNet(cascades=1, features=2, levels=1, sensitivities="given")),
    VDSR(convolutions=3, features=4),
    Constant(),
  ],
  ids=lambda model: type(model).__name__,
)
def test_parameters_are_drawn_with_the_bits_of_flax(model):
  shapes = contract.arguments((12, 16), model.channels)
  key = jax.random.key(3)
  found = contract.draw_parameters(model, key, *shapes)
  zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
  expected = model.init(key, *zeros)["params"]
  jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_parameters_that_depend_on_the_image_are_not_drawn():
  shapes = contract.arguments((8, 6), 1)
  assert contract.draw_parameters(Centred(), jax.random.key(0), *shapes) is None


class Optional(nn.Module):
  """Uses the measurement where there is one."""

  @nn.compact
  def __call__(self, image, measurement):
    image = nn.Conv(1, (3, 3))(image)
    if measurement is not None:
      image = image * measurement.mask[..., None]
    return Outputs(image)


@pytest.mark.parametrize(
  ("model", "reads"),
  [
    (DCCNN(cascades=1, features=2, consistency="matrix0"), True),
    (DCCNN(cascades=1, features=2, channels=2, consistency="fft"), True),
    (VarNet(cascades=1, features=2, levels=1), True),
    (Optional(), True),
    (Shifted(0.5), False),
    (UNet(features=2, levels=1), False),
    (EDSR(blocks=1, features=2), False),
    (SwinIR(depths=(1,), features=4, heads=2), False),
    (VDSR(convolutions=2, features=2), False),
  ],
)
def test_which_networks_read_kspace(model, reads):
  assert contract.reads_kspace(model) is reads

"""Which layers of a deeper network a shallower one takes over."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdmri_jax.errors import ArgumentError
from kdmri_jax.models import DCCNN, EDSR, VDSR, features, layers
from kdmri_jax.types import Measurement

pytestmark = pytest.mark.usefixtures("quick_compilation")

MEASUREMENT = Measurement(jnp.ones((1, 12, 10)), np.ones((12, 10), np.uint8))
IMAGE = np.random.default_rng(0).random((1, 12, 10, 1), np.float32)


def init(network, seed=0):
  return jax.jit(network.init)(jax.random.key(seed), IMAGE, MEASUREMENT)["params"]


def sources(shallow, deep):
  """Layer of the shallow network -> the layer of the deep one that it takes."""

  def named(path, leaf):
    return np.array([jax.tree_util.keystr(path[:-1], simple=True, separator="/")])

  shapes = [jax.eval_shape(lambda each=each: init(each)) for each in (shallow, deep)]
  marked = [jax.tree_util.tree_map_with_path(named, tree) for tree in shapes]
  taken = layers.take(*marked)
  pairs = zip(*map(jax.tree.leaves, (marked[0], taken)), strict=True)
  return {str(own[0]): str(other[0]) for own, other in pairs}


def test_the_first_convolutions_and_the_last_one_of_each_cascade():
  found = sources(DCCNN(2, 3, 4), DCCNN(2, 5, 4))
  assert found == {
    f"cascade_{c}/conv_{own}": f"cascade_{c}/conv_{other}"
    for c in (1, 2)
    for own, other in ((1, 1), (2, 2), (3, 5))
  }


def test_the_first_cascades_and_the_last_one():
  found = sources(DCCNN(2, 1, 4), DCCNN(11, 1, 4))
  assert found == {"cascade_1/conv_1": "cascade_1/conv_1"} | {
    "cascade_2/conv_1": "cascade_11/conv_1"
  }


def test_vdsr_and_edsr():
  found = sources(VDSR(7, 4), VDSR(11, 4))
  assert found["cnn/conv_6"] == "cnn/conv_6" and found["cnn/conv_7"] == "cnn/conv_11"
  found = sources(EDSR(2, 4), EDSR(5, 4))
  assert {name: other for name, other in found.items() if name != other} == {
    f"block_2/conv_{k}": f"block_5/conv_{k}" for k in (1, 2)
  }


def test_all_but_the_last_layer_compute_the_same():
  shallow, deep = DCCNN(2, 3, 4), DCCNN(2, 5, 4)
  params = init(deep, seed=1)
  taken = layers.take(init(shallow), params)
  found, expected = (
    features.apply(network, weights, IMAGE, MEASUREMENT)[1]
    for network, weights in ((shallow, taken), (deep, params))
  )
  for k in (1, 2):
    name = f"cascade_1/activation_{k}"
    np.testing.assert_array_equal(found[name], expected[name])
  same = layers.take(params, params)
  jax.tree.map(np.testing.assert_array_equal, same, params)


@pytest.mark.parametrize(
  ("shallow", "deep", "message"),
  [
    (DCCNN(2, 3, 4), DCCNN(2, 3, 6), r"found cascade_1/conv_1/bias of shape \(6,\)"),
    (VDSR(3, 4), VDSR(2, 4), r"found cnn/conv_2/bias of shape \(1,\) there"),
    (DCCNN(1, 3, 4), VDSR(3, 4), "found no cascade_1/conv_1/bias there"),
    (VDSR(1, 4), VDSR(3, 4), r"found cnn/conv_3/kernel of shape \(3, 3, 4, 1\)"),
  ],
)
def test_refusals(shallow, deep, message):
  with pytest.raises(ArgumentError, match=f"start_from: {message}"):
    layers.take(*(jax.eval_shape(lambda n=n: init(n)) for n in (shallow, deep)))

"""Adam on stacks: the numbers of optax's own."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from kdmri_jax.training import stacked


def weights(seed):
  rng = np.random.default_rng(seed)
  shapes = [(3, 3, 1, 4), (4,), (3, 3, 4, 4), (4,), (3, 3, 4, 4), (1,)]
  return {f"layer_{k}": rng.standard_normal(s) for k, s in enumerate(shapes)}


def test_a_stacked_state_gives_the_updates_of_optax():
  trained = jax.tree.map(jnp.float32, weights(0))
  ours, theirs = stacked.scale_by_adam(b1=0.8), optax.scale_by_adam(b1=0.8)
  state, plain = ours.init(trained), theirs.init(trained)
  packed = stacked.stack((state, {"other": jnp.ones(2)}))[0]
  assert {x.shape for x in packed.mu.values()} == {
    (1, 3, 3, 1, 4),
    (2, 4),
    (2, 3, 3, 4, 4),
    (1, 1),
  }
  for step in (1, 2, 3):
    gradient = jax.tree.map(jnp.float32, weights(step))
    found, packed = ours.update(gradient, packed)
    unpacked, state = ours.update(gradient, state)
    expected, plain = theirs.update(gradient, plain)
    for each in (found, unpacked):
      jax.tree.map(np.testing.assert_array_equal, each, expected)
  back = stacked.unstack(packed, trained)
  assert isinstance(back, stacked.Moments)
  jax.tree.map(np.testing.assert_array_equal, back, state)
  assert jax.tree.structure(back) == jax.tree.structure(state)
  jax.tree.map(np.testing.assert_array_equal, tuple(back), tuple(plain))

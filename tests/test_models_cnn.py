"""The ReLU between convolutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdmri_jax.models.cnn import relu


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_relu_and_its_gradient(kind):
  x = jnp.asarray([-2.0, -0.5, 0.0, 0.5, 3.0], kind)
  value, pull = jax.vjp(relu, x)
  (gradient,) = pull(jnp.full_like(x, 2))
  assert value.dtype == gradient.dtype == kind
  np.testing.assert_array_equal(value.astype("float32"), [0, 0, 0, 0.5, 3])
  np.testing.assert_array_equal(gradient.astype("float32"), [0, 0, 0, 2, 2])

"""Methods of the maps of one image: golden numbers, definitions in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.distilling import SHAPE, activations, close, double, layers, pooled, value

from kdmri_jax.distillation.methods import (
  METHODS,
  attention_transfer,
  channel_wise,
  feature_affinity,
  fsp,
  nst,
)

pytestmark = pytest.mark.usefixtures("quick_compilation")


def test_attention_transfer_of_the_paper_in_float64():
  student, teacher = layers(0), layers(1)
  expected = 0.0
  for s, t in zip(student, teacher, strict=True):
    for i in range(3):
      q_s = np.square(double(s[i])).sum(-1).ravel()
      q_t = np.square(double(t[i])).sum(-1).ravel()
      unit = q_s / np.linalg.norm(q_s) - q_t / np.linalg.norm(q_t)
      expected += np.linalg.norm(unit) / 3
  close(value("attention_transfer", "paper", student, teacher), expected, rel=1e-6)


def test_attention_transfer_of_the_paper_ignores_scale():
  student = layers(0)
  teacher = tuple(3.7 * s for s in student)
  measured = value("attention_transfer", "paper", student, teacher)
  assert measured == pytest.approx(0, abs=1e-6)


def test_the_reference_attention_of_one_image_is_zero():
  one = layers(0, batch=1), layers(1, batch=1)
  maps = [np.asarray(attention_transfer.attention_map(s)) for s in one[0] + one[1]]
  active = [q > 0 for q in maps]
  assert all(a.mean() > 0.8 for a in active)
  measured = value("attention_transfer", "reference", *one)
  both = [(s > 0) == (t > 0) for s, t in zip(active[:2], active[2:], strict=True)]
  assert measured == pytest.approx(1 - np.mean([b.mean() for b in both]), abs=1e-6)


def test_attention_mean_square(golden_pair, golden):
  expected = golden("kd_losses")["attention_mean_square"]
  by_layer = [
    value("attention_transfer", "mean_square", (s,), (t,))
    for s, t in zip(*golden_pair, strict=True)
  ]
  close(by_layer, expected)
  close(value("attention_transfer", "mean_square", *golden_pair), expected.sum())


def test_attention_mean_square_in_float64():
  student, teacher = activations(0), activations(1)
  expected = 0.0
  for s, t in zip(double(student), double(teacher), strict=True):
    maps = [np.square(x).mean(-1) for x in (s, t)]
    unit_s, unit_t = (q / np.sqrt(np.square(q).sum()) for q in maps)
    expected += np.square(unit_s - unit_t).mean() / len(student)
  close(value("attention_transfer", "mean_square", (student,), (teacher,)), expected)


def test_fsp(golden_pair, golden):
  expected = golden("kd_losses")["fsp"]
  flows = [fsp.represent(features) for features in golden_pair]
  close([fsp.distance(s, t) for s, t in zip(*flows, strict=True)], expected)
  close(value("fsp", "paper", *golden_pair), expected.sum())


def test_fsp_in_float64():
  student, teacher = ((activations(k), activations(k + 2)) for k in (0, 1))

  def flow(first, second):
    matrix = np.zeros((4, 4))
    for h, w in np.ndindex(9, 7):
      matrix += np.outer(first[h, w], second[h, w]) / (9 * 7)
    return matrix

  expected = np.mean(
    [
      np.square(
        flow(*(double(f[b]) for f in student)) - flow(*(double(f[b]) for f in teacher))
      )
      for b in range(3)
    ]
  )
  close(value("fsp", "paper", student, teacher), expected)


def test_fsp_needs_two_layers_of_one_size():
  with pytest.raises(ValueError, match="2 or more, not 1"):
    fsp.represent((activations(0),))
  with pytest.raises(ValueError, match=r"one map size, not \(9, 7\) and \(9, 8\)"):
    fsp.represent((activations(0), activations(0, (3, 9, 8, 4))))


def test_nst(golden_pair, golden):
  expected = golden("kd_losses")["nst_poly"]
  pairs = zip(*golden_pair, strict=True)
  close([value("nst", "paper", (s,), (t,)) for s, t in pairs], expected)
  close(value("nst", "paper", *golden_pair), expected.sum())


def test_nst_in_float64():
  """By the kernel's definition, between different numbers of channels."""
  student, teacher = activations(0), activations(1, (*SHAPE[:3], 6))

  def maps(image):
    flat = double(image).reshape(-1, image.shape[-1]).T
    return [f / np.linalg.norm(f) for f in flat]

  def kernel(a, b):
    return np.mean([[(x @ y) ** 2 for y in b] for x in a])

  expected = 0.0
  for s, t in zip(map(maps, student), map(maps, teacher), strict=True):
    expected += (kernel(t, t) + kernel(s, s) - 2 * kernel(s, t)) / 3
  close(value("nst", "paper", (student,), (teacher,)), expected)


def test_channel_wise_in_float64():
  student, teacher = 9 * activations(0), 9 * activations(1)

  def phi(image, channel):
    exponential = np.exp(double(image[..., channel]) / 4)
    return exponential / exponential.sum()

  expected = 0.0
  for b in range(3):
    for c in range(4):
      phi_s, phi_t = phi(student[b], c), phi(teacher[b], c)
      expected += 16 / 4 * np.sum(phi_t * np.log(phi_t / phi_s)) / 3
  close(value("channel_wise", "paper", (student,), (teacher,)), expected)


def test_channel_wise_bears_strong_activations():
  student, teacher = 1e4 * activations(0), 1e4 * activations(1)
  measured, gradient = jax.value_and_grad(
    lambda s: value("channel_wise", "paper", (s,), (teacher,))
  )(student)
  assert np.isfinite(measured) and np.isfinite(gradient).all()


@pytest.mark.parametrize(
  ("size", "reduced"), [((6, 5), (6, 5)), ((37, 12), (16, 12)), ((32, 48), (16, 16))]
)
def test_feature_affinity_in_float64(size, reduced):
  student, teacher = (activations(k, (2, *size, k + 7)) for k in (0, 1))

  def affinity(image):
    pixels = pooled(image, reduced).reshape(-1, image.shape[-1])
    lengths = np.linalg.norm(pixels, axis=1, keepdims=True)
    pixels /= np.where(lengths == 0, 1, lengths)
    return pixels @ pixels.T

  expected = np.mean(
    [
      np.abs(affinity(s) - affinity(t)).mean()
      for s, t in zip(student, teacher, strict=True)
    ]
  )
  close(value("feature_affinity", "pooled", (student,), (teacher,)), expected)


def test_feature_affinity_never_holds_all_pairs_of_pixels():
  """At 150x150 those would be 5e8 numbers an image; the pooled ones are 65,536."""
  feature = jax.ShapeDtypeStruct((2, 150, 150, 32), jnp.float32)
  (hint,) = jax.eval_shape(feature_affinity.represent, (feature,))
  assert hint.shape == (2, 16, 16, 32)
  assert jax.eval_shape(feature_affinity.affinity, hint).size == 2 * 65_536


def test_layers_must_be_as_many():
  one = (activations(0),)
  for name, variant in [("nst", "paper"), ("channel_wise", "paper")]:
    with pytest.raises(ValueError, match="argument 2"):
      value(name, variant, one, one * 2)


def test_maps_of_other_sizes_are_refused():
  small, large = activations(0), activations(1, (3, 9, 8, 4))
  maps = [attention_transfer.represent, nst.represent, feature_affinity.represent]
  distances = [
    attention_transfer.mean_square,
    METHODS["nst"]["paper"].distance,
    METHODS["feature_affinity"]["pooled"].distance,
  ]
  for represent, distance in zip(maps, distances, strict=True):
    with pytest.raises((AssertionError, ValueError)):
      distance(represent((small,)), represent((large,)))
  with pytest.raises(AssertionError):
    channel_wise.paper(*(channel_wise.represent((x,))[0] for x in (small, large)))
  with pytest.raises(AssertionError):
    fsp.distance(jnp.zeros((2, 3, 3)), jnp.zeros((2, 3, 4)))

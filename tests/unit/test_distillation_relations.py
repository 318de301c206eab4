"""Methods of the relations between images: golden numbers, definitions in float64."""

import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest
from helpers.distilling import activations, close, double, value

from kdmri_jax.distillation import METHODS, _vectors
from kdmri_jax.distillation.methods import (
  correlation_congruence,
  pkt,
  rkd,
  similarity_preserving,
)

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture
def embeddings(golden):
  numbers = golden("kd_losses")
  return tuple(jnp.asarray(numbers[f"embedding_{r}"]) for r in ("student", "teacher"))


@pytest.mark.parametrize(
  ("distance", "key"),
  [
    (correlation_congruence.delta, "correlation_delta"),
    (pkt.reference, "pkt"),
    (rkd.paper, "rkd_d25_a50"),
  ],
)
def test_methods_of_embeddings(distance, key, embeddings, golden):
  close(distance(*embeddings), golden("kd_losses")[key])


@pytest.mark.parametrize(
  ("name", "variant", "distance"),
  [
    ("correlation_congruence", "rbf", correlation_congruence.rbf),
    ("correlation_congruence", "delta", correlation_congruence.delta),
    ("pkt", "reference", pkt.reference),
    ("rkd", "paper", rkd.paper),
  ],
)
def test_small_maps_are_embedded_as_they_are(name, variant, distance, golden_pair):
  expected = sum(
    distance(*(x.reshape(3, -1) for x in layers))
    for layers in zip(*golden_pair, strict=True)
  )
  close(value(name, variant, *golden_pair), expected)


def test_similarity_preserving(golden_pair, golden):
  expected = golden("kd_losses")["similarity_preserving"]
  pairs = zip(*golden_pair, strict=True)
  close([similarity_preserving.distance(s, t) for s, t in pairs], expected)
  close(value("similarity_preserving", "paper", *golden_pair), expected.sum())


def test_similarity_preserving_in_float64():
  student, teacher = activations(0), activations(1, (3, 5, 6, 2))

  def similarities(feature):
    flat = double(feature).reshape(3, -1)
    gram = np.array([[a @ b for b in flat] for a in flat])
    return np.array([row / np.sqrt(row @ row) for row in gram])

  expected = np.square(similarities(student) - similarities(teacher)).sum() / 9
  close(similarity_preserving.distance(student, teacher), expected)


def test_correlation_congruence_in_float64(embeddings):
  def kernel(embedding):
    unit = [f / np.linalg.norm(f) for f in double(embedding)]
    return np.array(
      [
        [
          sum(
            np.exp(-0.8) * 0.8**p / math.factorial(p) * (a @ b) ** p for p in (0, 1, 2)
          )
          for b in unit
        ]
        for a in unit
      ]
    )

  student, teacher = map(kernel, embeddings)
  expected = np.square(student - teacher).sum() / 9
  close(correlation_congruence.rbf(*embeddings), expected)


def test_the_taylor_sum_is_near_the_gaussian_kernel(embeddings):
  unit = _vectors.unit(embeddings[0])
  squared = jnp.square(unit[:, None] - unit).sum(-1)
  gauss = np.exp(-0.4 * squared)
  kernel = correlation_congruence.kernel(embeddings[0])
  np.testing.assert_allclose(kernel, gauss, atol=0.05)
  assert np.abs(kernel - gauss).max() > 1e-4


def test_correlation_delta_in_float64(embeddings):
  d = np.abs(double(embeddings[0]) - double(embeddings[1]))
  expected = np.mean([d[0] @ d[1], d[1] @ d[2]])
  close(correlation_congruence.delta(*embeddings), expected)


def test_pkt_in_float64(embeddings):
  def probabilities(embedding):
    unit = [f / np.linalg.norm(f) for f in double(embedding)]
    kernel = np.array([[(a @ b + 1) / 2 for b in unit] for a in unit])
    return kernel / kernel.sum(1, keepdims=True)

  p_s, p_t = map(probabilities, embeddings)
  expected = np.mean(p_t * np.log((p_t + 1e-7) / (p_s + 1e-7)))
  close(pkt.reference(*embeddings), expected)


def smooth_l1(x):
  return x * x / 2 if abs(x) < 1 else abs(x) - 0.5


def test_rkd_in_float64():
  """Sums over the tuples of different images, divided by b^2 and b^3."""
  count = 5
  embeddings = double(np.random.default_rng(0).normal(size=(2, count, 3)))
  pairs = list(itertools.permutations(range(count), 2))
  triples = list(itertools.permutations(range(count), 3))

  def distances(e):
    lengths = np.array([np.linalg.norm(e[i] - e[j]) for i, j in pairs])
    return lengths / lengths.mean()

  def angles(e):
    def cosine(i, j, k):
      a, b = e[j] - e[i], e[k] - e[i]
      return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    return np.array([cosine(*triple) for triple in triples])

  d_s, d_t = map(distances, embeddings)
  a_s, a_t = map(angles, embeddings)
  expected = (
    25 * sum(map(smooth_l1, d_s - d_t)) / count**2
    + 50 * sum(map(smooth_l1, a_s - a_t)) / count**3
  )
  assert np.abs(a_s - a_t).max() > 1  # Both branches of the smooth L1.
  close(rkd.paper(*(jnp.asarray(e, jnp.float32) for e in embeddings)), expected)


@pytest.mark.parametrize(
  "name", ["similarity_preserving", "correlation_congruence", "pkt", "rkd"]
)
def test_one_image_relates_to_no_other(name):
  student, teacher = activations(0)[:1], activations(1)[:1]
  for variant in METHODS[name]:
    measured = value(name, variant, (student,), (teacher,))
    assert measured == pytest.approx(0, abs=1e-6), variant

"""The methods without weights against golden numbers and their definitions in NumPy.

Every definition is written out in float64, image by image and pair by pair.
"""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdmri_jax.distillation import (
  METHODS,
  attention_transfer,
  attentive,
  channel_wise,
  correlation_congruence,
  feature_affinity,
  fsp,
  nst,
  pkt,
  rkd,
  similarity_preserving,
  vectors,
)
from kdmri_jax.distillation.method import Context
from kdmri_jax.physics import consistency, fourier
from kdmri_jax.types import Measurement

SHAPE = (3, 9, 7, 4)


@pytest.fixture
def pair(golden):
  """Layers of the golden file: student's and teacher's, three each."""
  numbers = golden("kd_losses")
  return tuple(
    tuple(jnp.asarray(numbers[f"{role}_{k}"]) for k in range(3))
    for role in ("student", "teacher")
  )


@pytest.fixture
def embeddings(golden):
  numbers = golden("kd_losses")
  return tuple(jnp.asarray(numbers[f"embedding_{r}"]) for r in ("student", "teacher"))


def activations(seed, shape=SHAPE):
  rng = np.random.default_rng(seed)
  return jnp.asarray(np.maximum(rng.normal(size=shape), 0), jnp.float32)


def double(x):
  return np.asarray(x, np.float64)


def value(name, variant, student, teacher, *context):
  """Of a whole method on tuples of layers."""
  method = METHODS[name][variant]
  return method.distance(method.represent(student), method.represent(teacher), *context)


def close(measured, expected, rel=1e-5):
  np.testing.assert_allclose(measured, expected, rtol=rel, atol=0)


# Golden numbers, layer by layer.


def test_attention_mean_square(pair, golden):
  expected = golden("kd_losses")["attention_mean_square"]
  layers = [
    value("attention_transfer", "mean_square", (s,), (t,))
    for s, t in zip(*pair, strict=True)
  ]
  close(layers, expected)
  close(value("attention_transfer", "mean_square", *pair), expected.sum())


def test_fsp(pair, golden):
  expected = golden("kd_losses")["fsp"]
  flows = [fsp.represent(features) for features in pair]
  close([fsp.distance(s, t) for s, t in zip(*flows, strict=True)], expected)
  close(value("fsp", "paper", *pair), expected.sum())


def test_similarity_preserving(pair, golden):
  expected = golden("kd_losses")["similarity_preserving"]
  layers = [similarity_preserving.distance(s, t) for s, t in zip(*pair, strict=True)]
  close(layers, expected)
  close(value("similarity_preserving", "paper", *pair), expected.sum())


def test_nst(pair, golden):
  expected = golden("kd_losses")["nst_poly"]
  close(
    [value("nst", "paper", (s,), (t,)) for s, t in zip(*pair, strict=True)], expected
  )
  close(value("nst", "paper", *pair), expected.sum())


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
def test_small_maps_are_embedded_as_they_are(name, variant, distance, pair):
  expected = sum(
    distance(*(x.reshape(3, -1) for x in layers)) for layers in zip(*pair, strict=True)
  )
  close(value(name, variant, *pair), expected)


# Definitions, in float64.


def test_attention_mean_square_in_float64():
  student, teacher = activations(0), activations(1)
  expected = 0.0
  for s, t in zip(double(student), double(teacher), strict=True):
    maps = [np.square(x).mean(-1) for x in (s, t)]
    unit_s, unit_t = (q / np.sqrt(np.square(q).sum()) for q in maps)
    expected += np.square(unit_s - unit_t).mean() / len(student)
  close(value("attention_transfer", "mean_square", (student,), (teacher,)), expected)


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


def test_similarity_preserving_in_float64():
  student, teacher = activations(0), activations(1, (3, 5, 6, 2))

  def similarities(feature):
    flat = double(feature).reshape(3, -1)
    gram = np.array([[a @ b for b in flat] for a in flat])
    return np.array([row / np.sqrt(row @ row) for row in gram])

  expected = np.square(similarities(student) - similarities(teacher)).sum() / 9
  close(similarity_preserving.distance(student, teacher), expected)


def test_one_silent_image_keeps_gradients_of_a_moderate_size():
  """A direction divided by a small number would make them 1e12."""
  student, teacher = activations(0).at[1].set(0), activations(1)
  for name in ("similarity_preserving", "pkt", "rkd", "nst", "feature_affinity"):
    (variant,) = METHODS[name]
    gradient = jax.grad(lambda s, n=name, v=variant: value(n, v, (s,), (teacher,)))(
      student
    )
    assert 0 < np.abs(gradient).max() < 10, name


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
  unit = vectors.unit(embeddings[0])
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


def pooled(image, size):
  """Means over windows from floor(k L/n) to ceil((k+1) L/n), in float64."""
  (height, width), (rows, columns) = image.shape[:2], size
  result = np.zeros((rows, columns, image.shape[2]))
  for i, j in np.ndindex(rows, columns):
    window = image[
      i * height // rows : -(-(i + 1) * height // rows),
      j * width // columns : -(-(j + 1) * width // columns),
    ]
    result[i, j] = double(window).mean((0, 1))
  return result


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


@pytest.mark.parametrize("size", [(37, 12), (32, 48)])
def test_large_maps_are_averaged_before_they_are_embedded(size):
  feature = activations(0, (2, *size, 3))
  (embedding,) = vectors.embed((feature,))
  side = tuple(min(16, length) for length in size)
  expected = [pooled(image, side).ravel() for image in feature]
  np.testing.assert_allclose(embedding, expected, rtol=1e-5, atol=1e-6)


def test_feature_affinity_never_holds_all_pairs_of_pixels():
  """At 150x150 those would be 5e8 numbers an image; the pooled ones are 65,536."""
  feature = jax.ShapeDtypeStruct((2, 150, 150, 32), jnp.float32)
  (hint,) = jax.eval_shape(feature_affinity.represent, (feature,))
  assert hint.shape == (2, 16, 16, 32)
  assert jax.eval_shape(feature_affinity.affinity, hint).size == 2 * 65_536


# Methods of the image.


def images(channels=1, size=(10, 7), batch=3):
  rng = np.random.default_rng(3)
  shape = (3, batch, *size, channels)
  target, student, teacher = rng.random(shape, np.float32)
  return jnp.asarray(target), jnp.asarray(student), jnp.asarray(teacher)


def make_context(target, mask=None, error=None, error_range=1.0):
  kspace = jnp.zeros(target.shape[:3], jnp.complex64)
  mask = jnp.zeros(target.shape[1:3]) if mask is None else jnp.asarray(mask)
  draws = jnp.arange(len(target), dtype=jnp.uint32)
  error = jnp.zeros(len(target)) if error is None else jnp.asarray(error)
  measurement = Measurement(kspace, mask)
  return Context(target, target, measurement, error, jnp.float32(error_range), draws)


def dft(length):
  """Orthonormal Fourier matrix."""
  k = np.arange(length)
  return np.exp(-2j * np.pi * np.outer(k, k) / length) / np.sqrt(length)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("own_masks", [False, True])
def test_kspace_imitation_in_float64(channels, own_masks):
  target, student, teacher = images(channels)
  rng = np.random.default_rng(4)
  shape = target.shape[:3] if own_masks else target.shape[1:3]
  mask = (rng.random(shape) < 0.4).astype(np.float32)
  context = make_context(target, mask)
  expected = {"l1": 0.0, "l2": 0.0}
  for b in range(3):
    difference = double(student[b]) - double(teacher[b])
    difference = difference @ [1, 1j][:channels]
    kspace = dft(10) @ difference @ dft(7)
    unsampled = np.abs(kspace[(mask[b] if own_masks else mask) == 0])
    expected["l1"] += unsampled.mean() / 3
    expected["l2"] += np.square(unsampled).mean() / 3
  for variant, number in expected.items():
    measured = value("kspace_imitation", variant, (student,), (teacher,), context)
    close(measured, number)


@pytest.mark.parametrize("variant", ["l1", "l2"])
def test_kspace_imitation_ignores_what_was_measured(variant):
  target, student, _ = images()
  rows = jnp.zeros(10).at[jnp.array([0, 1, 9])].set(1)  # Symmetric under k -> -k.
  mask = jnp.broadcast_to(rows[:, None], (10, 7))
  change = fourier.ifft2(mask * fourier.fft2(target[..., 0])).real[..., None]
  context = make_context(target, mask)

  def imitation(teacher):
    return value("kspace_imitation", variant, (student,), (teacher,), context)

  assert jnp.abs(change).max() > 0.1
  assert imitation(student + change) == pytest.approx(0, abs=1e-6)
  assert imitation(student + target - change) > 1e-3


def test_kspace_imitation_sees_all_that_consistency_leaves_free():
  """Real images, a mask without symmetry: sampled k differ, but as their mirrors."""
  target, student, teacher = images()
  rows = jnp.zeros(10).at[jnp.array([0, 1, 2, 7])].set(1)
  mask = jnp.broadcast_to(rows[:, None], (10, 7))
  measurement = Measurement(mask * fourier.fft2(target[..., 0]), mask)
  make_consistent = consistency.make(measurement, channels=1)
  student, teacher = make_consistent(student), make_consistent(teacher)
  square = np.square(np.abs(np.fft.fft2(double(student - teacher)[..., 0])) / 70**0.5)
  sampled = square[:, [0, 1, 2, 7]].mean((0, 2))
  np.testing.assert_allclose(sampled[:1], 0, atol=1e-10)
  assert (sampled[1:] > 1e-3).all()
  flipped = np.roll(np.flip(mask), (1, 1), (0, 1))
  free = square * (1 - (np.asarray(mask) + flipped) / 2)
  expected = free.sum((1, 2)).mean() / np.sum(np.asarray(mask) == 0)
  context = make_context(target, mask)
  measured = value("kspace_imitation", "l2", (student,), (teacher,), context)
  close(measured, expected, rel=1e-4)


def test_kspace_imitation_of_a_full_mask_is_zero():
  target, student, teacher = images()
  context = make_context(target, np.ones((10, 7), bool))
  for variant in ("l1", "l2"):
    measured, gradient = jax.value_and_grad(
      lambda s, v=variant: value("kspace_imitation", v, (s,), (teacher,), context)
    )(student)
    assert measured == 0
    assert (gradient == 0).all()


def test_kspace_imitation_refuses_three_channels():
  target, student, teacher = images(3)
  with pytest.raises(ValueError, match="1 or 2 channels, not 3"):
    value("kspace_imitation", "l1", (student,), (teacher,), make_context(target))


@pytest.mark.parametrize("channels", [1, 2])
def test_teacher_bounded_in_float64(channels):
  target, student, teacher = images(channels)
  student = student.at[0].set(target[0] + 0.01)
  student = student.at[1].set(target[1] - 3)
  context = make_context(target)
  x, s, t = map(double, (target, student, teacher))
  expected = {"paper": 0.0, "image": 0.0, "pixel": 0.0}
  for b in range(3):
    if np.square(s[b] - x[b]).sum() > np.square(t[b] - x[b]).sum():
      expected["paper"] += np.square(s[b] - x[b]).mean() / 3
      expected["image"] += np.square(s[b] - t[b]).mean() / 3
    for h, w in np.ndindex(10, 7):
      pixels = x[b, h, w], s[b, h, w], t[b, h, w]
      if (
        np.square(pixels[1] - pixels[0]).sum() > np.square(pixels[2] - pixels[0]).sum()
      ):
        expected["pixel"] += np.square(pixels[1] - pixels[2]).sum() / s.size
  for variant, number in expected.items():
    close(value("teacher_bounded", variant, (student,), (teacher,), context), number)


@pytest.mark.parametrize("variant", ["paper", "image", "pixel"])
def test_a_student_better_than_its_teacher_is_left_alone(variant):
  target, _, teacher = images()
  context = make_context(target)
  better = target + 0.5 * (teacher - target)
  gradient = jax.grad(
    lambda s: value("teacher_bounded", variant, (s,), (teacher,), context)
  )(better)
  assert (gradient == 0).all()


@pytest.mark.parametrize("name", ["attentive_imitation", "attentive_hint"])
def test_attentive_in_float64(name):
  target, student, teacher = images()
  context = make_context(target, error=[0.1, 0.25, 0.45], error_range=0.4)
  phi = [0.75, 0.375, 0.0]
  squares = [
    np.square(double(s) - double(t)).mean()
    for s, t in zip(student, teacher, strict=True)
  ]
  expected = np.dot(phi, squares) / 3
  close(value(name, "paper", (student,), (teacher,), context), expected)
  layers = (student, 2 * student), (teacher, 2 * teacher)
  close(value(name, "paper", *layers, context), 5 * expected)


def test_trust_stays_within_0_and_1():
  error = jnp.array([0.0, 0.2, 0.5, 3.0])
  np.testing.assert_allclose(attentive.trust(error, 0.5), [1, 0.6, 0, 0], atol=1e-7)
  np.testing.assert_array_equal(attentive.trust(error, 0.0), np.ones(4))


def test_layers_must_be_as_many():
  one = (activations(0),)
  for name, variant in [("nst", "paper"), ("channel_wise", "paper")]:
    with pytest.raises(ValueError, match="argument 2"):
      value(name, variant, one, one * 2)


# Directions.


def test_unit_and_norm_of_zero_have_no_gradient():
  x = jnp.array([[3.0, 4.0], [0.0, 0.0], [1e-13, 0.0]])
  np.testing.assert_allclose(vectors.norm(x)[:, 0], [5, 0, 0], atol=1e-6)
  np.testing.assert_allclose(vectors.unit(x), [[0.6, 0.8], [0, 0], [0, 0]], atol=1e-7)
  for function in (vectors.norm, vectors.unit):
    gradient = jax.jacobian(function)(x)
    assert np.isfinite(gradient).all()
    assert (np.asarray(gradient)[1:] == 0).all()


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

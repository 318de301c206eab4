"""Several coils: the operator, CG-SENSE, sensitivities and whitening.

golden/coils.npz has arrays computed with sigpy 0.1.27, in this project's order: `image`
by SenseRecon (lamda 0.02, 200 iterations) from `kspace`, `sensitivities` and `mask`,
`maps` by EspiritCalib (crop 0.9, 1000 power iterations) from `full`.
"""

import pathlib

import jax
import numpy as np
import pytest

import kdmri_jax as kd
from kdmri_jax.errors import ArgumentError
from kdmri_jax.physics import conjugate_gradients
from kdmri_jax.physics.coils import operator

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "coils.npz"
SHAPE = (9, 8)
MASKS = {
  "rows": (0, kd.masks.cartesian(SHAPE, 2, 2, 0)),
  "columns": (1, kd.masks.cartesian(SHAPE, 2, 2, 1)),
  "points": (None, kd.masks.gaussian2d(SHAPE, 2.5, 2)),
}

pytestmark = pytest.mark.usefixtures("quick_compilation")


def draw(*shape, seed=0):
  real, imaginary = np.random.default_rng(seed).normal(size=(2, *shape))
  return (real + 1j * imaginary).astype(np.complex64)


def head(shape):
  """A complex image with air around an ellipse, and the ellipse."""
  y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
  inside = (y / 0.85) ** 2 + (x / 0.75) ** 2 < 1
  image = 0.6 + 0.3 * np.sin(7 * x + 2) * np.cos(5 * y)
  return (inside * image * np.exp(1j * (x * y + 0.4))).astype(np.complex64), inside


def dense(sensitivities, mask):
  """A as a matrix [C H W, H W], in double precision."""
  pixels = np.eye(mask.size).reshape(-1, 1, *mask.shape)
  kspace = mask * np.fft.fft2(sensitivities.astype(complex) * pixels, norm="ortho")
  return kspace.reshape(mask.size, -1).T


@pytest.mark.parametrize("axis_mask", MASKS.values(), ids=MASKS)
def test_operator_adjoint_and_normal_are_those_of_the_matrix(axis_mask):
  axis, mask = axis_mask
  sensitivities, image, kspace = draw(3, *SHAPE), draw(*SHAPE, seed=1), draw(3, *SHAPE)
  matrix = dense(sensitivities, mask)
  forward = kd.coils.forward(image, sensitivities, mask)
  np.testing.assert_allclose(forward.ravel(), matrix @ image.ravel(), atol=1e-5)
  back = kd.coils.adjoint(kspace, sensitivities, mask)
  expected = matrix.conj().T @ kspace.ravel()
  np.testing.assert_allclose(back.ravel(), expected, atol=1e-5)
  # <A x, y> = <x, A^H y>
  np.testing.assert_allclose(np.vdot(kspace, forward), np.vdot(back, image), rtol=1e-5)
  for form in {None, axis}:
    normal = operator.normal(sensitivities, mask, form)(image)
    expected = matrix.conj().T @ matrix @ image.ravel()
    np.testing.assert_allclose(normal.ravel(), expected, atol=2e-5)


def test_a_batch_is_its_images_and_a_mask_for_each():
  sensitivities, image = draw(2, 3, *SHAPE), draw(2, *SHAPE)
  masks = np.stack([MASKS["rows"][1], MASKS["points"][1]])
  kspace = kd.coils.forward(image, sensitivities, masks)
  results = {
    "adjoint": kd.coils.adjoint(kspace, sensitivities, masks),
    "cg_sense": kd.coils.cg_sense(kspace, sensitivities, masks, lam=0.1, iterations=60),
  }
  for name, result in results.items():
    settings = {"lam": 0.1, "iterations": 60} if name == "cg_sense" else {}
    for k in range(2):
      alone = getattr(kd.coils, name)(kspace[k], sensitivities[k], masks[k], **settings)
      np.testing.assert_allclose(result[k], alone, atol=1e-5)


def test_one_coil_of_sensitivity_1_is_undersampling_bit_for_bit():
  image, one = draw(3, 24, 20), np.ones((3, 1, 24, 20), np.complex64)
  mask = kd.masks.cartesian((24, 20), 3, 4)
  zero_filled, measured = kd.undersample(image, mask)
  kspace = kd.coils.forward(image, one, mask)
  np.testing.assert_array_equal(kspace[:, 0], measured.kspace)
  again = kd.coils.adjoint(kspace, one, mask)
  np.testing.assert_array_equal(again, zero_filled)


@pytest.mark.parametrize("lam", [0.0, 0.05])
def test_cg_sense_is_the_dense_solution(lam):
  mask = kd.masks.cartesian(SHAPE, 1.5, 3) if lam == 0 else MASKS["points"][1]
  sensitivities, kspace = draw(4, *SHAPE), draw(4, *SHAPE, seed=1)
  matrix = dense(sensitivities, mask)
  system = matrix.conj().T @ matrix + lam * np.eye(mask.size)
  expected = np.linalg.solve(system, matrix.conj().T @ kspace.ravel())
  image = kd.coils.cg_sense(kspace, sensitivities, mask, lam=lam, iterations=300)
  error = np.linalg.norm(image.ravel() - expected) / np.linalg.norm(expected)
  assert error < 1e-4


def test_cg_sense_and_espirit_give_the_results_of_sigpy():
  with np.load(GOLDEN) as golden:
    kspace, mask, full, maps = (golden[k] for k in ("kspace", "mask", "full", "maps"))
    sensitivities, expected = golden["sensitivities"], golden["image"]
  image = kd.coils.cg_sense(kspace, sensitivities, mask, lam=0.02, iterations=100)
  assert np.linalg.norm(image - expected) < 1e-4 * np.linalg.norm(expected)
  found = kd.coils.estimate(full)
  agreement = np.abs((found.conj() * maps).sum(0))
  np.testing.assert_allclose(agreement, (maps != 0).any(0), atol=1e-5)


def test_conjugate_gradients_stop_alone_and_have_their_own_derivative():
  sizes = np.array([[1.0, 0.5, 0.1], [2.0, 2.0, 2.0]], np.float32)[:, None]

  def solve(target, iterations=3):
    return conjugate_gradients.solve(lambda x: sizes * x, target, iterations=iterations)

  @jax.jit
  def run(target, change):
    ahead, behind = (solve(target + sign * 1e-2 * change, 2) for sign in (1, -1))
    slope = jax.jvp(lambda x: solve(x, 2), (target,), (change,))[1]
    gradient = jax.grad(lambda x: (abs(solve(x)) ** 2).sum())(target)
    results = solve(target), solve(target, 1), solve(0 * target)
    return results, slope, (ahead - behind) / 2e-2, gradient

  target = draw(2, 1, 3)
  results, slope, difference, gradient = run(target, draw(2, 1, 3, seed=1))
  np.testing.assert_allclose(results[0], target / sizes, rtol=1e-4)
  np.testing.assert_array_equal(results[0][1], results[1][1])
  np.testing.assert_array_equal(results[2], 0 * target)
  np.testing.assert_allclose(slope, difference, rtol=0.02, atol=5e-3)
  np.testing.assert_allclose(gradient.conj(), 2 * target / sizes**2, rtol=1e-3)


@pytest.mark.parametrize("coils", [1, 2, 5, 16])
def test_simulated_sensitivities_are_smooth_normalised_and_of_any_size(coils):
  maps = kd.coils.simulate((33, 48), coils, seed=2)
  assert (maps.shape, maps.dtype) == ((coils, 33, 48), np.complex64)
  np.testing.assert_allclose((np.abs(maps) ** 2).sum(0), 1, rtol=1e-5)
  for axis in (1, 2):
    assert np.abs(np.diff(maps, axis=axis)).max() < 0.3
  np.testing.assert_array_equal(maps, kd.coils.simulate((33, 48), coils, seed=2))
  assert not np.allclose(maps, kd.coils.simulate((33, 48), coils, seed=3), atol=0.1)
  finer = kd.coils.simulate((99, 144), coils, seed=2)  # its pixels at the same places
  np.testing.assert_allclose(finer[:, 1::3, 1::3], maps, atol=1e-5)
  brightest = {np.unravel_index(np.abs(m).argmax(), m.shape) for m in maps}
  assert coils == 1 or len(brightest) == coils


@pytest.mark.parametrize("lines", [8, 24, None])
@pytest.mark.parametrize("axis", [0, 1])
def test_espirit_recovers_sensitivities_up_to_a_phase(axis, lines):
  image, inside = head((48, 44))
  maps = kd.coils.simulate(image.shape, 5, seed=1)
  shape = image.shape
  mask = kd.masks.cartesian(shape, 1.5, lines, axis) if lines else np.ones(shape)
  found = kd.coils.estimate(kd.coils.forward(image, maps, mask))
  assert found.dtype == np.complex64
  agreement = np.abs((found.conj() * maps).sum(0))
  assert agreement[inside].min() > 0.98
  assert agreement[inside].mean() > 0.999
  root = np.sqrt((np.abs(found) ** 2).sum(0))
  np.testing.assert_allclose(root, root > 0.5, atol=1e-5)
  assert (root[0, [0, -1]] == 0).all()  # air


def test_low_resolution_sensitivities():
  image, inside = head((48, 44))
  maps = kd.coils.simulate(image.shape, 5, seed=1)
  kspace = kd.coils.forward(image, maps, kd.masks.cartesian(image.shape, 2, 12))
  found = kd.coils.estimate(kspace, "low_resolution")
  np.testing.assert_allclose((np.abs(found) ** 2).sum(0), 1, rtol=1e-5)
  agreement = np.abs((found.conj() * maps).sum(0))[inside]
  assert agreement.min() > 0.98


def test_cg_sense_beats_zero_filling_with_estimated_sensitivities():
  image, _ = head((48, 44))
  maps = kd.coils.simulate(image.shape, 6, seed=1)
  mask = kd.masks.equispaced(image.shape, 3, 10)
  kspace = kd.coils.forward(image, maps, mask)
  found = kd.coils.estimate(kspace)
  truth = (found.conj() * maps).sum(0) * image

  def error(result):
    return np.linalg.norm(result - truth) / np.linalg.norm(truth)

  zero_filled = error(kd.coils.adjoint(kspace, found, mask))
  assert error(kd.coils.cg_sense(kspace, found, mask, lam=1e-3)) < 0.4 * zero_filled


def test_whitened_noise_is_independent():
  rng = np.random.default_rng(0)
  mixing = np.array([[1, 0, 0], [0.8, 2, 0], [0.3j, -1, 0.5]])
  noise = mixing @ (rng.normal(size=(3, 40, 50, 2)) @ [1, 1j]).reshape(3, -1)
  covariance = kd.coils.noise_covariance(noise)
  np.testing.assert_allclose(covariance, 2 * mixing @ mixing.conj().T, atol=0.3)
  white = kd.coils.prewhiten(noise.reshape(3, 40, 50), covariance)
  np.testing.assert_allclose(kd.coils.noise_covariance(white), np.eye(3), atol=1e-12)
  many = np.stack([noise.reshape(3, 40, 50)] * 2).astype(np.complex64)
  assert kd.coils.prewhiten(many, covariance).dtype == np.complex64
  np.testing.assert_allclose(kd.coils.prewhiten(many, covariance)[1], white, rtol=1e-4)


def test_whitening_improves_cg_sense():
  image, _ = head((32, 30))
  maps = kd.coils.simulate(image.shape, 4, seed=1)
  mask = kd.masks.cartesian(image.shape, 2, 6)
  rng = np.random.default_rng(0)
  mixing = np.diag([1, 1, 1, 12]) + 0.3 * (np.ones((4, 4)) - np.eye(4))
  noise = np.einsum("cd,dhw->chw", mixing, 0.03 * draw(4, *mask.shape))
  kspace = kd.coils.forward(image, maps, mask) + mask * noise
  scan = 0.03 * mixing @ (rng.normal(size=(4, 5000, 2)) @ [1, 1j])
  covariance = kd.coils.noise_covariance(scan)
  scale = np.trace(covariance).real / 4  # keeps the weight of lam comparable
  white = [kd.coils.prewhiten(v, covariance / scale) for v in (kspace, maps)]
  before, after = (
    np.linalg.norm(kd.coils.cg_sense(*pair, mask, lam=0.0, iterations=20) - image)
    for pair in ((kspace, maps), white)
  )
  assert after < 0.7 * before


FULL = np.ones(SHAPE, np.uint8)
WRONG = {
  "image: found": lambda: kd.coils.forward(draw(8, 8), draw(3, *SHAPE), FULL),
  "kspace: found": lambda: kd.coils.adjoint(draw(2, *SHAPE), draw(3, *SHAPE), FULL),
  "sensitivities: found": lambda: kd.coils.forward(draw(*SHAPE), draw(*SHAPE), FULL),
  "mask: found": lambda: kd.coils.forward(draw(*SHAPE), draw(3, *SHAPE), FULL[1:]),
  "lam: found -1": lambda: kd.coils.cg_sense(0, 0, FULL, lam=-1),
  "lam: found inf": lambda: kd.coils.cg_sense(0, 0, FULL, lam=np.inf),
  "iterations: found 0": lambda: kd.coils.cg_sense(0, 0, FULL, iterations=0),
  "iterations: found 2.5": lambda: kd.coils.cg_sense(0, 0, FULL, iterations=2.5),
  "method: found 'x'; expected one of 'espirit'": lambda: kd.coils.estimate(0, "x"),
  r"kspace: found shape \(9, 8\)": lambda: kd.coils.estimate(draw(*SHAPE)),
  "kspace: found a fully sampled centre of 3x8": lambda: kd.coils.estimate(
    draw(3, *SHAPE) * (np.abs(np.fft.fftfreq(9)) < 0.2)[:, None]
  ),
  "kspace: found NaN or infinite values": lambda: kd.coils.estimate(
    np.where(draw(3, *SHAPE).real > 1, np.nan, 1)
  ),
  "coils: found 0": lambda: kd.coils.simulate(SHAPE, 0),
  "shape: found": lambda: kd.coils.simulate((3, 0)),
  "noise: found 2 samples of 3 coils": lambda: kd.coils.noise_covariance(draw(3, 2)),
  "covariance: found shape": lambda: kd.coils.prewhiten(draw(3, *SHAPE), np.eye(2)),
  "covariance: found a matrix": lambda: kd.coils.prewhiten(
    draw(3, *SHAPE), np.ones((3, 3))
  ),
  "covariance: found a matrix that is": lambda: kd.coils.prewhiten(
    draw(3, *SHAPE), np.full((3, 3), np.nan)
  ),
  r"values: found shape \(9, 8\)": lambda: kd.coils.prewhiten(draw(*SHAPE), np.eye(3)),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_arguments_are_named(message):
  with pytest.raises(ArgumentError, match=f"^{message}"):
    WRONG[message]()

"""Masks: the published recipe, the files that it explains, and files to refuse."""

import dataclasses
import itertools

import numpy as np
import pytest

from kdmri_jax.config import MaskConfig, TaskConfig
from kdmri_jax.config.measurement import MASKS
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.physics import acquisition
from kdmri_jax.physics.masks import describe, files, recipes

CONFIG = MaskConfig("cartesian", 4.0, 10, 0, 0, "")
# Anatomy: phase-encode axis, size, and lines and centre lines at 4x, 5x and 8x.
PUBLISHED = {
  "cardiac": (0, (150, 150), {4: 37, 5: 30, 8: 18}, {10, 11}),
  "mrbrain": (0, (240, 240), {4: 60, 5: 48, 8: 30}, {9, 10}),
  "knee": (1, (640, 368), {4: 94, 5: 74, 8: 50}, {29, 30}),
}


def config(**changes):
  return dataclasses.replace(CONFIG, **changes)


def save(folder, mask):
  path = folder / "mask.npy"
  np.save(path, mask)
  return path


def refusal(path, *arguments):
  with pytest.raises(UserError) as caught:
    files.load(path, *arguments)
  assert caught.value.where == path
  return str(caught.value)


@pytest.mark.parametrize("acceleration", [4, 5, 8])
@pytest.mark.parametrize("anatomy", ["cardiac", "mrbrain"])
def test_line_counts_are_the_published_ones(anatomy, acceleration):
  axis, shape, lines, _ = PUBLISHED[anatomy]
  mask = recipes.cartesian(shape, acceleration, 10, axis, 0)
  assert mask.dtype == np.uint8
  assert mask.shape == shape
  assert describe.describe(mask)["sampled_lines"] == lines[acceleration]
  assert mask[[0, 1, 2, 3, 4, -5, -4, -3, -2, -1]].all()


@pytest.mark.parametrize("kind", ["cartesian", "equispaced"])
@pytest.mark.parametrize("axis", [0, 1])
def test_axis_and_seed(kind, axis):
  draw = getattr(recipes, kind)
  mask = draw((60, 48), 3, 5, axis, 7)
  assert describe.phase_encode_axis(mask) == axis
  assert describe.is_cartesian(mask, axis)
  assert not describe.is_cartesian(mask, 1 - axis)
  np.testing.assert_array_equal(draw((60, 48), 3, 5, axis, 7), mask)
  assert (draw((60, 48), 3, 5, axis, 8) != mask).any()
  square = draw((48, 48), 3, 5, axis, 7)
  np.testing.assert_array_equal(draw((48, 48), 3, 5, 1 - axis, 7), square.T)


def test_cartesian_lines_follow_the_density():
  """How often a line is drawn alone, against the recipe's density."""
  length, centre, draws = 40, 4, 4000
  counts = sum(
    np.fft.fftshift(
      recipes.cartesian((length, 1), 8, centre, 0, seed)[:, 0].astype(int)
    )
    for seed in range(draws)
  )
  k = np.arange(length)
  density = np.exp(-0.5 * ((k - 20) / 4) ** 2) + 1 / 16
  density[18:22] = 0
  assert (counts[18:22] == draws).all()
  counts[18:22] = 0
  expected = draws * density / density.sum()
  assert counts.sum() == draws
  assert (np.abs(counts - expected) <= 5 * np.sqrt(expected)).all()


def test_equispaced_gaps_differ_by_one_line_at_most():
  mask = recipes.equispaced((100, 3), 4, 8, 0, 3)
  line = np.delete(np.fft.fftshift(mask[:, 0]), np.arange(46, 54))
  gaps = np.diff(np.flatnonzero(line))
  assert mask[:, 0].sum() == 25
  assert set(gaps) <= {5, 6}


def test_gaussian2d_has_its_points_its_square_and_no_axis():
  mask = recipes.gaussian2d((60, 50), 5, 8, 0)
  assert mask.sum() == 600
  assert np.fft.fftshift(mask)[26:34, 21:29].all()
  assert describe.phase_encode_axis(mask) is None
  centred = np.fft.fftshift(mask)
  assert centred[15:45, 12:37].sum() > 0.4 * 600  # 0.32 were the rest uniform
  assert (recipes.gaussian2d((60, 50), 5, 8, 1) != mask).any()


@pytest.mark.parametrize("factor", [2, 2.5, 4])
def test_central_keeps_the_low_frequencies(factor):
  shape = (60, 45)
  mask = recipes.central(shape, factor)
  frequencies = [np.fft.fftfreq(n) * n for n in shape]
  kept = [
    np.abs(k + 0.25) < int(n / factor) / 2
    for k, n in zip(frequencies, shape, strict=True)
  ]
  np.testing.assert_array_equal(mask, np.outer(*kept))


def test_describe():
  mask = recipes.equispaced((60, 48), 4, 6, 1, 0)
  assert describe.describe(mask) == {
    "axis": 1,
    "sampled_lines": 12,
    "acceleration": 4.0,
    "centre_lines": 6,
  }
  points = describe.describe(recipes.gaussian2d((60, 50), 5, 8, 0))
  assert points["axis"] is None
  assert points["sampled_lines"] is None
  assert points["acceleration"] == 5.0
  assert points["centre_lines"] >= 8
  full = describe.describe(np.ones((6, 5)))
  assert full["acceleration"] == 1.0


def test_axis_of_stacks_and_of_full_sampling():
  stack = np.stack([recipes.cartesian((20, 20), 3, 2, 1, seed) for seed in range(3)])
  assert describe.phase_encode_axis(stack) == 1
  stack[1] = stack[1].T
  assert describe.phase_encode_axis(stack) is None
  assert describe.is_cartesian(np.ones((4, 4)), 0)
  assert describe.is_cartesian(np.ones((4, 4)), 1)


def test_a_config_may_name_every_recipe():
  assert (*recipes.KINDS, "file") == MASKS


@pytest.mark.parametrize("kind", list(recipes.KINDS))
@pytest.mark.parametrize("shape", [(16, 16), (33, 24), (64, 50)])
def test_what_build_makes_load_takes(tmp_path, kind, shape):
  for acceleration, centre, axis, seed in itertools.product(
    (1.2, 2, 4), (1, 3), (0, 1), range(3)
  ):
    settings = config(
      kind=kind, acceleration=acceleration, centre_lines=centre, axis=axis, seed=seed
    )
    mask = recipes.build(settings, shape)
    path = save(tmp_path, mask)
    np.testing.assert_array_equal(files.load(path, shape, axis), mask)
    from_file = recipes.build(config(kind="file", path=str(path), axis=axis), shape)
    np.testing.assert_array_equal(from_file, mask)


@pytest.mark.parametrize(
  ("key", "changes"),
  [
    ("kind", {"kind": "radial"}),
    ("acceleration", {"acceleration": 1.0}),
    ("acceleration", {"acceleration": float("nan")}),
    ("acceleration", {"acceleration": float("inf")}),
    ("acceleration", {"acceleration": -4.0, "kind": "gaussian2d"}),
    ("acceleration", {"acceleration": 0.5, "kind": "central"}),
    ("acceleration", {"acceleration": 41.0, "kind": "central"}),
    ("centre_lines", {"centre_lines": 0}),
    ("centre_lines", {"centre_lines": 16}),
    ("centre_lines", {"centre_lines": 17, "kind": "equispaced"}),
    ("centre_lines", {"centre_lines": 33, "kind": "gaussian2d"}),
    ("centre_lines", {"centre_lines": 41, "kind": "gaussian2d", "acceleration": 1.1}),
    ("axis", {"axis": 2}),
    ("seed", {"seed": -1}),
  ],
)
def test_build_names_the_setting(key, changes):
  with pytest.raises(ArgumentError) as caught:
    recipes.build(config(**changes), (60, 40))
  assert caught.value.where == key


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32, np.float64])
def test_load_takes_any_numeric_type(tmp_path, dtype):
  mask = recipes.cartesian((30, 20), 3, 4, 1, 0)
  loaded = files.load(save(tmp_path, mask.astype(dtype)), (30, 20))
  assert loaded.dtype == np.uint8
  np.testing.assert_array_equal(loaded, mask)


def test_load_refuses_another_shape(tmp_path):
  path = save(tmp_path, recipes.cartesian((30, 20), 3, 4, 1, 0))
  message = refusal(path, (20, 30))
  assert "shape (30, 20)" in message
  assert "shape (20, 30)" in message
  assert "transposed" in message
  assert "transposed" not in refusal(path, (20, 20))


@pytest.mark.parametrize("axis", [0, 1])
def test_load_refuses_a_transposed_square_mask(tmp_path, axis):
  mask = recipes.cartesian((40, 40), 4, 4, axis, 0)
  message = refusal(save(tmp_path, mask.T), (40, 40), axis)
  assert f"found phase-encode axis {1 - axis}; expected axis {axis}" in message
  assert "mask.T" in message
  np.testing.assert_array_equal(files.load(save(tmp_path, mask), (40, 40), axis), mask)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", sorted({*recipes.KINDS} - {"full"}))
def test_load_refuses_a_centred_mask(tmp_path, kind, seed):
  mask = recipes.build(config(kind=kind, centre_lines=5, seed=seed), (64, 48))
  centred = np.fft.fftshift(mask)
  assert "ifftshift" in refusal(save(tmp_path, centred), (64, 48))
  back = files.load(save(tmp_path, np.fft.ifftshift(centred)), (64, 48))
  np.testing.assert_array_equal(back, mask)


def test_load_refuses_a_centred_mask_that_happens_to_sample_the_corner(tmp_path):
  mask = np.fft.fftshift(recipes.cartesian((64, 48), 4, 6, 0, 0))
  mask[:2] = 1
  assert "ifftshift" in refusal(save(tmp_path, mask), (64, 48))


@pytest.mark.parametrize(
  ("value", "found"),
  [(np.nan, "value nan"), (np.inf, "inf"), (0.5, "value 0.5"), (-1, "value -1")],
)
def test_load_refuses_values_that_are_neither_0_nor_1(tmp_path, value, found):
  mask = recipes.cartesian((30, 20), 3, 4, 1, 0).astype(float)
  mask[3, 4] = value
  assert found in refusal(save(tmp_path, mask), (30, 20))


@pytest.mark.parametrize(
  "array",
  [
    np.ones((1, 6, 5)),
    np.ones(6),
    np.ones((6, 5), complex),
    np.full((6, 5), "1"),
    np.ones((0, 5)),
  ],
)
def test_load_refuses_other_arrays(tmp_path, array):
  assert f"shape {array.shape}" in refusal(save(tmp_path, array), (6, 5))


def test_load_refuses_an_empty_mask(tmp_path):
  assert "not sampled" in refusal(save(tmp_path, np.zeros((6, 5))), (6, 5))


def test_load_refuses_what_is_no_complete_npy_file(tmp_path):
  path = tmp_path / "mask.npy"
  assert "No such file" in refusal(path, (30, 20))
  assert "directory" in refusal(tmp_path, (30, 20))
  np.save(path, recipes.cartesian((30, 20), 3, 4, 1, 0))
  whole = path.read_bytes()
  for content in (b"", b"PNG and so on", whole[:5], whole[:40], whole[:-1]):
    path.write_bytes(content)
    assert ".npy" in refusal(path, (30, 20))


def test_the_axis_of_a_config_is_that_of_its_masks():
  for kind in recipes.KINDS:
    made = recipes.build(config(kind=kind, axis=1, centre_lines=4), (60, 40))
    axis = recipes.phase_encode_axis(config(kind=kind, axis=1))
    if kind != "full":  # varies along neither axis
      assert axis == describe.phase_encode_axis(made)
  assert recipes.phase_encode_axis(config(kind="file", axis=1)) == 1


def test_a_mask_file_without_a_name_is_named_by_its_setting():
  with pytest.raises(UserError, match=r"^mask\.path: found no file"):
    acquisition.build({"": TaskConfig(config(kind="file", path=""), None)}, (30, 20))


def test_load_runs_no_pickle(tmp_path):
  path = tmp_path / "mask.npy"
  np.save(path, np.array([[{}]], object), allow_pickle=True)
  assert "pickle" in refusal(path, (1, 1))


@pytest.mark.data
@pytest.mark.parametrize("acceleration", [4, 5, 8])
@pytest.mark.parametrize("anatomy", list(PUBLISHED))
def test_published_masks(real_data, tmp_path, anatomy, acceleration):
  axis, shape, lines, centre = PUBLISHED[anatomy]
  path = real_data / "us_masks" / anatomy / f"mask_{acceleration}x.npy"
  mask = files.load(path, shape, axis)
  facts = describe.describe(mask)
  assert facts["axis"] == axis
  assert facts["sampled_lines"] == lines[acceleration]
  assert facts["centre_lines"] in centre
  np.testing.assert_array_equal(mask, np.load(path))
  assert "ifftshift" in refusal(save(tmp_path, np.fft.fftshift(mask)), shape)
  assert "shape" in refusal(save(tmp_path, mask[:-1]), shape)
  if shape[0] == shape[1]:
    assert "phase-encode" in refusal(save(tmp_path, mask.T), shape, axis)


@pytest.mark.data
def test_mask_of_the_original_layout(real_data):
  path = real_data / "original_layout" / "us_masks" / "knee" / "mask_4x.npy"
  facts = describe.describe(files.load(path, (256, 256)))
  assert (facts["axis"], facts["sampled_lines"]) == (1, 64)

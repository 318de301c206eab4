"""Networks of other programs in ONNX files."""

import jax
import numpy as np
import onnx
import pytest
from helpers import onnx_files
from onnx import helper, numpy_helper

from kdmri_jax.data.input_scale import LARGEST, UNSCALED, InputScale
from kdmri_jax.errors import UserError
from kdmri_jax.interop import save_onnx
from kdmri_jax.interop.onnx_graph import SCALED_ABOVE
from kdmri_jax.interop.onnx_network import OnnxNetwork
from kdmri_jax.models import contract
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.models.features import count_parameters
from kdmri_jax.models.vdsr import VDSR
from kdmri_jax.physics.masks import recipes
from kdmri_jax.physics.undersample import undersample

SIZE = (12, 10)
MASK = np.asarray(recipes.cartesian(SIZE, acceleration=2, centre_lines=2), np.uint8)
OTHER = np.asarray(
  recipes.cartesian(SIZE, acceleration=2, centre_lines=2, seed=1), np.uint8
)


def inputs(channels=1, count=5, mask=MASK):
  target = np.random.default_rng(0).uniform(0, 0.5, (count, *SIZE, channels))
  zero_filled, measured = undersample(target.astype(np.float32), mask)
  return jax.device_get((zero_filled, measured.kspace, measured.mask))


def weights_of(model):
  shapes = contract.parameter_shapes(model, SIZE)
  generator = np.random.default_rng(3)
  return jax.tree.map(
    lambda x: generator.normal(0, 0.2, x.shape).astype(np.float32), shapes
  )


@pytest.mark.parametrize(
  ("shape", "options", "channels"),
  [
    (("b", 1, "h", "w"), {}, 1),
    (("b", "h", "w", 1), {"last": True}, 1),
    ((None, None, None, None), {}, 1),
    ((2, 1, *SIZE), {}, 1),  # five slices in three calls
    (("b", 2, "h", "w"), {"channels": 2}, 2),
    (("b", "h", "w", 2), {"channels": 2, "last": True}, 2),
  ],
)
def test_a_network_of_images(tmp_path, shape, options, channels):
  network = OnnxNetwork(
    onnx_files.save_blur(tmp_path / "a.onnx", shape, **options), channels
  )
  own = inputs(channels)
  found = network(*own)
  assert found.dtype == np.float32
  np.testing.assert_allclose(found, onnx_files.blurred(own[0]), atol=1e-6)
  assert network.parameters == 9 * channels**2


def test_quantised_weights_and_constants_are_counted(tmp_path):
  """Scales and zero points are none, also where each channel has its own."""
  kernel = np.array([[0, 1, 2], [0, 5, 1], [0, 1, 0]], "i1")[None, None]
  of_channels = [("scale", np.array([0.1], "f4")), ("zero", np.array([0], "i1"))]
  bias = numpy_helper.from_array(np.zeros(1, "f4"))
  nodes = [
    helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["kernel"], axis=0),
    helper.make_node("Constant", [], ["bias"], value=bias),
    helper.make_node("Conv", ["x", "kernel", "bias"], ["y"], pads=[1, 1, 1, 1]),
  ]
  weights, shapes = [("q", kernel), *of_channels], {"x": ("b", 1, "h", "w")}
  path = onnx_files.save(tmp_path / "a.onnx", shapes, nodes, "y", weights=weights)
  network, own = OnnxNetwork(path, 1), inputs()
  assert network.parameters == 9 + 1
  np.testing.assert_allclose(network(*own), onnx_files.blurred(own[0]), atol=1e-6)


def test_double_precision(tmp_path):
  nodes = [helper.make_node("Identity", ["x"], ["y"])]
  shapes = {"x": ("b", 1, "h", "w")}
  path = onnx_files.save(tmp_path / "a.onnx", shapes, nodes, "y", "f8")
  own = inputs()
  network = OnnxNetwork(path, 1)
  np.testing.assert_array_equal(network(*own), own[0])
  assert network.parameters is None


def test_an_image_and_a_mask(tmp_path):
  """The mask of each image, where they differ."""
  nodes = [
    helper.make_node("Reshape", ["mask", "shape"], ["plane"]),
    helper.make_node("Mul", ["input", "plane"], ["y"]),
  ]
  weights = [("shape", np.array([1, 1, *SIZE]))]
  shapes = {"input": ("b", 1, "h", "w"), "mask": SIZE}
  path = onnx_files.save(tmp_path / "a.onnx", shapes, nodes, "y", weights=weights)
  masks = np.stack([MASK, OTHER, MASK, OTHER, OTHER])
  own = inputs(mask=masks)
  found = OnnxNetwork(path, 1)(*own)
  np.testing.assert_array_equal(found, own[0] * masks[..., None])


@pytest.mark.parametrize("scale", [UNSCALED, LARGEST, InputScale("brightness", 0.4)])
@pytest.mark.parametrize(
  "model",
  [
    DCCNN(cascades=2, convolutions=3, features=4, consistency="matrix0"),
    DCCNN(cascades=2, convolutions=3, features=4, channels=2, consistency="fft"),
    VDSR(convolutions=3, features=4),
  ],
)
def test_what_the_project_exports(tmp_path, model, scale):
  """In the scale of the run, whether or not the file scales what it is given."""
  own = inputs(model.channels)
  measured = undersample(own[0][..., :1], MASK)[1]._replace(kspace=own[1])
  params = weights_of(model)
  save_onnx(tmp_path / "a.onnx", model, params, SIZE, scale)
  network = OnnxNetwork(tmp_path / "a.onnx", model.channels)
  expected = jax.jit(model.apply)({"params": params}, own[0], measured).image
  np.testing.assert_allclose(network(*own), expected, atol=1e-5)
  assert network.parameters == count_parameters(params)


def test_several_coils_are_for_networks_of_images(tmp_path):
  zero_filled, kspace, mask = inputs(2)
  coils = np.stack([kspace, kspace], axis=1)
  path = onnx_files.save_blur(tmp_path / "a.onnx", ("b", 2, "h", "w"), channels=2)
  found = OnnxNetwork(path, 2)(zero_filled, coils, mask)
  np.testing.assert_allclose(found, onnx_files.blurred(zero_filled), atol=1e-6)
  model = DCCNN(cascades=1, convolutions=2, features=4, channels=2, consistency="fft")
  save_onnx(tmp_path / "b.onnx", model, weights_of(model), SIZE)
  with pytest.raises(UserError, match=r"b\.onnx: found a .* one coil, in a run"):
    OnnxNetwork(tmp_path / "b.onnx", 2)(zero_filled, coils, mask)


def test_other_outputs_are_layers(tmp_path):
  nodes = [
    helper.make_node("Concat", ["x", "y"], ["both"], axis=1),
    helper.make_node("Flatten", ["y"], ["flat"]),
  ]
  path = onnx_files.with_outputs(onnx_files.save_blur(tmp_path / "a.onnx"), nodes)
  network, own = OnnxNetwork(path, 1), inputs()
  assert network.hidden == ("both", "flat")
  found = network.layers(("flat", "both"), *own)
  assert {name: x.shape for name, x in found.items()} == {
    "image": (5, *SIZE, 1),
    "both": (5, *SIZE, 2),
    "flat": (5, SIZE[0] * SIZE[1]),
  }
  expected = onnx_files.blurred(own[0])
  both = np.concatenate([own[0], expected], axis=-1)
  np.testing.assert_allclose(found["both"], both, atol=1e-6)
  np.testing.assert_allclose(found["flat"], expected.reshape(5, -1), atol=1e-6)
  np.testing.assert_array_equal(network(*own), found["image"])


@pytest.mark.parametrize(
  ("node", "kind", "message"),
  [
    (("Cast", {"to": 2}), "u1", "the output more of type uint8"),
    (("ReduceMean", {"keepdims": 0}), "f4", "the output more with 1 entries for 5"),
    (("Log", {}), "f4", "NaN or infinite values in the output more"),
  ],
)
def test_layers_that_cannot_be_used(tmp_path, node, kind, message):
  node = helper.make_node(node[0], ["x"], ["more"], **node[1])
  path = onnx_files.save_blur(tmp_path / "a.onnx")
  network = OnnxNetwork(onnx_files.with_outputs(path, [node], kind), 1)
  own = inputs()
  with pytest.raises(UserError, match=message):
    network.layers(("more",), -np.abs(own[0]), *own[1:])


def test_a_layer_named_image(tmp_path):
  node = helper.make_node("Identity", ["x"], ["image"])
  path = onnx_files.with_outputs(onnx_files.save_blur(tmp_path / "a.onnx"), [node])
  with pytest.raises(UserError, match="the outputs y, image; expected image as the"):
    OnnxNetwork(path, 1)


def test_a_scaling_that_cannot_be_turned_off(tmp_path):
  model = VDSR(convolutions=2, features=2)
  save_onnx(tmp_path / "a.onnx", model, weights_of(model), SIZE)
  content = (tmp_path / "a.onnx").read_bytes()
  assert SCALED_ABOVE.encode() in content
  content = content.replace(SCALED_ABOVE.encode(), b"threshold123")
  (tmp_path / "a.onnx").write_bytes(content)
  with pytest.raises(UserError, match=r"scaling cannot be turned off.*Export it again"):
    OnnxNetwork(tmp_path / "a.onnx", 1)


def test_the_digest_is_that_of_the_weights(tmp_path):
  first = OnnxNetwork(onnx_files.save_blur(tmp_path / "a.onnx"), 1)
  again = OnnxNetwork(onnx_files.save_blur(tmp_path / "b.onnx"), 1)
  assert first.digest == again.digest
  model = onnx.load(tmp_path / "a.onnx")
  onnx.save(model, tmp_path / "c.onnx", save_as_external_data=True, size_threshold=0)
  apart = OnnxNetwork(tmp_path / "c.onnx", 1)
  (data,) = set(tmp_path.iterdir()) - {tmp_path / f"{name}.onnx" for name in "abc"}
  data.write_bytes(bytes(len(data.read_bytes())))
  assert OnnxNetwork(tmp_path / "c.onnx", 1).digest != apart.digest


@pytest.mark.parametrize(
  ("shapes", "channels", "message"),
  [
    ({"x": ("b", 3, "h", "w")}, 1, r"the inputs x \(float\) \['b', 3, 'h', 'w'\]; exp"),
    ({"x": ("b", 1, "h", "w")}, 2, r"expected one image, \[batch, 2, rows, columns\]"),
    ({"x": ("b", "h", "w")}, 1, r"the inputs x \(float\) \['b', 'h', 'w'\]"),
    ({"x": ("b", 1, 8, 8), "sigma": (1,)}, 1, "the inputs x .*, sigma"),
    ({"mask": SIZE}, 1, "the inputs mask"),
    ({}, 1, "the inputs none"),
    ({"kspace": ("b", 1, "h", "w"), "mask": SIZE}, 1, "the inputs kspace"),
    ({"x": ("b", 1, 8, 8)}, 1, r"the input x \[None, 1, 8, 8\], None for any size"),
  ],
)
def test_inputs_that_are_not_understood(tmp_path, shapes, channels, message):
  nodes = [helper.make_node("Identity", [next(iter(shapes), "w")], ["y"])]
  weights = [("w", np.ones((1, 1, *SIZE), np.float32))]
  path = onnx_files.save(tmp_path / "a.onnx", shapes, nodes, "y", weights=weights)
  with pytest.raises(UserError, match=message):
    OnnxNetwork(path, channels)(*inputs(channels))


@pytest.mark.parametrize(
  "shapes", [{"x": ("b", 1, *SIZE)}, {"kspace": ("b", 2, *SIZE)}]
)
def test_whole_numbers_would_lose_the_image(tmp_path, shapes):
  nodes = [helper.make_node("Identity", [next(iter(shapes))], ["y"])]
  path = onnx_files.save(tmp_path / "a.onnx", shapes, nodes, "y", "u1")
  with pytest.raises(UserError, match=r"\(uint8\) .*of floating point"):
    OnnxNetwork(path, 1)


@pytest.mark.parametrize(
  ("nodes", "message"),
  [
    ([helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2])], "an image"),
    ([helper.make_node("Reshape", ["x", "shape"], ["y"])], "a network that fails"),
    ([helper.make_node("Log", ["x"], ["y"])], "NaN or infinite values"),
    ([helper.make_node("ReduceMean", ["x"], ["y"], keepdims=0)], "1 entries for 5"),
  ],
)
def test_images_that_cannot_be_used(tmp_path, nodes, message):
  weights = [("shape", np.array([7, 7]))]
  shapes = {"x": ("b", 1, "h", "w")}
  path = onnx_files.save(tmp_path / "a.onnx", shapes, nodes, "y", weights=weights)
  own = inputs()
  with pytest.raises(UserError, match=message):
    OnnxNetwork(path, 1)(0 * own[0], *own[1:])


def test_an_output_of_whole_numbers_is_no_image(tmp_path):
  nodes = [helper.make_node("Cast", ["x"], ["y"], to=2)]
  shapes = {"x": ("b", 1, "h", "w")}
  path = onnx_files.save(tmp_path / "a.onnx", shapes, nodes, "y", gives="u1")
  with pytest.raises(UserError, match=r"the output image of type uint8; .*floating"):
    OnnxNetwork(path, 1)(*inputs())


def test_a_file_that_is_none(tmp_path):
  (tmp_path / "a.onnx").write_bytes(b"<html>no")
  with pytest.raises(UserError, match=r"a\.onnx: found a file that cannot be read"):
    OnnxNetwork(tmp_path / "a.onnx", 1)

"""The public face, `import kdmri_jax as kd`: each name on purpose, and its values."""

import ast
import importlib
import inspect
import pathlib
import subprocess
import sys
import types

import h5py
import jax
import numpy as np
import pytest
import scipy.stats
from helpers.tiny import tiny_config
from matplotlib.figure import Figure
from skimage.metrics import structural_similarity

import kdmri_jax as kd
from kdmri_jax import run
from kdmri_jax.distillation import METHODS
from kdmri_jax.errors import ArgumentError
from kdmri_jax.inference import read_scan, reconstruct

PACKAGE = pathlib.Path(kd.__file__).parent

# The public names by room; adding or removing one is a decision.
FACE = {
  "": "coils distillation load load_pretrained losses masks metrics models plot "
  "statistics train undersample",
  "coils": "adjoint cg_sense estimate forward noise_covariance prewhiten simulate",
  "distillation": " ".join(["METHODS", *METHODS]),
  "losses": "l1 mse ssim",
  "masks": "cartesian central equispaced full gaussian2d load save",
  "metrics": "METRICS Metric OPTIONAL all hfen hfn mse nmse per_slice psnr resolve "
  "roi_snr ssim vif",
  "models": "DCCNN EDSR NETWORKS SwinIR UNet VDSR build channels describe features "
  "find_network",
  "plot": "comparison",
  "statistics": "Comparison Effect Equivalence Share compare mixed_effects "
  "share_of_gap",
}

pytestmark = pytest.mark.usefixtures("quick_compilation")

rng = np.random.default_rng(0)
SHAPE = (24, 20)


def room(name):
  return getattr(kd, name) if name else kd


@pytest.mark.parametrize("name", FACE)
def test_every_public_name_is_there_on_purpose(name):
  assert sorted(room(name).__all__) == sorted(FACE[name].split())
  assert {*room(name).__all__} <= {*dir(room(name))}
  for key in room(name).__all__:
    found = getattr(room(name), key)
    if callable(found) or isinstance(found, types.ModuleType):
      assert inspect.getdoc(found), f"{name}.{key}"


def test_no_name_is_invented():
  for name in ("", "distillation"):
    with pytest.raises(AttributeError, match="no attribute 'masc'"):
      _ = room(name).masc


def test_the_import_takes_neither_jax_nor_matplotlib():
  code = (
    "import sys, kdmri_jax as kd\n"
    "assert kd.masks.cartesian((64, 64)).sum() == 16 * 64\n"
    "dir(kd)\n"
    "sys.exit(bool({'jax', 'matplotlib', 'flax'} & {*sys.modules}))"
  )
  assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_public_function_is_annotated():
  """In all of the package, not only in what the rooms export."""
  for path in sorted(PACKAGE.rglob("*.py")):
    if path.relative_to(PACKAGE).parts[0] in ("experiments", "scripts"):
      continue
    for name, function in public_functions(ast.parse(path.read_text()).body):
      arguments = function.args
      every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
      every += filter(None, (arguments.vararg, arguments.kwarg))
      own = every[1:] if every and every[0].arg in ("self", "cls") else every
      bare = [argument.arg for argument in own if argument.annotation is None]
      assert not bare, f"{path}:{function.lineno} {name}: {', '.join(bare)}"
      if name != "__init__":
        assert function.returns, f"{path}:{function.lineno} {name}: no return type"


def public_functions(body):
  """Functions of a module and methods of its classes, where no name hides them."""
  for node in body:
    if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
      yield from public_functions(node.body)
    called = getattr(node, "name", "_") in ("__init__", "__call__")
    if isinstance(node, ast.FunctionDef) and (called or node.name[0] != "_"):
      yield node.name, node


# One test for each line of the doors.


def test_masks():
  mask = kd.masks.cartesian((256, 256), acceleration=4)
  lines = mask[:, 0] == 1
  assert mask.shape == (256, 256)
  assert lines.sum() == 64
  assert (mask == lines[:, None]).all()  # axis 0
  assert np.fft.fftshift(lines)[123:133].all()  # ten centre lines
  np.testing.assert_array_equal(mask, kd.masks.cartesian((256, 256), 4, 10, 0, 0))
  assert kd.masks.gaussian2d((40, 50), 4, 5).sum() == 500
  assert kd.masks.central((40, 50), 2).sum() == 20 * 25
  with pytest.raises(ArgumentError, match=r"^centre_lines: found 10; expected 1 to 6"):
    kd.masks.cartesian((24, 24))


IMAGES = {
  "slice": rng.random(SHAPE),
  "volume": rng.random((3, *SHAPE)),
  "complex slice": rng.random(SHAPE) + 1j * rng.random(SHAPE),
  "complex volume": rng.random((3, *SHAPE)) + 1j * rng.random((3, *SHAPE)),
  "batch": rng.random((3, *SHAPE, 1)),
  "complex batch": rng.random((3, *SHAPE, 2)),
}


def plain(image):
  """[..., H, W], real or complex, in float64."""
  if image.ndim < 4:
    return image
  return image[..., 0] if image.shape[-1] == 1 else image[..., 0] + 1j * image[..., 1]


@pytest.mark.parametrize("array", [np.asarray, jax.numpy.asarray])
@pytest.mark.parametrize("kind", IMAGES)
def test_undersample(kind, array):
  image = IMAGES[kind]
  mask = kd.masks.cartesian(SHAPE, 3, 4)
  kspace = mask * np.fft.fft2(plain(image), norm="ortho")
  expected = np.fft.ifft2(kspace, norm="ortho")
  expected = expected if np.iscomplexobj(plain(image)) else np.abs(expected)
  zero_filled, measured = kd.undersample(array(image), mask)
  assert zero_filled.shape == image.shape
  np.testing.assert_allclose(plain(np.asarray(zero_filled)), expected, atol=1e-6)
  np.testing.assert_allclose(measured.kspace, kspace, atol=3e-6)
  np.testing.assert_array_equal(measured.mask, mask)


def test_undersample_with_a_mask_for_each_slice():
  masks = np.stack([kd.masks.cartesian(SHAPE, 3, 4, seed=seed) for seed in range(3)])
  together, _ = kd.undersample(IMAGES["volume"], masks)
  alone, _ = kd.undersample(IMAGES["volume"][2], masks[2])
  np.testing.assert_allclose(together[2], alone, atol=1e-6)


@pytest.mark.parametrize(
  ("image", "mask", "where"),
  [
    (np.ones(5), np.ones((5, 5)), "image"),
    (np.ones((2, 5, 4, 3)), np.ones((5, 4)), "image"),
    (np.ones((2, 5, 4, 1), complex), np.ones((5, 4)), "image"),
    (np.ones((5, 4)), np.ones((4, 5)), "mask"),
    (np.ones((5, 4)), np.ones((1, 5, 4)), "mask"),
    (np.ones((3, 5, 4)), np.ones((2, 5, 4)), "mask"),
  ],
)
def test_undersample_says_what_does_not_fit(image, mask, where):
  with pytest.raises(ArgumentError) as caught:
    kd.undersample(image, mask)
  assert caught.value.where == where


@pytest.mark.parametrize("kind", IMAGES)
def test_losses(kind):
  target = IMAGES[kind]
  x = target + rng.normal(0, 0.1, target.shape)
  a, b = plain(x), plain(target)
  parts = np.stack([(a - b).real, (a - b).imag] if np.iscomplexobj(a) else [a - b])
  images = (0, -2, -1)
  np.testing.assert_allclose(kd.losses.l1(x, target), abs(parts).mean(images), 2e-5)
  np.testing.assert_allclose(
    kd.losses.mse(x, target), np.square(parts).mean(images), 2e-5
  )
  found = kd.losses.ssim(x, target)
  assert found.shape == target.shape[: target.ndim - 2][:1]
  if np.iscomplexobj(a):
    a, b = abs(a), abs(b)
  pairs = zip(a.reshape(-1, *SHAPE), b.reshape(-1, *SHAPE), strict=True)
  ssim = [structural_similarity(p, t, win_size=7, data_range=1) for p, t in pairs]
  np.testing.assert_allclose(np.ravel(found), 1 - np.array(ssim), atol=2e-5)


def test_losses_say_what_does_not_fit():
  x = IMAGES["volume"]
  for other in (x[0], x[:2], x.astype(complex), x[..., None]):
    with pytest.raises(ArgumentError, match=r"^target: found .* as the prediction"):
      kd.losses.l1(x, other)
  with pytest.raises(ArgumentError, match=r"at least 7x7"):
    kd.losses.ssim(x[:, :6], x[:, :6])


@pytest.mark.parametrize("name", ["recon_48x40_rows", "recon_36x50_cols"])
def test_distillation_gives_the_golden_numbers(golden, name):
  numbers = golden(name)
  student, teacher = (
    # A layer of one channel whose attention map, its square, is the golden one.
    [np.sqrt(numbers[f"attn_{role}_{c}"])[..., None] for c in range(1, 6)]
    for role in ("student", "teacher")
  )
  images = numbers["out_student"], numbers["out_teacher"]
  transfer, imitation = kd.distillation.attention_transfer, kd.distillation.imitation
  for key, value in {
    "at_paper": transfer(student, teacher, variant="paper"),
    "at_reference": transfer(tuple(student), teacher, variant="reference"),
    "imitation_l1": imitation(*images),
    "imitation_reference": imitation(*images, variant="reference"),
  }.items():
    assert float(value) == pytest.approx(float(numbers[f"loss_{key}"]), abs=4e-7), key


LAYERS = rng.random((2, 3, 8, 6, 4)).astype(np.float32)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_a_function_of_arrays(name):
  method = getattr(kd.distillation, name)
  for variant, record in METHODS[name].items():
    arguments = LAYERS[..., 0] if record.reads_image else ([x, x] for x in LAYERS)
    student, teacher = arguments
    context = {}
    if record.uses_context and name != "masked_generative":
      mask = kd.masks.cartesian((8, 6), 2, 2)
      context = {
        "target": LAYERS[0, ..., 0],
        "measurement": kd.undersample(LAYERS[0, ..., 0], mask)[1],
      }
      context |= {"teacher_error": np.full(3, 0.1), "error_range": 0.5}
    params = method.init(student, teacher, variant=variant, **context)
    assert bool(params) == record.owns_weights
    value = method(student, teacher, variant=variant, params=params, **context)
    assert value.shape == ()
    assert np.isfinite(value)
    assert variant in method.__doc__


def test_distillation_with_weights_and_context():
  student, teacher = LAYERS
  wide = np.concatenate([teacher, teacher], axis=-1)
  fitnets = kd.distillation.fitnets
  params = fitnets.init(student, wide, seed=3)
  regressor = params["method"]["regressor_1"]
  regressed = student.astype(np.float64) @ np.asarray(regressor["kernel"][0, 0])
  expected = np.square(regressed + regressor["bias"] - wide).mean() / 2
  assert float(fitnets(student, wide, params=params)) == pytest.approx(expected, 1e-5)
  target, x, t = rng.random((3, 2, 8, 6))
  error, bound = (np.square(z - target).mean((1, 2)) for z in (x, t))
  found = kd.distillation.teacher_bounded(x, t, target=target)
  expected = np.where(error > bound, error, 0).mean()
  assert float(found) == pytest.approx(expected, 1e-5)


@pytest.mark.parametrize(
  ("call", "words"),
  [
    (lambda d: d.fsp(*LAYERS, variant="papr"), r"^variant: .* Did you mean 'paper'\?"),
    (lambda d: d.fsp(LAYERS[0, 0], LAYERS[1]), r"^student: found float32 of shape"),
    (lambda d: d.fsp([], LAYERS[1]), r"^student: found no layer"),
    (lambda d: d.fsp(LAYERS[0], [*LAYERS]), r"^teacher: found 2 layers; expected 1"),
    (lambda d: d.fsp(LAYERS[0, :2], LAYERS[1]), r"^teacher: found batches of 3"),
    (
      lambda d: d.fitnets(*LAYERS),
      r"^params: found none; expected the weights that fit",
    ),
    (
      lambda d: d.teacher_bounded(*LAYERS[..., 0]),
      r"^target: found none; expected a v",
    ),
    (lambda d: d.teacher_bounded(*LAYERS, taget=1), r"Did you mean 'target'\?"),
  ],
)
def test_distillation_says_what_does_not_fit(call, words):
  with pytest.raises(ArgumentError, match=words):
    call(kd.distillation)


def test_metrics():
  target = rng.random(SHAPE)
  x = target + rng.normal(0, 0.05, SHAPE)
  psnr = 10 * np.log10(target.max() ** 2 / np.square(x - target).mean())
  assert kd.metrics.psnr(target, x) == pytest.approx(psnr)
  found = kd.metrics.all(target, x, protocol="kdmri")
  assert found["psnr"] == pytest.approx(psnr)
  ssim = structural_similarity(target, x, win_size=7, data_range=target.max())
  assert kd.metrics.ssim(target, x) == pytest.approx(ssim)


def test_statistics():
  a = rng.normal(1, 1, 24)
  b = rng.normal(0, 1, 24)
  subjects = np.repeat(np.arange(8), 3)
  difference = (a - b).reshape(8, 3).mean(1)
  result = kd.statistics.compare(a, b, subjects)
  assert result.mean_difference == pytest.approx(difference.mean())
  assert result.wilcoxon_p == pytest.approx(scipy.stats.wilcoxon(difference).pvalue)
  assert result.n == 8


def test_models():
  target = IMAGES["batch"].astype(np.float32)
  image, measured = kd.undersample(target, kd.masks.cartesian(SHAPE, 3, 4))
  model = kd.models.DCCNN(cascades=2, convolutions=3, features=4)
  params = model.init(jax.random.key(0), image, measured)["params"]
  outputs, layers = kd.models.features.apply(model, params, image, measured)
  assert layers["cascade_2/activation_2"].shape == (3, *SHAPE, 4)
  np.testing.assert_array_equal(layers["image"], outputs.image)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """A work directory, and the reports of its run."""
  folder = tmp_path_factory.mktemp("face") / "run"
  settings = tiny_config(epochs=1, devices=1).to_dict()
  return str(folder), kd.train(settings, str(folder), stages="student")


def test_train(trained):
  folder, (report,) = trained
  assert str(report.path) == f"{folder}/report/index.html"
  assert report.path.is_file()
  assert "student" in report.table
  assert str(report).endswith(str(report.path))
  again = kd.train(tiny_config(epochs=1, devices=1), pathlib.Path(folder), ["student"])
  assert again[0].table == report.table  # nothing was left to train


def test_train_says_what_does_not_fit(tmp_path):
  with pytest.raises(ArgumentError, match=r"^workdir: found no folder"):
    kd.train(tiny_config(), "")
  with pytest.raises(
    ArgumentError, match=r"^stages: found none; expected some of teac"
  ):
    kd.train(tiny_config(), tmp_path, [])
  with pytest.raises(ArgumentError, match=r"^config: "):
    kd.train(tmp_path / "none.py", tmp_path)


def test_train_says_when_it_cannot_have_all_cores(monkeypatch):
  said = []
  assert jax.devices()  # JAX has been used
  monkeypatch.setattr(run.logging, "warning", lambda *text: said.append(text))
  monkeypatch.setattr(run.parallel, "cores", lambda: 1)
  run._use_cores(at_least=1)
  assert not said
  monkeypatch.setattr(run.parallel, "cores", lambda: 64)
  run._use_cores(at_least=1)
  ((text, *counts),) = said
  assert text.startswith("JAX was used before, so training has %d of %d CPU cores")
  assert counts == [jax.local_device_count(), 64]


@pytest.mark.filterwarnings("ignore:The images differ")  # noise is no phantom
def test_load_reconstructs_as_the_command_does(trained, tmp_path, caplog):
  folder, _ = trained
  net = kd.load(folder, "student")
  target = IMAGES["volume"].astype(np.float32)
  zero_filled, measured = kd.undersample(target, kd.masks.cartesian(SHAPE, 3, 4))
  with h5py.File(tmp_path / "measured.h5", "w") as file:
    file["kspace"] = measured.kspace
    np.save(tmp_path / "mask.npy", measured.mask)
  scan = read_scan.read(tmp_path / "measured.h5", net.config.data)
  written = reconstruct.run_scan(
    pathlib.Path(folder), "student", scan, mask_path=str(tmp_path / "mask.npy")
  ).images["reconstruction"]
  with pytest.warns(UserWarning, match="trained on phantoms"):
    image = net.reconstruct(*measured)
  assert isinstance(image, np.ndarray)
  np.testing.assert_array_equal(image, written)
  with pytest.warns(UserWarning, match="trained on phantoms"):
    alone = net.reconstruct(np.asarray(measured.kspace[1]), np.asarray(measured.mask))
  assert alone.shape == SHAPE
  scale = zero_filled.max()
  measured = measured._replace(kspace=measured.kspace / scale)
  applied = scale * net.apply(zero_filled / scale, measured)
  np.testing.assert_allclose(applied, image, atol=2e-6)
  zeros = jax.tree.map(np.zeros_like, net.parameters)
  # Without weights the zero-filled image is returned, consistent with the k-space.
  blank = net.apply(zero_filled[1], measured._replace(kspace=measured.kspace[1]), zeros)
  assert blank.shape == SHAPE
  assert kd.models.features.count_parameters(net.parameters) == 450
  assert "read only" not in caplog.text  # of Orbax
  assert repr(net) == "<DCCNN of stage 'student', 450 parameters>"


def test_reconstruct_says_what_does_not_fit(trained):
  net = kd.load(pathlib.Path(trained[0]), "student")
  _, (kspace, mask) = kd.undersample(IMAGES["slice"], kd.masks.cartesian(SHAPE, 3, 4))
  kspace = np.asarray(kspace)
  for arguments, words in [
    ((kspace.real, mask), "^kspace: found float32 of shape"),
    ((kspace[0], mask), "^kspace: found complex64 of shape"),
    ((kspace, mask.T), r"^mask: found shape \(20, 24\)"),
    ((kspace + 1, mask), "^kspace: found k-space that has samples at"),
    ((kspace * np.exp(1j), mask), "^kspace: found k-space of a complex image"),
  ]:
    with pytest.raises(ArgumentError, match=words):
      net.reconstruct(*arguments)
  with pytest.raises(ArgumentError, match=r"^image: found complex"):
    net.apply(IMAGES["complex slice"])


def test_plot():
  target = IMAGES["volume"]
  student = target + rng.normal(0, 0.05, target.shape)
  figure = kd.plot.comparison({"target": target, "student": student}, index=2)
  assert isinstance(figure, Figure)
  mse = np.square(student[2] - target[2]).mean()
  psnr = 10 * np.log10(target.max() ** 2 / mse)
  texts = [text.get_text() for text in figure.texts]
  assert any(text.startswith(f"{psnr:.2f} dB / ") for text in texts)
  assert {"target", "student", "residue"} <= {*texts}
  shown = [image.get_array() for axes in figure.axes for image in axes.images]
  residue = abs(student[2] - target[2])
  assert any(np.array_equal(each, student[2]) for each in shown)
  assert any(np.array_equal(each, residue) for each in shown)
  assert figure._repr_png_().startswith(b"\x89PNG")
  for images, words in [
    ({"student": student}, "^images: found student; expected 'target'"),
    ({"target": target, "x": target[0]}, r"^images\['x'\]: found shape"),
  ]:
    with pytest.raises(ArgumentError, match=words):
      kd.plot.comparison(images)
  with pytest.raises(ArgumentError, match=r"^index: found 3; expected 0 to 2"):
    kd.plot.comparison({"target": target, "student": student}, index=3)


def test_plot_leaves_the_backend_to_the_user():
  code = (
    "import sys, matplotlib, numpy as np, kdmri_jax as kd\n"
    "x, before = np.random.rand(16, 16), matplotlib.rcParams._get('backend')\n"
    "kd.plot.comparison({'target': x, 'y': x})\n"
    "assert 'matplotlib.pyplot' not in sys.modules\n"
    "assert before == matplotlib.rcParams._get('backend')"
  )
  assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_type_checkers_see_the_same_names():
  """The names of `__getattr__` are imported for type checkers, one for one."""
  tree = ast.parse((PACKAGE / "__init__.py").read_text())
  (block,) = (
    node
    for node in tree.body
    if isinstance(node, ast.If) and "TYPE" in ast.unparse(node.test)
  )
  seen = {}
  for line in block.body:
    for alias in line.names:
      module = importlib.import_module(line.module)
      full = f"{line.module}.{alias.name}"
      seen[alias.name] = getattr(module, alias.name, None) or importlib.import_module(
        full
      )
  assert {*seen} == {*kd.__all__}
  assert all(getattr(kd, name) is value for name, value in seen.items())
  assert (PACKAGE / "py.typed").is_file()

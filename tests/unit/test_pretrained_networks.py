"""The networks that the package holds: their files, their cards, an example."""

import dataclasses
import pathlib
import re
import shlex

import h5py
import numpy as np
import pytest
from helpers import commands

import kdmri_jax as kd
from kdmri_jax import config as config_lib
from kdmri_jax import pretrained
from kdmri_jax.config import DataConfig, PhantomConfig
from kdmri_jax.data.sources import phantom
from kdmri_jax.errors import ArgumentError
from kdmri_jax.experiments import pretrained as experiments
from kdmri_jax.physics.acquisition import build, measure
from kdmri_jax.pretrained import store
from kdmri_jax.training.experiment import Experiment

ROOT = pathlib.Path(__file__).parents[2]
LICENCES = ("public domain (CC0)", "CC BY")
FOLDERS = {"cardiac": "sunnybrook", "brain": "brain_t1"}
# PSNR of the input and the result: of the example, and of a synthetic brain.
EXAMPLE = {
  "brain-4x-distilled": (20.88, 29.90),
  "brain-4x-student": (20.88, 28.85),
  "brain-4x-teacher": (20.88, 29.89),
  "cardiac-4x-distilled": (26.66, 33.55),
  "cardiac-4x-student": (26.66, 32.91),
  "cardiac-4x-teacher": (26.66, 33.66),
  "cardiac-8x-distilled": (24.23, 28.29),
  "cardiac-8x-student": (24.23, 27.16),
  "cardiac-8x-teacher": (24.23, 27.95),
  "cardiac-denoise-student": (32.10, 33.23),
  "cardiac-denoise-teacher": (32.10, 36.06),
  "cardiac-sr4x-distilled": (27.68, 28.57),
}

of_each = pytest.mark.parametrize("name", pretrained.names())


def test_the_page_is_current():
  page = ROOT / "docs" / "pretrained.md"
  assert page.read_text() == pretrained.page(), (
    "python -c 'from kdmri_jax import pretrained; print(pretrained.page(), end=\"\")' "
    "> docs/pretrained.md"
  )


def test_the_code_of_the_page_runs(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  names = {}
  for block in re.findall(r"^```python\n(.*?)^```$", pretrained.page(), re.M | re.S):
    exec(block, names)
  image = names["image"]
  assert kd.metrics.psnr(image, names["found"]) == pytest.approx(33.55, abs=0.02)
  assert kd.metrics.psnr(image, names["clean"]) > kd.metrics.psnr(image, names["noisy"])
  (command,) = re.findall(r"^```\n(kdmri .*?)^```$", pretrained.page(), re.M | re.S)
  words = shlex.split(command.replace("\\\n", ""))
  done = commands.run(*words[1:], cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  with h5py.File(tmp_path / "clean.h5") as file:
    assert file["reconstruction"].shape == (1, *image.shape)


def test_they_stay_small():
  files = [path for path in store.FOLDER.parent.rglob("*") if path.is_file()]
  files = [path for path in files if path.suffix not in (".py", ".pyc")]
  assert sum(path.stat().st_size for path in files) < 2_000_000


def test_the_example_is_an_image():
  image = pretrained.example()
  assert image.shape == (128, 128)
  assert image.dtype == np.float32
  assert 0 == image.min() < 0.5 < image.max() <= 1


@of_each
def test_a_card_is_complete(name):
  card, text = pretrained.read(name).card, str(pretrained.read(name).card)
  assert card.name == name
  assert card.licence in LICENCES
  assert card.complete
  assert "Magnitude images, simulated k-space, not for diagnosis." in text
  assert "not known" not in text
  trained, *others = (card.data["subjects"][k] for k in ("train", "validation", "test"))
  assert all(trained) and not set(trained) & {*others[0], *others[1]}
  assert not set(others[0]) & set(others[1])
  for training in card.training_sets:
    assert set(training["subjects"]) == set(trained)
  assert not any(plan.given for plan in card.experiment.stages.values())
  assert "/work" not in (store.FOLDER / f"{name}.json").read_text()


@pytest.mark.parametrize(
  ("kind", "words"),
  [
    ("cartesian", "cartesian mask of acceleration 4, 8 centre lines, axis 0, seed 0"),
    ("equispaced", "equispaced mask of acceleration 4, 8 centre lines, axis 0, seed 0"),
    ("gaussian2d", "gaussian2d mask of acceleration 4, 8 centre lines, seed 0"),
    ("central", "the central 1/4 of each axis"),
    ("full", "fully sampled"),
    ("file", "a given mask"),
  ],
)
def test_a_card_tells_the_settings_that_its_mask_uses(kind, words):
  card = pretrained.read("cardiac-4x-student").card
  config = {**card.config, "mask": {**card.config["mask"], "kind": kind}}
  text = str(dataclasses.replace(card, config=config))
  assert f"- k-space: {words}\n" in text


@of_each
def test_a_network_is_what_its_command_trains(name):
  card = pretrained.read(name).card
  argument = card.command.partition("--config=pretrained:")[2].split()[0]
  config = config_lib.parse(experiments.get_config(argument))
  here, there = (config_lib.to_dict(c) for c in (config, card.experiment))
  here["data"]["root"] = there["data"]["root"]
  for key in ("data", "mask", "noise", "augment", "batch_size", "seed"):
    assert here[key] == there[key], key
  for stage in (card.stage, *config.stages[card.stage].all_teachers):
    plans = [c["stages"][stage] | {"given": ""} for c in (here, there)]
    assert plans[0] == plans[1], stage
    model = plans[0]["model"]
    assert here["models"][model] == there["models"][model], model


@pytest.mark.parametrize("name", EXAMPLE)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_example_is_reconstructed(name):
  net = kd.load_pretrained(name)
  image = _brain() if name.startswith("brain") else pretrained.example()
  given, measurement = _measured(net, image[None, ..., None], np.zeros(1, np.uint32))
  found = net.reconstruct(*measurement)[0]
  before, after = EXAMPLE[name]
  assert kd.metrics.psnr(image, given[0, ..., 0]) == pytest.approx(before, abs=0.02)
  assert kd.metrics.psnr(image, found) == pytest.approx(after, abs=0.02)


@pytest.mark.parametrize("name", ["cardiac-4x-student", "brain-4x-teacher"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_bfloat16_loses_little(name):
  image = _brain() if name.startswith("brain") else pretrained.example()
  found = []
  for precision in ("", "bfloat16"):
    net = kd.load_pretrained(name, precision=precision)
    _, measurement = _measured(net, image[None, ..., None], np.zeros(1, np.uint32))
    found.append(net.reconstruct(*measurement)[0])
  whole, half = found
  assert np.abs(whole - half).max() > 1e-4
  assert abs(kd.metrics.psnr(image, half) - kd.metrics.psnr(image, whole)) < 0.05


def test_a_precision_that_a_network_lacks_is_refused():
  with pytest.raises(ArgumentError, match="precision: found 'bf16'; expected one of"):
    kd.load_pretrained("cardiac-4x-student", precision="bf16")
  with pytest.raises(ArgumentError, match="found 'bfloat16' for the network swinir"):
    kd.load_pretrained("cardiac-denoise-teacher", precision="bfloat16")


def _brain():
  """A slice in the size of the training."""
  recipe = PhantomConfig("brain", 1, 5, (256, 256))
  image = phantom.draw_subject(recipe, 0, "brain")[2]
  return np.float32(image / image.max())


def _measured(net, target, draws=None):
  """Images [N, H, W, 1] as the network's run measures them."""
  acquisition = build(net.config.all_tasks, target.shape[1:3])
  return measure(target, acquisition, draws=draws)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_network_without_data_consistency_takes_kspace_with_a_phase():
  net = kd.load_pretrained("cardiac-sr4x-distilled")
  kspace, mask = kd.undersample(pretrained.example(), net.mask)[1]
  turned = net.reconstruct(np.asarray(kspace) * np.exp(1j), mask)
  np.testing.assert_allclose(turned, net.reconstruct(kspace, mask), atol=1e-5)


def test_every_network_has_its_example():
  assert set(EXAMPLE) == set(pretrained.names())


@of_each
@pytest.mark.data
@pytest.mark.slow
def test_the_quality_of_a_card_is_computed_anew(name, real_data, tmp_path):
  """On subjects that the network has not seen, from the images themselves."""
  net = kd.load_pretrained(name)
  data: DataConfig = net.config.data
  folder = real_data / FOLDERS[name.partition("-")[0]]
  settings = config_lib.to_dict(net.config)
  settings["data"]["root"] = str(folder)
  config = config_lib.parse(settings)
  dataset = Experiment(config, tmp_path).for_task("").dataset
  assert data.test
  assert dataset.fingerprint()["test_digest"] == net.card.data["test_digest"]
  (part,), values, slices = dataset.test.parts, [], []
  for volume, span in dataset.test.of_part(0):
    rows = slice(span.start, span.stop)
    draws = None if part.draws is None else part.draws[rows]
    image = np.asarray(net.apply(*_measured(net, part.target[rows], draws)))[..., 0]
    values.append(float(kd.metrics.psnr(volume.target, image)))
    slices += kd.metrics.per_slice(volume.target, image)["psnr"].tolist()
  found = values if len(values) >= 6 else slices
  row = next(r for r in net.card.metrics["rows"] if r["name"] == "this network")
  assert np.nanmean(found) == pytest.approx(row["psnr"]["mean"], abs=1e-3)

"""Pretrained networks: packed from a run, loaded, given, started from, refused."""

import dataclasses
import pathlib
import shutil

import jax
import numpy as np
import pytest
from helpers.tiny import finish, make, tiny_config

import kdmri_jax as kd
from kdmri_jax import config as config_lib
from kdmri_jax import json_text
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.inference import load
from kdmri_jax.physics.acquisition import measure
from kdmri_jax.pretrained import store
from kdmri_jax.report import packing
from kdmri_jax.training.experiment import Experiment

pytestmark = pytest.mark.usefixtures("quick_compilation")

ORIGIN = packing.Origin("phantoms", "none needed", "nobody", "kdmri run", "0123abc")


def settings(**stages):
  """The tiny experiment with subjects held out, and other settings of its stages."""
  config = tiny_config(epochs=1)
  config.data.update(validation=("*2", "*3"), test=("*0", "*1"))
  config.pipeline = config.evaluation.models = ("teacher", "student")
  config.evaluation.distilled = ()
  for name, changes in stages.items():
    config.stages[name].update(changes)
  return config


def experiment(folder, config=None):
  return Experiment(config_lib.parse(config or settings()), folder)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
  """A run, the card of its student, and the network as it was packed."""
  folder = tmp_path_factory.mktemp("packed")
  run = experiment(folder / "run")
  finish(run, "teacher", "student")
  network = packing.pack(folder / "run", "student", "tiny-student", ORIGIN)
  return run, store.write(folder, network), network


@pytest.fixture
def shipped(packed, tmp_path, monkeypatch):
  """The package as if it held this network alone."""
  for path in packed[1].parent.glob("tiny*"):
    shutil.copy(path, tmp_path)
  monkeypatch.setattr(store, "FOLDER", tmp_path)
  return tmp_path


def test_the_weights_are_those_of_the_run_in_half_precision(packed):
  run, path, _ = packed
  net, exact = kd.load_pretrained(path), kd.load(run.workdir.path, "student")
  jax.tree.map(
    lambda a, b: np.testing.assert_array_equal(a, b.astype(np.float16)),
    net.parameters,
    exact.parameters,
  )
  assert {leaf.dtype for leaf in jax.tree.leaves(net.parameters)} == {np.dtype("f4")}
  digests = run.workdir.trained("student").digests()
  assert net.card.digest_in_run == digests["best"] != net.card.digest
  assert net.model == exact.model
  assert net.training.text == exact.training.text == net.card.trained_on


def test_the_card_has_the_quality_on_the_held_out_subjects(packed):
  run, path, _ = packed
  net, values = kd.load_pretrained(path), []
  for volume in run.dataset.test.volumes:
    mask = run.dataset.acquisitions[volume.target.shape[1:]].masks[0]
    image = net.apply(*kd.undersample(volume.target, mask))
    found = kd.metrics.per_slice(volume.target, np.asarray(image))
    values += found["psnr"].tolist()
  row = next(r for r in net.card.metrics["rows"] if r["name"] == "this network")
  assert row["psnr"]["mean"] == pytest.approx(np.mean(values), abs=1e-4)
  low, high = row["psnr"]["ci95"]
  assert low < row["psnr"]["mean"] < high
  assert net.card.metrics["over"] == "6 slices of 2 subjects"
  assert "so the intervals are too narrow" in str(net.card)
  assert abs(net.card.metrics["rounding"]) < 0.01
  teacher = next(r for r in net.card.metrics["rows"] if r["name"] == "teacher")
  assert teacher["parameters"] > net.card.parameters == row["parameters"]
  assert teacher["gain"]["mean"] == pytest.approx(
    row["psnr"]["mean"] - teacher["psnr"]["mean"]
  )


def test_the_card_tells_all_that_a_user_asks(packed):
  text = str(kd.load_pretrained(packed[1]).card)
  for part in ("none needed", "nobody", "0123abc", "`kdmri run`", "not for diagnosis"):
    assert part in text
  assert "test subjects: brain_000, brain_001" in text
  assert "mask of acceleration 3, 4 centre lines, axis 0" in text
  assert "trained on phantoms" in text
  assert str(packed[0].workdir.path) not in packed[1].read_text()


def test_a_given_pretrained_network_is_that_of_the_run(packed, tmp_path):
  _, path, network = packed
  given = f"pretrained:{path}"
  again = experiment(tmp_path, settings(student=dict(given=given)))
  assert again.origin("student").digests == {"best": network.card.digest}
  jax.tree.map(np.testing.assert_array_equal, again.best("student"), network.params)
  assert again.given_notes() == []
  assert again.is_finished("student")
  with pytest.raises(UserError, match=r"pretrained.*, a DCCNN|another network"):
    experiment(tmp_path, settings(teacher=dict(given=given)))


def test_a_stage_starts_from_a_pretrained_network(packed, shipped, tmp_path):
  config = settings(student=dict(start_from="pretrained:tiny-student"))
  run = experiment(tmp_path / "run", config)
  start = run.start_params("student")
  jax.tree.map(np.testing.assert_array_equal, start, packed[2].params)
  finish(run, "student")
  record = run.workdir.trained("student").record()
  digest = packed[2].card.digest
  assert record["weights_of"] == {"pretrained:tiny-student": digest}
  origin = experiment(
    tmp_path / "other", settings(student=dict(given=str(tmp_path / "run" / "student")))
  ).origin("student")
  assert len(origin.training_sets) == 2 and origin.complete


def test_an_evaluated_subject_that_chose_its_epoch_is_told(packed, tmp_path):
  config = settings(student=dict(given=f"pretrained:{packed[1]}"))
  config.data.update(validation=("*0", "*1"), test=("*2",))
  *_, note = experiment(tmp_path, config).given_notes()
  assert " was chosen on brain_002: subjects that this run evaluates" in note


@pytest.mark.parametrize("key", ["given", "start_from"])
def test_unknown_training_subjects_are_told(packed, tmp_path, key):
  card = dataclasses.replace(packed[2].card, complete=False)
  path = store.write(tmp_path, packed[2]._replace(card=card))
  config = settings(student={key: f"pretrained:{path}"})
  (note,) = experiment(tmp_path / "run", config).given_notes()
  assert f"{path}, " in note and "the stage student" in note
  assert note.startswith("It is not known which subjects ")


def test_a_card_counts_what_the_test_source_has(tmp_path):
  """Of a run that subjects train, three files of another source are not subjects."""
  rng = np.random.default_rng(0)
  for name in "abc":
    np.savez(tmp_path / f"{name}.npz", image=rng.random((2, 24, 20), np.float32))
  config = settings()
  config.data.update(test=())
  config.data.test_source.update(source="npz", root=str(tmp_path))
  run = experiment(tmp_path / "run", config)
  assert run.data["unit"] == "subject"
  finish(run, "teacher", "student")
  network = packing.pack(tmp_path / "run", "student", "tiny-files", ORIGIN)
  assert network.card.metrics["over"] == "6 slices of 3 files"


def test_a_card_names_no_folder(shipped, tmp_path):
  config = settings(student=dict(start_from=f"pretrained:{shipped}/tiny-student.json"))
  np.save(tmp_path / "lines.npy", kd.masks.cartesian((24, 20), 3, 4))
  config.mask.update(
    kind="file", path=str(tmp_path / "lines.npy"), acceleration=7, seed=5
  )
  finish(experiment(tmp_path / "run", config), "teacher", "student")
  network = packing.pack(tmp_path / "run", "student", "tiny-again", ORIGIN)
  path = store.write(tmp_path, network)
  assert str(tmp_path) not in path.read_text()
  (tmp_path / "lines.npy").unlink()
  folder = tmp_path.rename(tmp_path.with_name("elsewhere"))
  path = folder / path.name
  net = kd.load_pretrained(path)
  np.testing.assert_array_equal(net.mask, kd.masks.cartesian((24, 20), 3, 4))
  card = net.card
  assert "k-space, 8 of 24 rows (acceleration 3.0), 4 of them" in card.trained_on
  assert net.training.text == card.trained_on
  assert "- k-space: a given mask\n" in str(card)
  start = "pretrained:tiny-student.json"
  assert card.experiment.stages["student"].start_from == start
  assert list(card.record["weights_of"]) == [start] and card.complete
  np.save(path.with_suffix(".npy"), kd.masks.cartesian((24, 20), 3, 4, seed=1))
  with pytest.raises(UserError, match=r"tiny-again\.npy: .* a mask of digest .*card"):
    kd.load_pretrained(path)


def test_the_record_of_the_data_names_no_file():
  """Neither of a test source nor of what prepared volumes were made from."""
  source = {"source": "nifti", "root": "/secret", "complex_file": "/secret/a.nii"}
  data = {"source": "prepared", "root": "/secret", "test_source": source}
  earlier = {"source": "arrays", "file": "/secret/b.mat"}
  volume = {"source": "prepared", "file": "/secret/c.h5", "prepared_from": earlier}
  found = packing._without_files(data, {"volumes": [volume, volume]})
  assert found == {
    "source": "prepared",
    "test_source": {"source": "nifti"},
    "volumes": [{"source": "prepared", "prepared_from": {"source": "arrays"}}],
  }


@pytest.mark.slow
def test_a_training_from_a_pretrained_network_is_reported(shipped, tmp_path):
  start = dict(start_from="pretrained:tiny-student")
  given = dict(given=f"pretrained:{shipped}/tiny-student.json", model="student")
  config = settings(student=start, teacher=given)
  (report,) = kd.train(config, tmp_path)
  text = report.path.with_name("report.md").read_text().replace("\\", "")
  assert "given: pretrained:tiny-student (digest" in text
  assert f"given: pretrained:{shipped}/tiny-student.json" in text


@pytest.mark.parametrize("key", ["given", "start_from"])
def test_a_training_subject_is_not_evaluated(shipped, tmp_path, key):
  config = settings(student={key: "pretrained:tiny-student"})
  config.data.update(validation=("*0", "*1"), test=("*4",))
  message = rf"config\.stages\.student\.{key}: .* trained on brain_004: subjects that"
  with pytest.raises(UserError, match=message):
    experiment(tmp_path / "run", config)


@pytest.mark.parametrize("key", ["given", "start_from"])
def test_an_unknown_name_lists_those_there_are(shipped, tmp_path, key):
  message = r"found .*tiny-studnt.* one of tiny-student, or .*Did you mean"
  with pytest.raises(ArgumentError, match=message):
    kd.load_pretrained("tiny-studnt")
  with pytest.raises(ArgumentError, match=rf"^workdir: {message}"):
    load.read_config(pathlib.Path("pretrained:tiny-studnt"))
  config = settings(student={key: "pretrained:tiny-studnt"})
  with pytest.raises(UserError, match=rf"config\.stages\.student\.{key}: {message}"):
    experiment(tmp_path / "run", config)


def test_damaged_files_are_refused(shipped):
  weights, card = shipped / "tiny-student.npz", shipped / "tiny-student.json"
  whole, text = weights.read_bytes(), card.read_text()
  with np.load(weights) as file:
    arrays = dict(file)
  first = next(iter(arrays))
  np.savez(weights, **arrays | {first: arrays[first] + 1})
  with pytest.raises(UserError, match=r"weights of digest .* those of the card"):
    kd.load_pretrained("tiny-student")
  weights.write_bytes(whole[:-40])
  with pytest.raises(UserError, match="cannot be read"):
    kd.load_pretrained("tiny-student")
  weights.write_bytes(whole)
  card.write_text(text.replace("none needed", "public domain"))
  with pytest.raises(UserError, match="its content has changed"):
    kd.load_pretrained("tiny-student")
  record = json_text.loads(text)
  del record["licence"], record["crc32"]
  card.write_text(json_text.dumps(record))
  with pytest.raises(UserError, match="licence"):
    kd.load_pretrained("tiny-student")


def test_it_stands_for_a_work_directory(packed):
  place, run = pathlib.Path(f"pretrained:{packed[1]}"), packed[0].workdir.path
  assert load.choose_stage(place, None, None) == "student"
  assert load.choose_stage(run, None, None) == "kd"
  assert load.read_shapes(place) == load.read_shapes(run) == [(24, 20)]
  with pytest.raises(ArgumentError, match=r"^stage: found 'kd' beside the pretrained"):
    load.choose_stage(place, "kd", None)
  with pytest.raises(ArgumentError, match=r"^seed: found 3 beside"):
    load.choose_stage(place, None, 3)
  mask = kd.masks.cartesian((24, 20), 3, 4)
  _, measured = kd.undersample(packed[0].dataset.test.volumes[0].target, mask)
  with pytest.warns(UserWarning, match="trained on phantoms"):
    image, exact = (
      kd.load(each, "student").reconstruct(*measured) for each in (place, run)
    )
  np.testing.assert_allclose(image, exact, atol=2e-3)


def test_what_cannot_be_packed_is_refused(packed, tmp_path):
  workdir = packed[0].workdir.path
  with pytest.raises(ArgumentError, match=r"^stage: found 'kd'"):
    packing.pack(workdir, "kd", "tiny", ORIGIN)
  with pytest.raises(ArgumentError, match=r"^name: found '\.\./tiny'"):
    packing.pack(workdir, "student", "../tiny", ORIGIN)
  make(tmp_path).claim(["teacher", "student", "feature", "kd"])
  with pytest.raises(UserError, match="without held-out subjects"):
    packing.pack(tmp_path, "student", "tiny", ORIGIN)
  with pytest.raises(ArgumentError, match="half precision cannot hold"):
    store.rounded({"kernel": np.float32([1e6])})


def test_a_denoiser_is_measured_with_the_noise_of_its_evaluation(tmp_path):
  config = settings()
  config.mask.kind, config.noise.snr = "full", (4.0, 12.0)
  run = experiment(tmp_path, config)
  finish(run, "teacher", "student")
  card = packing.pack(tmp_path, "student", "tiny-denoiser", ORIGIN).card
  values = []
  for slices in run.for_task("").dataset.test.parts:
    acquisition = run.dataset.acquisitions[slices.target.shape[1:3]]
    noisy, _ = measure(slices.target, acquisition, draws=slices.draws)
    found = kd.metrics.per_slice(slices.target[..., 0], np.abs(noisy[..., 0]))
    values += found["psnr"].tolist()
  first = card.metrics["rows"][0]
  assert first["name"] == "input"
  assert first["psnr"]["mean"] == pytest.approx(np.mean(values), abs=1e-4)
  assert "k-space: fully sampled, noise of SNR 4 to 12" in str(card)
  assert "simulated k-space, fully sampled, noise of SNR 4 to 12; 1" in card.trained_on


def test_its_training_slices_are_known_under_other_names(packed, tmp_path):
  path = tmp_path / packed[1].name
  shutil.copy(packed[1].with_suffix(".npz"), tmp_path)
  card = json_text.unsealed(json_text.loads(packed[1].read_text()))
  (training,) = card["training_sets"]
  seen = sorted(training["subjects"])[0]
  assert {len(d) for d in training["subjects"][seen]} == {12}
  training["subjects"]["someone"] = training["subjects"].pop(seen)
  path.write_text(json_text.dumps(json_text.sealed(card)))
  config = settings(student=dict(given=f"pretrained:{path}"))
  config.data.validation, config.data.test = (seen,), ("*0", "*1")
  experiment(tmp_path / "unseen", config)
  config.data.validation, config.data.test = ("*2", "*3"), (seen,)
  with pytest.raises(UserError, match=f"which was trained on {seen}"):
    experiment(tmp_path / "seen", config)

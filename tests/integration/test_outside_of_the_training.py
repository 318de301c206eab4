"""`kdmri reconstruct` and `kd.load` say what they did and warn outside of the training.

The runs read NIfTI files of random ellipses, as a user's own images are.
"""

import json

import h5py
import nibabel
import numpy as np
import pytest
from helpers import commands
from helpers.tiny import finish, run_file, tiny_config

import kdmri_jax as kd
from kdmri_jax import config as config_lib
from kdmri_jax.errors import ArgumentError
from kdmri_jax.inference import account, load
from kdmri_jax.training import records
from kdmri_jax.training.experiment import Experiment

pytestmark = pytest.mark.usefixtures("quick_compilation")

SIZE = (32, 28)


def volume(seed, size=SIZE, texture=0.0):
  """Slices of a body with some organs, [3, H, W], as one subject has them."""
  rng = np.random.default_rng(seed)
  y, x = (np.linspace(-1, 1, n) for n in size)
  image = np.zeros((3, *size), np.float32)
  for k in range(3):
    for organ in range(5):
      centre = rng.uniform(-0.3, 0.3, 2) * (organ > 0)
      radius = rng.uniform(0.1, 0.3, 2) if organ else rng.uniform(0.6, 0.8, 2)
      inside = ((y - centre[0]) / radius[0])[:, None] ** 2
      inside = inside + ((x - centre[1]) / radius[1]) ** 2 < 1
      image[k][inside] += rng.uniform(50, 150)
  return image + texture * rng.random(image.shape)


def save(path, images):
  path.parent.mkdir(parents=True, exist_ok=True)
  nibabel.save(nibabel.Nifti1Image(np.moveaxis(images, 0, 2), np.eye(4)), path)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  folder = tmp_path_factory.mktemp("own")
  for seed in range(8):
    save(folder / f"data/s{seed}.nii", volume(seed))
  config = tiny_config(epochs=1, devices=1)
  config.data.update(source="nifti", root=str(folder / "data"))
  finish(Experiment(config_lib.parse(config), folder / "run"), "student")
  return folder / "run"


def reconstruct(workdir, path, *flags, out="out.h5"):
  """The printed text, and the record in the file."""
  out = path.with_name(out)
  flags = ("--stage=student", f"--input={path}", f"--out={out}", *flags)
  done = commands.run("reconstruct", f"--workdir={workdir}", *flags)
  assert done.returncode == 0, done.stderr
  if out.suffix == ".h5":
    with h5py.File(out) as file:
      record = json.loads(file.attrs["provenance"])
  else:
    record = json.loads(out.with_suffix(".json").read_text())
  assert [f"warning: {text}" for text in record["warnings"]] == [
    line for line in done.stdout.splitlines() if line.startswith("warning: ")
  ]
  return done.stdout, record


@pytest.mark.parametrize("out", ["out.h5", "out.nii"])
def test_a_scan_like_the_training_gives_no_warning(workdir, tmp_path, out):
  save(tmp_path / "a.nii", volume(100))
  text, record = reconstruct(workdir, tmp_path / "a.nii", out=out)
  assert [w for w in record["warnings"] if "worse" not in w] == []
  assert "undersampled in simulation with the mask of the run: 10 of 32 rows" in text
  assert "trained on: 18 slices of 6 files (nifti), 32x28, each volume div" in text
  assert "acceleration 3; 1 epochs" in text
  assert record["quality"]["input"].keys() == {"psnr", "ssim", "nmse"}


def test_another_size(workdir, tmp_path):
  save(tmp_path / "a.nii", volume(100, (40, 28)))
  text, _ = reconstruct(workdir, tmp_path / "a.nii")
  assert "warning: The slices are 40x28; the network was trained on 32x28" in text


def test_another_acceleration_and_other_lines(workdir, tmp_path):
  save(tmp_path / "a.nii", volume(100))
  for name, settings in {"b": {"acceleration": 2}, "c": {"seed": 9}}.items():
    given = {"acceleration": 3, "centre_lines": 4, **settings}
    np.save(tmp_path / f"{name}.npy", kd.masks.cartesian(SIZE, **given))
    text, _ = reconstruct(
      workdir, tmp_path / "a.nii", f"--mask={tmp_path / name}.npy", out=f"{name}.h5"
    )
    assert "warning: The scan is sampled at" in text and "10 of 32 rows" in text


def test_other_images(workdir, tmp_path):
  save(tmp_path / "a.nii", volume(100, texture=900))
  text, _ = reconstruct(workdir, tmp_path / "a.nii")
  assert "warning: The images differ in their statistics" in text


def test_data_consistency_is_refused_for_images_as_they_are(workdir, tmp_path):
  """It would return them."""
  path, refused = tmp_path / "a.nii", r"^as_is: found .* a DCCNN: its data consistency"
  save(path, volume(100))
  with pytest.raises(ArgumentError, match=refused):
    run_file(workdir, "student", path, as_is=True)
  config = tiny_config(epochs=1, devices=1)
  config.models.teacher = {"network": "edsr", "blocks": 1, "features": 4}
  config.stages.student.model, config.pipeline = "teacher", ("student",)
  config.evaluation.update(models=("student",), distilled=())
  finish(Experiment(config_lib.parse(config), tmp_path / "edsr"), "student")
  assert "target" not in run_file(tmp_path / "edsr", "student", path, as_is=True)
  config.stages.student.model = "student"
  config.mask.kind, config.noise.snr = "full", (4.0, 12.0)
  finish(Experiment(config_lib.parse(config), tmp_path / "hard"), "student")
  with pytest.raises(ArgumentError, match=refused):
    run_file(tmp_path / "hard", "student", path, as_is=True)
  config.models.student.lam = 1.0
  finish(Experiment(config_lib.parse(config), tmp_path / "soft"), "student")
  found = run_file(tmp_path / "soft", "student", path, as_is=True)
  assert not np.allclose(found["reconstruction"], found["zero_filled"], rtol=1e-3)


def test_the_library_warns_alike(workdir):
  net = kd.load(workdir, "student")
  mask = kd.masks.cartesian(SIZE, acceleration=3, centre_lines=4)
  kspace = np.fft.fft2(volume(100), norm="ortho") * mask
  net.reconstruct(kspace, mask)  # pytest makes a warning an error
  with pytest.warns(UserWarning, match="differ in their statistics"):
    noisy = np.fft.fft2(volume(100, texture=900), norm="ortho") * mask
    net.reconstruct(noisy, mask)


@pytest.mark.parametrize(
  ("trained", "warned"),
  [
    (1, "that of several coils; the network was trained on that of one coil."),
    (4, "that of one coil; the network was trained on that of several coils."),
  ],
)
def test_the_library_warns_of_other_coils(tmp_path, trained, warned):
  config = tiny_config(epochs=1, devices=1, coils={"count": trained})
  for model in config.models.values():
    model.channels = 2
  finish(Experiment(config_lib.parse(config), tmp_path), "student")
  net = kd.load(tmp_path, "student")
  image = kd.coils.add_phase(volume(100, (24, 20)) / 150)
  maps = kd.coils.simulate((24, 20), coils=4)
  of_one = np.fft.fft2(image, norm="ortho") * net.mask, net.mask
  of_several = kd.coils.forward(image, maps, net.mask), net.mask, maps
  for coils, measured in ((1, of_one), (4, of_several)):
    with pytest.warns(UserWarning) as caught:
      net.reconstruct(*measured)
    told = [str(each.message) for each in caught]
    assert (f"The k-space is {warned}" in told) == (coils != trained)
    assert any("trained on phantoms" in text for text in told)


@pytest.mark.parametrize("several", [False, True])
def test_a_mask_from_a_file_is_told_as_it_is(tmp_path, several):
  """Not by the settings of a recipe, which it does not use."""
  np.save(tmp_path / "own.npy", kd.masks.cartesian((24, 20), 2, 4, axis=1))
  config = tiny_config(epochs=1, devices=1)
  config.mask.update(kind="file", path=str(tmp_path / "own.npy"), axis=1)
  if several:
    plain = {"mask": config.mask.to_dict(), "noise": config.noise.to_dict()}
    full = {**plain, "mask": {**plain["mask"], "kind": "full"}}
    config.tasks = {"whole": full, "lines": plain}
  run = tmp_path / "run"
  finish(Experiment(config_lib.parse(config), run), "student")
  task = "lines" if several else ""
  text = kd.load(run, "student", task=task).training.text
  assert "k-space, 10 of 20 columns (acceleration 2.0), 5 of them at the centre" in text
  (run / ("mask_lines.npy" if several else "mask.npy")).unlink()
  assert "k-space, a given mask; 1" in kd.load(run, "student", task=task).training.text


def test_an_earlier_work_directory_has_no_record(workdir, tmp_path):
  """This is said, and repeating the command of its run adds it."""
  path = workdir / "dataset.json"
  record = records.read(path, "")
  records.write(path, {k: v for k, v in record.items() if k != "inputs"})
  save(tmp_path / "a.nii", volume(100))
  text, _ = reconstruct(workdir, tmp_path / "a.nii")
  assert "warning: It is not known whether the images resemble those" in text
  Experiment(load.read_config(workdir), workdir).claim(["student"])
  assert records.read(path, "") == record


def test_worse_than_its_input_is_said():
  target = volume(1)
  noise = np.random.default_rng(0).normal(size=target.shape)
  near, far = target + noise, target + 3 * noise
  values, text, (warning,) = account.compared(target, far, near, "input")
  assert warning.startswith("The reconstruction is worse than its input: PSNR, dB ")
  assert values["output"]["psnr"] < values["input"]["psnr"]
  assert "worse in 3 of 3 slices" in text
  _, _, (warning,) = account.compared(target, far, near, "CG-SENSE")
  assert warning.startswith("The reconstruction is worse than CG-SENSE: PSNR, dB ")
  assert account.compared(target, near, far, "input")[2] == []


def test_networks_of_phantoms_and_of_one_head():
  for source, words in {"phantom": "phantoms", "mni152": "one head"}.items():
    for entry in ({"source": source}, {"prepared_from": {"source": source}}):
      (text,) = account._limits({"volumes": [entry]}, ["a", "b"])
      assert words in text
  assert account._limits({"volumes": [{"source": "nifti"}]}, ["a", "b"]) == []


@pytest.mark.parametrize(
  ("coils", "record", "count"),
  [
    ({"count": 8}, {"complex_file": None}, 0),
    ({"count": 8, "phase": 0.0}, {"complex_file": None}, 1),
    ({"count": 8}, {"complex_file": None, "given_inputs": True}, 1),
    ({"count": 8, "phase": 0.0}, {"complex_file": "a.h5"}, 0),
    ({"count": 8, "phase": 0.0}, {}, 0),
    ({"phase": 0.0}, {"complex_file": None}, 0),
  ],
)
def test_networks_of_coils_and_images_without_a_phase(coils, record, count):
  config = config_lib.parse(tiny_config(coils=coils))
  found = account._without_phase(config, record)
  assert len(found) == count
  assert all("without a phase, which those of scans have" in text for text in found)

"""Networks -> reconstructed volumes -> h5 files."""

import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import tqdm
from flax import linen as nn

from kdmri_jax import models
from kdmri_jax.config.schema import CG_SENSE, ZERO_FILLED
from kdmri_jax.data import coils as data_coils
from kdmri_jax.data import phase_encoding, tasks
from kdmri_jax.data.measured import Measured
from kdmri_jax.data.slice_set import SliceSet, Span, to_channels
from kdmri_jax.data.volume import Volume, prepare
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.inference import account, load
from kdmri_jax.inference.account import Account
from kdmri_jax.inference.kspace import slices_of_kspace
from kdmri_jax.io.h5 import RawHeader, write_h5
from kdmri_jax.physics.coils.sense import from_zero_filled
from kdmri_jax.physics.masks import coverage, files, recipes
from kdmri_jax.saving import make_folder
from kdmri_jax.training import batches, parallel
from kdmri_jax.training.step import make_predict
from kdmri_jax.types import Acquisition, Shape, Slices, shape_of


class Reconstruction(NamedTuple):
  """The result of a network with its input.

  Attributes:
    zero_filled: float32 [H, W, C] of a slice, [S, H, W, C] of a volume.
    image: likewise.
  """

  zero_filled: np.ndarray
  image: np.ndarray


def run(
  predict: Callable,
  params: Any,
  parts: Sequence[Slices],
  acquisitions: Mapping[Shape, Acquisition],
  batch_size: int,
  name: str,
) -> Iterator[Reconstruction]:
  """Reconstructs every slice, one after the other, part by part.

  Args:
    predict: from `training.step.make_predict`.
    params: the network's weights.
    parts: the slices; their target is used only to simulate k-space, where no input is
      given.
    acquisitions: how slices of each shape are measured, of one task.
    batch_size: slices per batch; must divide over the devices of `predict`.
    name: label of the progress bar.

  Yields:
    A slice, arrays [H, W, C].
  """
  counts = batches.counts(parts)
  order = batches.in_order(counts, batch_size, fill=True)
  loaded = batches.load(parts, order)
  left = list(counts)
  shown = tqdm.tqdm(loaded, name, len(order), unit="batch", disable=None)
  for (part, rows), batch in zip(order, shown, strict=True):
    acquisition = acquisitions[shape_of(batch)]
    zero_filled, image, _ = jax.device_get(predict(params, batch, acquisition))
    wanted = min(len(rows), left[part])
    left[part] -= wanted
    yield from map(Reconstruction, zero_filled[:wanted], image[:wanted])


def run_once(
  model: nn.Module,
  params: Any,
  slices: Slices,
  acquisition: Acquisition,
  batch_size: int,
  *,
  name: str,
  compile_by: Callable[..., Callable] = make_predict,
) -> Reconstruction:
  """Reconstructs slices of one shape on as many devices as divide a batch.

  Args:
    model: the network.
    params: its weights.
    slices: see `run`.
    acquisition: how they are measured, of one task.
    batch_size: slices per batch, at most.
    name: of the slices, as label of the progress bar.
    compile_by: `make_predict`, or a function that keeps what it has compiled.

  Returns:
    Arrays [S, H, W, C].
  """
  batch_size = min(batch_size, len(slices.target))
  devices = tuple(parallel.own(parallel.choose_devices(0, batch_size)))
  result = run(
    compile_by(model, devices),
    parallel.replicate(params, devices),
    [slices],
    {shape_of(slices): acquisition},
    batch_size,
    f"reconstructing {name}",
  )
  return Reconstruction(*map(np.stack, zip(*result, strict=True)))


def by_volume(
  slices: Iterator[Reconstruction], evaluated: SliceSet
) -> Iterator[tuple[Volume, Span, Reconstruction]]:
  """Gathers slices, as `run` yields them, to volumes [S, H, W, C]."""
  for number in range(len(evaluated.parts)):
    for volume, span in evaluated.of_part(number):
      own = list(itertools.islice(slices, span.stop - span.start))
      yield volume, span, Reconstruction(*map(np.stack, zip(*own, strict=True)))


def cg_sense(
  zero_filled: np.ndarray, slices: Slices, span: Span, acquisition: Acquisition
) -> np.ndarray:
  """CG-SENSE images of a volume, [S, H, W, 2].

  Args:
    zero_filled: its zero-filled images, likewise.
    slices: the part in which it is; the sensitivities there are read one by one.
    span: its place there.
    acquisition: how it was measured.
  """
  maps, mask = slices.sensitivities, acquisition.masks[0]
  if maps is None:
    return from_zero_filled(zero_filled, acquisition.sensitivities[0], mask)
  return np.concatenate(
    [
      from_zero_filled(zero_filled[k : k + 1], maps[np.array([row])][0], mask)
      for k, row in enumerate(range(span.start, span.stop))
    ]
  )


def real_image(images: np.ndarray) -> np.ndarray:
  """The image that is evaluated and shown.

  Args:
    images: [..., C].

  Returns:
    [...]: for one channel the image itself, with its sign, as in the published code;
    for two (real and imaginary part) the magnitude.
  """
  return images[..., 0] if images.shape[-1] == 1 else np.linalg.norm(images, axis=-1)


def write(
  directory: pathlib.Path, images: np.ndarray, volume: Volume, key: str
) -> None:
  """Writes a volume's file NAME.h5, (slices, H, W) float32 under `key`.

  Args:
    directory: folder; created when missing, a file of the same name is replaced.
    images: [S, H, W, C]; the file holds their `real_image`.
    volume: the volume of the images.
    key: "reconstruction", as KD-MRI and fastMRI users expect, or "target".

  Raises:
    UserError: the disk is full or the folder cannot be written.
  """
  make_folder(directory)
  header = RawHeader(attributes={"subject": volume.subject})
  write_h5(directory / f"{volume.name}.h5", {key: real_image(images)}, header)


class Result(NamedTuple):
  """A reconstructed scan.

  Attributes:
    images: "reconstruction", "zero_filled" (the network's input), of several coils
      "cg_sense" (the classical reconstruction, `physics.coils.cg_sense`) and, where it
      is known, "target" (the image that was measured first, or that of a given input):
      float32 [S, H, W], in the units of the file; magnitudes.
    account: what was done, with warnings.
  """

  images: dict[str, np.ndarray]
  account: Account


def run_scan(
  workdir: pathlib.Path,
  stage: str,
  scan: Volume | Measured,
  *,
  mask_path: str = "",
  batch_size: int = 4,
  seed: int | None = None,
  task: str = "",
  as_is: bool = False,
  precision: str = "",
) -> Result:
  """Reconstructs one scan with a trained stage.

  Args:
    workdir: work directory of the run, or "pretrained:NAME" as a path.
    stage: the stage whose best weights to use.
    scan: fully sampled images or undersampled k-space, from `inference.read_scan.read`.
      Where inputs were given in training, images are such inputs, and have no target.
    mask_path: .npy file of the mask; "" takes the mask of the k-space's file, or else
      creates the run's mask for the slice shape. For images it must have the run's
      phase-encode axis.
    batch_size: slices at a time.
    seed: of the weights; None takes the run's first seed.
    task: of a run with several, the task by which images are measured; "" for the
      first.
    as_is: enhances images without undersampling them first; refused for networks that
      would keep them, see `load.check_as_is`.
    precision: of the network's hidden layers, see `load.load`.

  Raises:
    UserError: the scan, the mask or the run cannot be used; for instance k-space of a
      complex image, for a network of real images with data consistency.
  """
  config = load.read_config(workdir)
  first, config = next(iter(config.all_tasks)), load.of_task(config, task)
  path, measured = scan.record["file"], isinstance(scan, Measured)
  if as_is and (measured or mask_path):
    found = "k-space" if measured else "a mask for images that are not measured"
    expected = "images, which are enhanced without undersampling"
    raise ArgumentError("as_is", f"{found}, {path}", expected)
  known_target = False
  if isinstance(scan, Measured):
    array, mask, axis = scan.kspace, scan.mask, None
  else:
    whole = dataclasses.replace(config.data, slices_per_volume=0, crop=(0, 0))
    scan = prepare(scan, whole)
    array, mask, axis = scan.target, None, recipes.phase_encode_axis(config.mask)
    given = load.read_data(workdir).get("given_inputs")  # such as the images here
    known_target = scan.input is not None or not (given or as_is)
  shape = array.shape[-2:]
  if mask_path:
    mask = files.load(mask_path, shape, axis)
  if as_is:
    mask = np.ones(shape, np.uint8)
  options: Any = {"task": task, "seed": seed, "precision": precision}
  network = load.load(workdir, stage, shape, mask, **options)
  if as_is:
    load.check_as_is(network)
  seed = config.seed if seed is None else seed
  known = account.training(workdir, config, stage, seed, task or first)
  acquisition, channels = network.acquisition, models.channels(network.model)
  if as_is or measured:
    acquisition = acquisition._replace(snr=None)
  name = pathlib.Path(path).name
  if isinstance(scan, Measured):
    mask = acquisition.masks[0]
    if scan.mask is None or mask_path:
      coverage.check_mask(coverage.peak_of(array), mask, path)
    slices, scale = slices_of_kspace(
      array, mask, network.model, path, known.input_scale, scan.sensitivities
    )
  else:
    if np.iscomplexobj(array) and channels == 1:
      expected = "real ones, as the network was trained on"
      remedy = "Store their magnitude, or train a network with channels=2."
      raise UserError(path, "complex images", expected, remedy)
    scale = scan.record["scale_factor"]
    if as_is:
      divisor = float(known.input_scale.divisor(np.abs(array)))
      array, scale = array / np.float32(divisor), scale * divisor
    slices = Slices(to_channels(array, channels))
    if scan.input is not None:
      slices = slices._replace(input=to_channels(scan.input, channels))
    if scan.sensitivities is not None:
      coils = {"kspace": scan.kspace, "sensitivities": scan.sensitivities}
      slices = slices._replace(**coils)
    noisy = acquisition.snr is not None
    (slices,) = tasks.assign([slices], [0], count=1, noisy=noisy, name=name)
  found = run_once(
    network.model, network.params, slices, acquisition, batch_size, name=name
  )
  images = {"reconstruction": found.image, "zero_filled": found.zero_filled}
  simulated = acquisition.sensitivities is not None and not (as_is or measured)
  if slices.sensitivities is not None or simulated:
    whole = Span(0, 0, len(found.image))
    images[CG_SENSE] = cg_sense(found.zero_filled, slices, whole, acquisition)
  if known_target:
    images["target"] = slices.target
  images = {key: scale * real_image(image) for key, image in images.items()}
  own = None if as_is else acquisition.masks[0]
  shape_text = "{} slices of {}x{}".format(*images["reconstruction"].shape)
  kind = "images" if not measured and scan.sensitivities is None else "k-space"
  source = scan.record.get("source", "images")
  facts = {
    "scan": f"{path}, {shape_text}, {kind}, read as {source}",
    "sampling": _sampling(own, measured, mask_path, acquisition.snr),
    "network": account.of_network(workdir, config, stage, seed, network.params),
    "trained on": known.text,
  }
  if precision:
    facts["network"] += f", computed in {precision}"
  inputs = np.linalg.norm(found.zero_filled, axis=-1)
  warned, values = account.outside(known, own, inputs), {}
  coils = 1 if measured else max(config.coils.count, 1)
  if scan.sensitivities is not None:
    coils, facts["coils"] = scan.record["coils"], _sensitivities(scan.record)
  warned += account.other_coils(known, coils)
  if isinstance(scan, Volume) and not as_is:
    masks = {shape_of(slices): acquisition}
    warned += phase_encoding.along_the_readout([scan], masks)
    warned += data_coils.less_calibration([scan], masks)
  if "target" in images:
    ends = images["target"], images["reconstruction"]
    for key, name in ((ZERO_FILLED, "input"), (CG_SENSE, "CG-SENSE")):
      if key in images:
        own, sentence, worse = account.compared(*ends, images[key], name)
        values, facts[f"{name} -> output"] = values | own, sentence
        warned += worse
  return Result(images, Account(facts, warned, values))


def _sampling(mask, measured: bool, mask_path: str, snr) -> str:
  """How the network's input was sampled, in words."""
  if mask is None:
    return "the images are enhanced as they are"
  whose = f"the mask {mask_path}" if mask_path else "the mask of the run"
  if measured:
    return f"the scan's own, {account.in_words(mask)}"
  noise = "" if snr is None else ", with the run's noise"
  text = account.in_words(mask)
  return f"undersampled in simulation with {whose}{noise}: {text}"


def _sensitivities(record: Mapping[str, Any]) -> str:
  """The coils of a scan and their sensitivities in words."""
  method = record["sensitivities"]
  origin = "given" if method == "given" else f"estimated from the scan ({method})"
  white = ", prewhitened by their noise" if record.get("prewhitened") else ""
  text = f"{record['coils']}{white}, with sensitivities that are {origin}"
  calibration = record.get("calibration")
  return f"{text}. {calibration}" if calibration else text

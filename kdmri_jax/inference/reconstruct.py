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
from kdmri_jax.config import DataConfig
from kdmri_jax.data import tasks
from kdmri_jax.data.measured import Measured
from kdmri_jax.data.slice_set import SliceSet, Span, to_channels
from kdmri_jax.data.volume import Volume, prepare
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.inference import account, load
from kdmri_jax.inference.account import Account
from kdmri_jax.io.h5 import RawHeader, write_h5
from kdmri_jax.physics.coils import adjoint
from kdmri_jax.physics.masks import coverage, files, recipes
from kdmri_jax.saving import make_folder
from kdmri_jax.training import batches, parallel
from kdmri_jax.training.step import make_predict
from kdmri_jax.types import Acquisition, Shape, Slices, shape_of

_MOST_IMAGINARY = 0.05


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
    parts: the slices; their target is used only to simulate k-space.
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
  devices = tuple(parallel.choose_devices(0, batch_size))
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
    images: "reconstruction", "zero_filled" (the network's input) and, for images that
      are measured first, "target": float32 [S, H, W], in the units of the file;
      magnitudes.
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
) -> Result:
  """Reconstructs one scan with a trained stage.

  Args:
    workdir: work directory of the run, or "pretrained:NAME" as a path.
    stage: the stage whose best weights to use.
    scan: fully sampled images or undersampled k-space, from `inference.read_scan.read`.
    mask_path: .npy file of the mask; "" takes the mask of the k-space's file, or else
      creates the run's mask for the slice shape. For images it must have the run's
      phase-encode axis.
    batch_size: slices at a time.
    seed: of the weights; None takes the run's first seed.
    task: of a run with several, the task by which images are measured; "" for the
      first.
    as_is: enhances images without undersampling them first, for networks without data
      consistency.

  Raises:
    UserError: the scan, the mask or the run cannot be used; for instance k-space of a
      complex image for a network for real images.
  """
  config = load.read_config(workdir)
  first, config = next(iter(config.all_tasks)), load.of_task(config, task)
  path, measured = scan.record["file"], isinstance(scan, Measured)
  if as_is and (measured or mask_path):
    found = "k-space" if measured else "a mask for images that are not measured"
    expected = "images, which are enhanced without undersampling"
    raise ArgumentError("as_is", f"{found}, {path}", expected)
  if isinstance(scan, Measured):
    array, mask, axis = scan.kspace, scan.mask, None
  else:
    whole = dataclasses.replace(config.data, slices_per_volume=0, crop=(0, 0))
    scan = prepare(scan, whole)
    array, mask, axis = scan.target, None, recipes.phase_encode_axis(config.mask)
  shape = array.shape[1:]
  if mask_path:
    mask = files.load(mask_path, shape, axis)
  if as_is:
    mask = np.ones(shape, np.uint8)
  network = load.load(workdir, stage, shape, mask, task=task, seed=seed)
  acquisition, channels = network.acquisition, models.channels(network.model)
  if as_is:
    acquisition = acquisition._replace(snr=None)
  name = pathlib.Path(path).name
  if isinstance(scan, Measured):
    mask = acquisition.masks[0]
    if scan.mask is None or mask_path:
      coverage.check_mask(coverage.peak_of(array), mask, path)
    slices, scale = slices_of_kspace(array, mask, channels, path, config.data)
  else:
    if np.iscomplexobj(array) and channels == 1:
      expected = "real ones, as the network was trained on"
      remedy = "Store their magnitude, or train a network with channels=2."
      raise UserError(path, "complex images", expected, remedy)
    slices, scale = Slices(to_channels(array, channels)), scan.record["scale_factor"]
    noisy = acquisition.snr is not None
    (slices,) = tasks.assign([slices], [0], count=1, noisy=noisy, name=name)
  found = run_once(
    network.model, network.params, slices, acquisition, batch_size, name=name
  )
  images = {"reconstruction": found.image, "zero_filled": found.zero_filled}
  if not measured and not as_is:
    images["target"] = slices.target
  images = {key: scale * real_image(image) for key, image in images.items()}
  seed = config.seed if seed is None else seed
  known = account.training(workdir, config, stage, seed, task or first)
  own = None if as_is else acquisition.masks[0]
  shape_text = "{} slices of {}x{}".format(*images["reconstruction"].shape)
  facts = {
    "scan": f"{path}, {shape_text}, {'k-space' if measured else 'images'}, read as "
    f"{scan.record.get('source', 'images')}",
    "sampling": _sampling(own, measured, mask_path, acquisition.snr),
    "network": account.of_network(workdir, config, stage, seed, network.params),
    "trained on": known.text,
  }
  inputs = np.linalg.norm(found.zero_filled, axis=-1)
  warned, values = account.outside(known, own, inputs), {}
  if "target" in images:
    three = images["target"], images["zero_filled"], images["reconstruction"]
    values, facts["input -> output"], worse = account.compared(*three)
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


def slices_of_kspace(
  kspace: np.ndarray,
  mask: np.ndarray,
  channels: int,
  where: Any,
  data: DataConfig,
  sensitivities: np.ndarray | None = None,
) -> tuple[Slices, float]:
  """Slices without a target, in the scale of the network.

  In training the target's maximum is the divisor; it is not known here, and the
  zero-filled image's takes its place.

  Args:
    kspace: measured k-space, complex [S, H, W], of several coils [S, C, H, W]; 0 where
      not sampled.
    mask: [H, W], 1 = sampled.
    channels: of the network's images; 2 for several coils.
    where: the file, for errors.
    data: the settings of the network's run, which say whether images are scaled.
    sensitivities: of the coils, complex [S, C, H, W]; None for one coil.

  Returns:
    The slices, and the divisor.

  Raises:
    UserError: the network has one channel, and this is k-space of complex images.
  """
  if channels == 1:
    _refuse_phase(kspace, mask, where)
  if sensitivities is None:
    image = np.fft.ifft2(kspace, norm="ortho").astype(np.complex64)
  else:
    pairs = zip(kspace, sensitivities, strict=True)
    image = np.stack([adjoint(*pair, mask) for pair in pairs])
    sensitivities = sensitivities.astype(np.complex64)
  scaled = data.scaling == "volume_max"
  scale = (float(np.abs(image).max()) or 1.0) if scaled else 1.0
  kspace, image = kspace / scale, image / scale
  zero_filled = to_channels(np.abs(image) if channels == 1 else image, channels)
  # The target only gives the shape; with k-space nothing is simulated.
  kspace = kspace.astype(np.complex64)
  return Slices(zero_filled, kspace, zero_filled, sensitivities=sensitivities), scale


def _refuse_phase(kspace: np.ndarray, mask: np.ndarray, path) -> None:
  """Checks whether k-space at -k is conjugate to that at k, where both are sampled."""

  def mirrored(array):
    return np.roll(array[..., ::-1, ::-1], (1, 1), (-2, -1))

  both = (mask * mirrored(mask)).astype(bool)
  odd = (kspace - np.conj(mirrored(kspace)))[:, both]
  whole = np.square(np.abs(kspace[:, both]), dtype=np.float64).sum()
  share = np.square(np.abs(odd), dtype=np.float64).sum() / max(4 * whole, 1e-300)
  if share > _MOST_IMAGINARY:
    found = f"k-space of a complex image ({share:.0%} of its energy is imaginary)"
    expected = "k-space of a real image: the network has one channel"
    remedy = "Use a network of two channels, trained on complex images."
    raise UserError(path, found, expected, remedy)

"""The conditions of `evaluation.robustness`, and images measured under them."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from kdmri_jax import models
from kdmri_jax.config import TaskConfig
from kdmri_jax.config.data import OtherSourceConfig
from kdmri_jax.config.robustness import RobustnessConfig
from kdmri_jax.data import tasks
from kdmri_jax.data.dataset import load_tested
from kdmri_jax.data.slice_set import SliceSet
from kdmri_jax.errors import ArgumentError, arguments_of
from kdmri_jax.physics import acquisition, consistency, perturbation
from kdmri_jax.physics.masks import describe, recipes
from kdmri_jax.physics.undersample import zero_fill
from kdmri_jax.training import parallel
from kdmri_jax.training.experiment import Experiment
from kdmri_jax.training.stage_networks import complete
from kdmri_jax.types import Acquisition, Shape, Slices, shape_of

_SMALLEST = 1e-12  # keeps the gradient of a magnitude finite where it is 0


class Condition(NamedTuple):
  """A condition; it differs in one property from that of the run.

  Attributes:
    name: in tables and sentences, such as "8x".
    task: mask and noise.
    size: relative norm of a perturbation of the measured k-space; 0 for none.
    steps: gradient steps of the search for the network's worst perturbation; 0 for a
      random one.
    source: of the volumes; None for the evaluated ones of the run.
  """

  name: str
  task: TaskConfig
  size: float = 0.0
  steps: int = 0
  source: OtherSourceConfig | None = None

  @property
  def is_of_network(self) -> bool:
    """Whether each network is measured with other k-space."""
    return self.steps > 0


def conditions(own: TaskConfig, asked: RobustnessConfig) -> list[Condition]:
  """The conditions that differ from the run's own.

  Args:
    own: mask and noise of the run.
    asked: the settings.

  Raises:
    ArgumentError: the run's mask has no such property, or a source has no name; names
      the setting.
  """
  found = []
  _, has = recipes.KINDS.get(own.mask.kind, (None, ()))
  for setting, key, title in (
    ("accelerations", "acceleration", "{:g}x"),
    ("mask_seeds", "seed", "mask of seed {}"),
    ("axes", "axis", "phase-encode axis {}"),
  ):
    values = getattr(asked, setting)
    if values and key not in has:
      expected = f"none, because masks of kind {own.mask.kind!r} have no {key}"
      raise ArgumentError(setting, f"{values}", expected)
    for value in values:
      mask = dataclasses.replace(own.mask, **{key: value})
      task = dataclasses.replace(own, mask=mask)
      found.append(Condition(title.format(value), task))
  for snr in asked.snr:
    noise = dataclasses.replace(own.noise, snr=(snr, snr), averages=1)
    task = dataclasses.replace(own, noise=noise)
    found.append(Condition(f"SNR {snr:g}", task))
  found = [each for each in found if each.task != own]
  for name, source in asked.sources.items():
    if not source.source:
      raise ArgumentError(f"sources.{name}.source", "none", "a source of volumes")
    found.append(Condition(name, own, source=source))
  for size in asked.perturbations:
    share = f"{100 * size:g}%"
    found.append(Condition(f"random perturbation of {share}", own, size))
    worst = f"worst perturbation of {share}"
    found.append(Condition(worst, own, size, asked.steps))
  return list({each.name: each for each in found}.values())


class Shifted(NamedTuple):
  """Images and how they are measured under a condition.

  Attributes:
    volumes: the images.
    parts: their slices, see `slice_set.SliceSet`, with noise seeds.
    acquisitions: their measurement, by shape.
    source: record of their source; None for the evaluated images of the run.
  """

  volumes: SliceSet
  parts: tuple[Slices, ...]
  acquisitions: dict[Shape, Acquisition]
  source: dict[str, Any] | None = None


def prepare(pipeline: Experiment, condition: Condition) -> Shifted:
  """The evaluated images of an experiment of one task, under a condition.

  Raises:
    ArgumentError: a mask cannot be made for a slice shape, the source cannot be used,
      or the images have k-space of their own, which cannot be sampled anew.
    UserError: the volumes of the source cannot be used.
  """

  def measured(shape: Shape) -> Acquisition:
    return acquisition.build({"": condition.task}, shape, pipeline.config.coils)

  if condition.source:
    data = pipeline.config.data
    data = dataclasses.replace(data, test=(), test_source=condition.source)
    with arguments_of(f"robustness.sources.{condition.name}."):
      phase = pipeline.config.coils.phase_of_images
      evaluated, found, source = load_tested(data, pipeline.dataset, measured, phase)
    return Shifted(evaluated, _seeded(evaluated.parts, condition.name), found, source)
  evaluated = pipeline.dataset.test
  own = TaskConfig(pipeline.config.mask, pipeline.config.noise)
  slices = evaluated.parts[0]
  fixed = slices.kspace is not None and slices.sensitivities is None
  if condition.task != own and fixed:
    found = f"measured k-space, which cannot be measured anew ({condition.name})"
    remedy = "Of evaluation.robustness, set `perturbations` alone."
    expected = "images, from which k-space is simulated"
    raise ArgumentError("robustness", found, expected, remedy)
  with arguments_of(f"robustness: {condition.name}, "):
    found = {shape: measured(shape) for shape in map(shape_of, evaluated.parts)}
  return Shifted(evaluated, _seeded(evaluated.parts, "test"), found)


def _seeded(parts: tuple[Slices, ...], name: str) -> tuple[Slices, ...]:
  """The slices with noise seeds: their own, or those of a test set with noise."""
  if parts[0].draws is not None:
    return parts
  return tasks.assign(parts, [0], count=1, noisy=True, name=name)


def network(model: nn.Module, measured: Acquisition) -> nn.Module:
  """A network for other masks: its data consistency has a form that fits these.

  The forms of one kind give the same image.
  """
  form = getattr(model, "consistency", "")
  known = (*consistency.FORMS, *consistency.COIL_FORMS)
  if form not in known or consistency.line_axis(form) is None:
    return model
  axis = describe.phase_encode_axis(measured.masks)
  if axis is not None:
    return model.clone(consistency=f"{form[:-1]}{axis}")
  if form in consistency.COIL_FORMS:
    return model.clone(consistency=form[:-1])
  channels = models.channels(model)
  return model.clone(consistency=consistency.choose_form(measured.masks, channels))


def make_predict(
  model: nn.Module | None, devices: Sequence[jax.Device], size: float, steps: int
) -> Callable[..., Any]:
  """Compiles a reconstruction as `training.step.make_predict` does, with perturbations.

  Args:
    model: the network; None for the zero-filled image as the result.
    devices: the devices that share a batch.
    size: see `Condition`.
    steps: see `Condition`.
  """

  def predict(params, slices: Slices, measured: Acquisition):
    batch = complete(slices, measured)
    channels = batch.target.shape[-1]

    def measure(kspace):
      measurement = batch.measurement._replace(kspace=kspace)
      return zero_fill(measurement, channels), measurement

    def reconstruct(zero_filled, measurement):
      if model is None:
        return zero_filled
      return model.apply({"params": params}, zero_filled, measurement).image

    def error(kspace):
      image = reconstruct(*measure(kspace))
      difference = _evaluated(image) - _evaluated(batch.target)
      return jnp.sum(jnp.square(difference), axis=(1, 2))

    inputs = batch.zero_filled, batch.measurement
    if size:
      of_all = (batch.measurement, size, slices.draws)
      if steps:
        shift = perturbation.worst_case(error, *of_all, steps=steps)
      else:
        shift = perturbation.random(*of_all)
      inputs = measure(batch.measurement.kspace + shift)
    return inputs[0], reconstruct(*inputs), ()

  split = (False, True, False)
  return parallel.compile_step(predict, devices, split=split, out_axes=0)


def _evaluated(image):
  """The real image, or the magnitude of a complex one, as metrics compare it."""
  if image.shape[-1] == 1:
    return image[..., 0]
  return jnp.sqrt(jnp.sum(jnp.square(image), axis=-1) + _SMALLEST)

"""The slice of the evaluated volumes that the report's pictures show."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from kdmri_jax.config import ExperimentConfig, TermConfig, starting
from kdmri_jax.data.slice_set import Span
from kdmri_jax.data.volume import Volume
from kdmri_jax.distillation.methods import attention_transfer
from kdmri_jax.inference import reconstruct
from kdmri_jax.protocols import PROTOCOLS
from kdmri_jax.report.inputs import Attention
from kdmri_jax.training import batches
from kdmri_jax.training.experiment import Experiment
from kdmri_jax.training.step import make_predict
from kdmri_jax.training.terms import OWN
from kdmri_jax.types import Acquisition, Slices


def choose(pipeline: Experiment) -> tuple[Volume, int]:
  """The middle volume and the number of its middle slice."""
  volumes = pipeline.dataset.test.volumes
  volume = volumes[len(volumes) // 2]
  return volume, len(volume.target) // 2


def slices(pipeline: Experiment) -> Slices:
  """The stored slice, as a batch of one."""
  part, start, _ = _span(pipeline)
  row = np.array([start + choose(pipeline)[1]])
  return batches.take(pipeline.dataset.test.parts[part], row)


def acquisition(pipeline: Experiment) -> Acquisition:
  """The acquisition of the slice."""
  volume, _ = choose(pipeline)
  return pipeline.dataset.acquisitions[volume.target.shape[1:]]


def volume_range(pipeline: Experiment) -> float | None:
  """The range of the slice's PSNR: its volume's maximum, or None for its own."""
  if PROTOCOLS[pipeline.config.evaluation.protocol].by_slice:
    return None
  part, start, stop = _span(pipeline)
  target = pipeline.dataset.test.parts[part].target[start:stop]
  return float(reconstruct.real_image(target).max())


def attention_maps(pipeline: Experiment, params: Mapping[str, Any]) -> Attention | None:
  """Attention maps [layers, H, W] of the slice by model, the teacher's first.

  The layers are those of the experiment's first attention transfer from a teacher;
  models of another kind are omitted. Where its stage is none of the models but has been
  finished, its maps are there, too: they show what a later stage changed.

  Args:
    pipeline: one seed of the experiment.
    params: weights of the models to show, the teacher among them.

  Returns:
    None without an attention transfer, without the teacher's weights, or where maps
    differ in size and cannot be shown as a difference.
  """
  config, teacher = pipeline.config, pipeline.config.evaluation.teacher
  found = _attention_term(pipeline)
  if not found or teacher not in params:
    return None
  stage, term = config.stages[found[0]], found[1]
  student_model = stage.model
  teacher_model = config.stages[stage.all_teachers[0]].model
  # One hint may serve all guided layers.
  hint = term.hint * (len(term.guided) if len(term.hint) == 1 else 1)
  if config.stages[teacher].model != teacher_model:
    return None
  asked = set(params)
  if found[0] not in params and pipeline.is_finished(found[0]):
    params = {**params, found[0]: pipeline.best(found[0])}
  maps = {teacher: _maps(pipeline, teacher, params[teacher], hint)}
  for name, weights in params.items():
    if name != teacher and config.stages[name].model == student_model:
      maps[name] = _maps(pipeline, name, weights, term.guided)
  maps = {name: jax.device_get(values) for name, values in maps.items()}
  if len({each.shape for values in maps.values() for each in values}) > 1:
    return None
  taught = tuple(n for n in maps if n in asked and _is_taught(config, n, term))
  return Attention(
    maps={name: np.stack(values) for name, values in maps.items()},
    stage=found[0],
    hint=term.hint,
    guided=term.guided,
    taught=taught,
    released=tuple(name for name in taught if not _asks(config, name, term)),
  )


def _is_taught(config: ExperimentConfig, name: str, term: TermConfig) -> bool:
  """Whether a stage, or one it started from, learned the teacher's layers."""
  while stage := config.stages.get(name):
    if _asks(config, name, term):
      return True
    name = starting.parts(stage.start_from)[0]
  return False


def _asks(config: ExperimentConfig, name: str, term: TermConfig) -> bool:
  """Whether a stage asks for the maps of the teacher's layers."""
  stage = config.stages[name]
  return stage.teacher == config.evaluation.teacher and any(
    other.loss == "attention_transfer"
    and other.weight
    and (other.guided, other.hint) == (term.guided, term.hint)
    for other in stage.terms.values()
  )


def _attention_term(pipeline: Experiment) -> tuple[str, TermConfig] | None:
  for name in pipeline.config.pipeline:
    for term in pipeline.config.stages[name].terms.values():
      own = any(hint.startswith(OWN) for hint in term.hint)
      if term.loss == "attention_transfer" and not own:
        return name, term
  return None


def _maps(pipeline, name, weights, layers):
  predict = make_predict(pipeline.models[name], pipeline.devices[:1], layers)
  _, _, picked = predict(weights, slices(pipeline), acquisition(pipeline))
  return [attention_transfer.attention_map(layer)[0] for layer in picked]


def _span(pipeline: Experiment) -> Span:
  spans = pipeline.dataset.test.spans
  return spans[len(spans) // 2]

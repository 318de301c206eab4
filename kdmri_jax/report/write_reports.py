"""A trained experiment -> reconstructions, metrics and the report."""

import dataclasses
import functools
import importlib
import os
import pathlib
import platform
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import jax

import kdmri_jax
from kdmri_jax import config as config_lib
from kdmri_jax import report
from kdmri_jax.config import ExperimentConfig
from kdmri_jax.config.schema import CG_SENSE, ZERO_FILLED, EvaluationConfig
from kdmri_jax.errors import UserError
from kdmri_jax.models import cost
from kdmri_jax.models import features as feature_lib
from kdmri_jax.physics.masks import describe
from kdmri_jax.report import (
  example_slice,
  given,
  gradient_audit,
  parts,
  results,
  robustness,
  roi_snr,
  shown_slices,
  sizes,
  speed,
  training_cost,
)
from kdmri_jax.report.results import Finished
from kdmri_jax.report.rows import main, means
from kdmri_jax.report.rows import shown as shown_rows
from kdmri_jax.training import log, parallel, processes, training_inputs
from kdmri_jax.training.experiment import Experiment
from kdmri_jax.training.given_stage import GivenImages
from kdmri_jax.training.step import make_predict

_SHOWN_DISTILLED = 2  # in the pictures: the best ones by the first metric
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax.checkpoint", "numpy")


class Report(NamedTuple):
  """The end of a run; as text, the table, the result and the path.

  Attributes:
    path: index.html.
    table: the comparison as plain text.
    sentence: what came out, in words.
    failed: the parts that could not be made; the report tells them in their places.
    task: the task that was evaluated; "" where there is one.
    means: of the table: row -> metric, such as "PSNR in dB" -> mean or None.
  """

  path: pathlib.Path
  table: str
  sentence: str
  failed: tuple[parts.Failure, ...] = ()
  task: str = ""
  means: Mapping[str, Mapping[str, float | None]] = MappingProxyType({})

  def __str__(self) -> str:
    missing = "\n".join(f"{failure}." for failure in self.failed)
    shown = self.table, self.sentence, missing, f"report: {self.path}"
    return "\n\n".join(filter(None, shown))


def write_reports(pipelines: Sequence[Experiment]) -> list[Report]:
  """Reconstructs with every finished stage of `evaluation.models`, and reports.

  Writes the h5 files of each model (key "reconstruction") and of the targets, then
  WORKDIR/report. Evaluated are the test subjects, or the validation subjects where
  none are held back. Targets and the zero-filled images are the same for all seeds
  and written once. Where there are several tasks, each has its own results and report,
  in folders named by it.

  Args:
    pipelines: the experiment, once for each seed, see `Experiment.for_seed`.

  Returns:
    The report of each task.

  Raises:
    UserError: no stage is finished, or the disk is full.
    ValueError: the pipelines differ in more than the seed.
  """
  _check_alike(pipelines)
  pipelines = [p.for_seed(p.seed, parallel.own(p.devices)) for p in pipelines]
  config, reports = pipelines[0].config, []
  for task in config.all_tasks:
    read = [results.read(pipeline.for_task(task)) for pipeline in pipelines]
    if finished := [each for each in read if each.params]:
      reports.append(_write_report(finished))
  if not reports:
    raise UserError(
      pipelines[0].workdir.path,
      "no finished stage to evaluate",
      f"one of {', '.join(config.evaluation.models)}",
      "Train one of them: --stages.",
    )
  return reports


def _write_report(finished: list[Finished]) -> Report:
  made = parts.Parts()
  measured, images = results.measure(finished, made)
  pipelines = [each.pipeline for each in finished]
  pipeline, params, _ = finished[0]
  config, workdir, record = pipeline.config, pipeline.workdir, pipeline.dataset.record
  roles, notes = comparable_numbers(config)
  rows = report.summary_rows(measured, roles.protocol, {})
  best = report.ranked(rows, roles.distilled, measured.metrics)[:_SHOWN_DISTILLED]
  shown = dict.fromkeys([ZERO_FILLED, "target", roles.teacher, roles.student, *best])
  histories = {
    name: made.make(
      *(parts.TRAINED, f"the log of {name}", _histories, pipelines, name), otherwise=[]
    )
    for name in config.pipeline
  }
  mask = example_slice.acquisition(pipeline).masks[0]
  inputs = report.ReportInput(
    title=config.name,
    roles=roles,
    tables=measured,
    dataset={**record, "notes": [*record["notes"], *notes, *_notes(finished)]},
    evaluated_on="test" if record["held_out_test"] else "validation",
    mask=made.make(
      *(parts.MEASURED, "the description of the mask", _mask, config, mask),
      otherwise={},
    ),
    parameters=_parameters(finished),
    config=config_lib.to_dict(config),
    environment=made.make(
      *(parts.FILES, "the environment", environment, pipeline.devices), otherwise={}
    ),
    seeds=tuple(each.seed for each in pipelines),
    histories=histories,
    given=given.of_run(pipelines),
    seconds=made.make(
      *(parts.TRAINED, "the times", training_cost.seconds, pipelines), otherwise={}
    ),
    budgets=made.make(
      *(parts.RESULTS, "the training costs", _budgets, finished), otherwise={}
    ),
    audits=made.make(
      *(parts.AUDIT, "the audit", gradient_audit.collect, config, histories),
      otherwise={},
    ),
    mask_image=mask,
    comparison_images={
      "input" if name == ZERO_FILLED else name: images[name]
      for name in shown
      if name in images
    },
    comparison_range=example_slice.volume_range(pipeline),
    slices=made.make(
      *(parts.SLICES, "the slices", _slices, finished, measured, shown, best),
      otherwise=[],
    ),
    attention=made.make(
      *(parts.ATTENTION, "the maps", example_slice.attention_maps, pipeline),
      {name: params[name] for name in shown if name in params},
      otherwise=None,
    ),
    snr=made.make(
      *(parts.SIGNAL, "the signal-to-noise ratio", _snr, finished), otherwise=None
    ),
    timing=made.make(
      *(parts.TIME, "the time", _timing, pipeline, params), otherwise={}
    ),
    robustness=made.make(
      *(parts.ROBUSTNESS, "the measurement", robustness.measure, finished),
      *(main(measured.metrics), made),
      otherwise={},
    ),
    multiplications=made.make(
      *(parts.SIZES, "the multiplications", _multiplications, pipeline, params),
      otherwise={},
    ),
    parts=made,
  )
  analysis = report.analyse(inputs)
  path = report.write(workdir.report, inputs, analysis=analysis)
  rows, unit = shown_rows(analysis)
  table = report.format_table(rows, measured.metrics, unit)
  answer, values = "\n".join(analysis["answer"]), means(rows, measured.metrics)
  return Report(path, table, answer, made.failed, pipeline.task, values)


def _parameters(finished: list[Finished]) -> dict[str, int]:
  """Model -> number of parameters, where known."""
  found: dict[str, int] = {}
  for each in finished:
    for name, weights in each.params.items():
      found[name] = feature_lib.count_parameters(weights)
    for name, images in each.outputs.items():
      if images.parameters:
        found[name] = images.parameters
  return found


def _histories(pipelines, name):
  return [log.read(p.workdir.stage(name) / "metrics.jsonl") for p in pipelines]


def _mask(config, mask):
  return {**describe.describe(mask), "kind": config.mask.kind}


def _budgets(finished):
  return {
    name: training_cost.budget(having, name)
    for name, having in results.owners(finished).items()
  }


def comparable_numbers(
  config: ExperimentConfig,
) -> tuple[EvaluationConfig, list[str]]:
  """The settings of the comparison, with published numbers that hold for it.

  Returns:
    `config.evaluation`, without its published numbers where a setting differs from
    `published_on`; then also a sentence for the report on the difference.
  """
  roles = config.evaluation
  settings = config_lib.to_dict(config)
  here, there = config_lib.flat(settings), settings["evaluation"]["published_on"]
  different = [
    f"{key} is {here.get(key, 'no setting')!r} here and {value!r} there"
    for key, value in there.items()
    if key not in here or here[key] != value
  ]
  if config.data.test_source.source and "data.test_source.source" not in there:
    different.append(f"the test subjects are those of {config.data.of_tested.label}")
  if not (different and (roles.published or roles.published_seconds)):
    return roles, []
  omitted = f"The published numbers ({roles.published_source}) are omitted"
  roles = dataclasses.replace(roles, published={}, published_seconds={})
  return roles, [f"{omitted}: {', '.join(different)}."]


def _check_alike(pipelines):
  config, path = pipelines[0].config, pipelines[0].workdir.path
  alike = all(p.config == config and p.workdir.path == path for p in pipelines)
  if not alike or len({p.seed for p in pipelines}) < len(pipelines):
    raise ValueError("pipelines must differ in their seed, and in nothing else")


def _slices(finished, measured, shown, best):
  """Some evaluated slices with the images of the shown models, of the first seed."""
  pipeline, folders = finished[0].pipeline, {}
  roles = pipeline.config.evaluation
  for name in dict.fromkeys([ZERO_FILLED, CG_SENSE, *shown, roles.control]):
    of_seeds = results.folders(finished).get(name, {})
    if folder := of_seeds.get(None) or of_seeds.get(pipeline.seed):
      folders["input" if name == ZERO_FILLED else name] = folder
  seed = pipeline.seed if len(finished) > 1 else None
  chosen = shown_slices.choose(measured, roles.protocol, seed, next(iter(best), ""))
  return shown_slices.read(chosen, folders, pipeline.workdir.path / "targets")


def _snr(finished: list[Finished]):
  """SNR in regions, where the config asks for it."""
  pipeline, folders = finished[0].pipeline, results.folders(finished)
  roles, targets = pipeline.config.evaluation, pipeline.workdir.path / "targets"
  reference = roles.control or roles.student
  if not roles.rois:
    return None
  return roi_snr.measure(roles.rois, pipeline.dataset.test, targets, folders, reference)


def _timing(pipeline, params):
  """Model -> seconds of each reconstruction of one slice on one device."""
  repeats, device = pipeline.config.evaluation.timing, pipeline.devices[:1]
  if not repeats:
    return {}
  specimens = example_slice.slices(pipeline), example_slice.acquisition(pipeline)
  inputs = jax.device_put(specimens, device[0])
  runs = {
    name: functools.partial(
      make_predict(pipeline.models[name], device), weights, *inputs
    )
    for name, weights in params.items()
  }
  return speed.measure(runs, repeats)


def _multiplications(pipeline, params):
  """Model -> multiplications for the slice that is shown; {} for few networks."""
  size = example_slice.slices(pipeline).target.shape[1:3]
  stages = pipeline.config.stages
  if len({stages[name].model for name in params}) < sizes.FEWEST:
    return {}
  found: dict[str, int] = {}  # of the networks by their name in the config
  for name in params:
    if (key := stages[name].model) not in found:
      found[key] = cost.multiplications(pipeline.models[name], size)
  return {name: found[stages[name].model] for name in params}


def _notes(finished: list[Finished]) -> list[str]:
  """Notes on unlike test data, on stages that are given, and on damaged logs."""
  pipeline = finished[0].pipeline
  unlike = []
  if "test_source" in pipeline.dataset.record:
    unlike = training_inputs.unlike(pipeline.dataset)
  left_out = [
    f"The outputs that are given as {name} do not cover the evaluated volumes: it is "
    "left out of the results."
    for name, images in pipeline.given.items()
    if isinstance(images, GivenImages) and not images.covers(pipeline.dataset.test)
  ]
  notes = [note for each in finished for note in each.pipeline.given_notes()]
  for each in (each.pipeline for each in finished):
    for name in each.config.pipeline:
      path = each.workdir.stage(name) / "metrics.jsonl"
      if damaged := log.damaged(path):
        notes.append(
          f"Lines of {path} are damaged and left out of the learning curves and the "
          f"gradients: {damaged}."
        )
  return [*unlike, *left_out, *notes]


def environment(devices: Sequence[jax.Device]) -> dict:
  """Versions and devices, for the report."""
  count = processes.count()
  each = f" in each of {count} processes" if count > 1 else ""
  versions = {name: importlib.import_module(name).__version__ for name in _PACKAGES}
  return {
    "python": platform.python_version(),
    "devices": f"{len(devices)} x {devices[0].device_kind}{each}",
    "cpu_cores": os.cpu_count(),
    "kdmri_jax": kdmri_jax.__version__,
    **{name.replace(".", "-"): version for name, version in versions.items()},
  }

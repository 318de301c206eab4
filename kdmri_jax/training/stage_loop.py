"""Trains one stage: epochs, validation, the best weights, resuming, stopping."""

import contextlib
import math
import time
import zlib
from collections.abc import Iterator, Sequence

import jax
import numpy as np
from absl import logging

from kdmri_jax.errors import Interrupted, UserError
from kdmri_jax.metrics.squared_error import decibels
from kdmri_jax.models import kernels
from kdmri_jax.training import batches, hints, log, measurements, parallel, processes
from kdmri_jax.training import step as step_lib
from kdmri_jax.training.checkpoint import Checkpoints, Progress, Snapshot
from kdmri_jax.training.experiment import Experiment
from kdmri_jax.training.interrupt import Interrupt
from kdmri_jax.training.optimiser import make_optimiser, make_schedule
from kdmri_jax.training.shown_slice import draw
from kdmri_jax.training.stage_networks import Teacher, as_trained, init_auxiliary
from kdmri_jax.training.validation import Validation
from kdmri_jax.types import Slices, shape_of


def train(experiment: Experiment, name: str, signal: Interrupt) -> None:
  """Trains a stage to its last epoch, from its newest checkpoint where there is one.

  Each epoch appends a line to metrics.jsonl: event, epoch, step, seconds,
  learning_rate, train (mean of every term, loss, gradient_norm), validation (mse,
  l1, psnr, loss, every term) and best. The first of several processes writes it.

  Args:
    experiment: the experiment, which has claimed its folder.
    name: the stage; its teachers and the stage it starts from are finished.
    signal: requests a stop, see `interrupt.caught`.

  Raises:
    Interrupted: SIGTERM or Ctrl-C; the state was saved before.
    UserError: a loss became NaN or infinite; or the disk is full.
  """
  experiment.begin(name)
  with contextlib.ExitStack() as stack:
    _Loop(experiment, name, signal, stack).run()


class _Loop:
  """The state of a stage during training."""

  def __init__(self, experiment: Experiment, name: str, signal: Interrupt, stack):
    self._experiment, self._name, self._signal = experiment, name, signal
    self._config, self._stage = experiment.config, experiment.config.stages[name]
    self._teacher_params = tuple(map(experiment.best, self._stage.all_teachers))
    self._train = experiment.plans.slices(name, "train")
    self._validated = experiment.plans.slices(name, "validation")
    counts, devices = batches.counts(self._train), experiment.devices
    self._per_epoch = batches.steps_per_epoch(counts, self._config.batch_size)
    total = self._stage.epochs * self._per_epoch
    self._networks = experiment.plans.networks[name]._replace(
      seed=experiment.seed,
      swap_steps=round(self._stage.swap * total),
      shrink_steps=math.ceil(self._stage.shrink * total),
      rounds_hints=self._config.teacher_cache_type == "float16",
    )
    optimiser = make_optimiser(self._stage, self._per_epoch)
    fresh, directory = self._fresh(optimiser), experiment.workdir.stage(name)
    self._checkpoints: Checkpoints | None = None  # these two of the first process alone
    self._log: log.StageLog | None = None

    def restore() -> Snapshot:
      self._checkpoints = Checkpoints(directory / "checkpoints")
      stack.callback(self._checkpoints.close)
      return self._checkpoints.restore(fresh) or fresh

    def begin_log() -> None:
      row = jax.local_devices().index(devices[0])
      more = {"seed": experiment.seed, "trackers": experiment.trackers}
      self._log = log.StageLog(directory, shown, done, total, row, **more)
      stack.callback(self._log.close)

    self._snapshot = processes.of_first(restore)
    self._progress = self._snapshot.progress
    done = self._progress.step
    shown = f"seed {experiment.seed}: {name}" if self._config.seeds > 1 else name
    if done:
      logging.info("%s: continuing after step %d of %d", shown, done, total)
    processes.of_first(begin_log)
    self._poll = processes.Poll(devices)
    self._steps = step_lib.make_steps(self._networks, optimiser, devices)
    self._predict = step_lib.make_predict(self._networks.model, devices[:1])
    self._acquisitions = {
      shape: parallel.replicate(acquisition, devices)
      for shape, acquisition in experiment.dataset.acquisitions.items()
    }
    self._snapshot.state = parallel.replicate(self._snapshot.state, devices)
    self._set_teacher(error_range=0.0)
    self._saved_at = self._counted_until = time.monotonic()
    self._saved_step = done
    self._cache_left = self._config.teacher_cache_mb * 2**20

  def _fresh(self, optimiser) -> Snapshot:
    one = batches.take(self._train[0], np.array([0]))
    key = jax.random.key(self._experiment.seed)
    key = jax.random.fold_in(key, zlib.crc32(b"guides"))
    acquisition = self._experiment.dataset.acquisitions[shape_of(one)]
    params = self._experiment.start_params(self._name)
    auxiliary = init_auxiliary(
      self._networks, params, self._teacher_params, one, acquisition, key
    )
    params, auxiliary = jax.device_get((params, auxiliary))
    trained = as_trained(self._networks, params, auxiliary, self._teacher_params)
    state = step_lib.init_state(*trained, optimiser)
    best = jax.device_get(kernels.merge(trained[0]))
    return Snapshot(state, best, Progress(), auxiliary.get("branches"))

  def _set_teacher(self, error_range: float) -> None:
    teacher = Teacher(self._teacher_params, np.float32(error_range))
    self._teacher = parallel.replicate(teacher, self._experiment.devices)

  def run(self) -> None:
    """Trains to the last epoch."""
    progress, per_epoch = self._progress, self._per_epoch
    devices, requested = self._experiment.devices, self._config.steps_per_dispatch
    acquisitions = self._experiment.dataset.acquisitions
    parts = self._train
    if not self._networks.varies:
      parts = measurements.keep(parts, acquisitions)
    self._train = parallel.keep(self._with_hints(parts, "training"), devices)
    self._at_once = parallel.at_once(requested, self._train, devices, per_epoch)
    parts = measurements.keep(self._validated, acquisitions)
    parts = self._with_hints(parts, "validation")
    self._validation = Validation(
      self._experiment, parts, self._steps, self._teacher, self._acquisitions
    )
    schedule = make_schedule(self._stage, per_epoch)
    self._counted_until = time.monotonic()
    while not progress.finished:
      epoch, done = divmod(progress.step, per_epoch)
      self._train_epoch(epoch, done)
      means = {key: value / per_epoch for key, value in progress.sums.items()}
      progress.sums = {}
      validation = self._validate(epoch)
      best = self._keep_best(validation, epoch)
      self._count_seconds()
      progress.finished = epoch + 1 >= self._stage.epochs
      entry = {
        "event": "epoch",
        "epoch": epoch + 1,
        "step": progress.step,
        "seconds": round(progress.seconds, 3),
        "learning_rate": float(schedule(progress.step - 1)),
        "train": means,
        "validation": validation,
        "best": best,
      }
      self._write_epoch(entry)
      processes.of_first(lambda at=epoch + 1: self._picture(at))
      if progress.finished or processes.of_first(self._is_due):
        self._save()
      self._stop_if_asked()

  def _train_epoch(self, epoch: int, done: int) -> None:
    """Runs the epoch's steps from `done` on; may be stopped before its last one."""
    progress, counts = self._progress, batches.counts(self._train)
    size, seed = self._config.batch_size, self._experiment.seed
    order = batches.epoch_order(counts, size, seed, epoch)
    end = progress.step - done + len(order)
    groups = batches.group(order, done, self._at_once)
    singles = [rows for group in groups if len(group) == 1 for rows in group]
    loaded = batches.load(self._train, batches.shared(singles))
    pending = None
    for group in groups:
      values = self._dispatch(group, loaded)
      self._account(pending)
      pending = progress.step, values
      progress.step += len(group)
      if progress.step < end and self._must_save():
        self._account(pending)
        pending = None
        # Weights that give values that are not finite are not saved.
        values = self._validation.first(self._snapshot.state)
        self._check_finite(values, f"validation, step {progress.step}")
        self._count_seconds()
        self._save()
        self._stop_if_asked()
    self._account(pending)

  def _dispatch(self, group: Sequence[batches.Rows], loaded: Iterator[Slices]):
    """The steps of a group, the next of the loaded batches if it is one; the values."""
    several = len(group) > 1
    slices = self._train[group[0].part] if several else next(loaded)
    acquisition = self._acquisitions[shape_of(slices)]
    every, step = self._config.audit_every, self._progress.step
    if every and self._stage.audited and -step % every < len(group):
      first = batches.take(slices, group[0].rows) if several else slices
      audit = self._steps.audit(self._snapshot.state, self._teacher, first, acquisition)
      audit = jax.device_get(audit)
      processes.of_first(lambda: self._log.audit(step, audit))
    rows = [np.stack([batch.rows for batch in group])] if several else []
    train = self._steps.train_many if several else self._steps.train
    self._snapshot.state, values = train(
      self._snapshot.state, self._teacher, slices, *rows, acquisition
    )
    return values

  def _account(self, pending) -> None:
    """Adds the values of a dispatch, which began at a step, to the epoch's sums."""
    if pending is None:
      return
    first, values = pending
    values = {key: np.ravel(value) for key, value in jax.device_get(values).items()}
    sums = self._progress.sums
    for k in range(len(values["loss"])):
      step = {key: float(value[k]) for key, value in values.items()}
      self._check_finite(step, f"training, step {first + k + 1}")
      for key, value in step.items():
        sums[key] = sums.get(key, 0.0) + value
      if self._log:
        self._log.advance(step["loss"])

  def _check_finite(self, values: dict[str, float], where: str) -> None:
    """Stops at a value that is not finite; terms are named before their sum."""
    names = [*self._stage.terms, *values]
    bad = [n for n in names if not math.isfinite(values.get(n, 0.0))]
    if bad:
      saved = processes.of_first(lambda: self._checkpoints.progress())
      kept = "It came before the first checkpoint."
      if saved:
        kept = f"The last valid checkpoint, of step {saved.step}, is kept."
      raise UserError(
        f"stage {self._name}, {where}",
        f"{bad[0]} = {values[bad[0]]}",
        "a finite value",
        f"{kept} Look at the weight and the inputs of that term, or start again in a "
        f"new --workdir with a lower config.stages.{self._name}.learning_rate.",
      )

  def _validate(self, epoch: int) -> dict[str, float]:
    means = self._validation.whole(self._snapshot.state)
    where = f"validation after epoch {epoch + 1}, step {self._progress.step}"
    self._check_finite(means, where)
    return {**means, "psnr": float(decibels(max(means["mse"], 1e-12)))}

  def _keep_best(self, validation: dict[str, float], epoch: int) -> bool:
    snapshot, value = self._snapshot, validation[self._stage.select]
    best = self._progress.best_value
    if best is not None and value >= best:
      return False
    # Copies: a step reuses the memory of the previous state.
    snapshot.best, auxiliary = jax.device_get(snapshot.state.validated)
    snapshot.branches = auxiliary.get("branches")
    self._progress.best_value, self._progress.best_epoch = value, epoch + 1
    return True

  def _count_seconds(self) -> None:
    now = time.monotonic()
    self._progress.seconds += now - self._counted_until
    self._counted_until = now

  def _write_epoch(self, entry: dict) -> None:
    processes.of_first(lambda: self._log.epoch(entry))

  def _must_save(self) -> bool:
    """Whether a process was asked to stop, or the first one must save by now."""
    is_due = processes.is_first() and self._is_due()
    return self._poll.next(self._signal.received or int(is_due)) > 0

  def _is_due(self) -> bool:
    return time.monotonic() - self._saved_at >= self._config.checkpoint_seconds

  def _save(self) -> None:
    processes.of_first(lambda: self._checkpoints.save(self._snapshot))
    self._saved_at, self._saved_step = time.monotonic(), self._progress.step

  def _picture(self, epoch: int) -> None:
    """Shows one validation slice, always the same, after some of the epochs."""
    every, shown = self._config.watch.image_every, self._validated
    if every and (epoch % every == 0 or self._progress.finished):
      params, _ = jax.device_get(self._snapshot.state.validated)
      measured = self._experiment.dataset.acquisitions
      drawn = draw(self._predict, params, shown, measured, epoch)
      self._log.image(drawn, self._progress.step)

  def _stop_if_asked(self) -> None:
    received = self._poll.now(self._signal.received)
    if received:
      if self._saved_step != self._progress.step:
        self._save()
      raise Interrupted(
        received,
        f"stopped in stage {self._name} at step {self._progress.step}; "
        "everything is saved. Start the same command again to continue.",
      )

  def _with_hints(self, parts: tuple[Slices, ...], what: str) -> tuple[Slices, ...]:
    """Adds the frozen teachers' hints, and computes the range of their error.

    Where every training step varies its slices, hints cannot be kept; the error's range
    is then that of the stored slices.
    """
    taught_terms = [term for term in self._networks.terms if term.needs_teacher]
    if not taught_terms:
      return parts
    varies = what == "training" and self._networks.varies
    taught = hints.collect(
      lambda batch: self._steps.teach(
        self._teacher, batch, self._acquisitions[shape_of(batch)]
      ),
      parts,
      self._config.batch_size,
      0 if varies else self._cache_left,
      self._config.teacher_cache_type,
      what == "training" and any(term.uses_context for term in taught_terms),
      self._stop_if_asked,
    )
    if what == "training":
      self._set_teacher(taught.error_range)
    if taught.hints is None:
      if not varies:
        logging.info(
          "%s: the teacher's outputs on the %s set take %.0f MB or more; computing "
          "them step by step (config.teacher_cache_mb=%d)",
          *(self._name, what, taught.needed / 2**20),
          self._config.teacher_cache_mb,
        )
      return parts
    self._cache_left -= taught.needed
    pairs = zip(parts, taught.hints, strict=True)
    return tuple(slices._replace(hints=hints, given=None) for slices, hints in pairs)

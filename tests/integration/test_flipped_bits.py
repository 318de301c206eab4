"""One flipped bit in any file of a work directory is refused or without effect.

One file of each kind has a bit flipped; with `--flips=20` every file, twenty times.
"""

import collections
import contextlib
import math
import pathlib
import shutil
from typing import NamedTuple

import jax
import numpy as np
import pytest
from helpers.flips import files, flipped, flips, one_of_each_kind
from helpers.tiny import make, tiny_config, train

from kdmri_jax import config as config_lib
from kdmri_jax.errors import UserError
from kdmri_jax.inference import load
from kdmri_jax.report import tables, write_reports
from kdmri_jax.training import given, log, seeds
from kdmri_jax.training.checkpoint import Checkpoints, Progress, Snapshot
from kdmri_jax.training.experiment import Experiment
from kdmri_jax.training.optimiser import make_optimiser
from kdmri_jax.training.step import init_state

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compilation")]

STAGES = ("teacher", "student", "feature", "kd")
SIZE = (24, 20)


class Runs(NamedTuple):
  """A finished run with its report, and one that has the first one's teacher.

  `fresh` are snapshots of the first one's stages, for shapes and types.
  """

  first: Experiment
  second: Experiment
  fresh: dict[str, Snapshot]


def config(**changes):
  return tiny_config(epochs=1, devices=1, audit_every=2, **changes)


def fresh(experiment, stage):
  params = experiment.initial_params(stage)
  optimiser = make_optimiser(experiment.config.stages[stage], steps_per_epoch=1)
  return Snapshot(init_state(params, {}, optimiser), params, Progress())


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
  root = tmp_path_factory.mktemp("runs")
  first = Experiment(config_lib.parse(config()), root / "first")
  write_reports.write_reports(train(first))
  taught = config()
  taught.stages.teacher.given = str(root / "first" / "teacher")
  second = Experiment(config_lib.parse(taught), root / "second")
  train(second, ["student"])
  return Runs(first, second, {stage: fresh(first, stage) for stage in STAGES})


def resumed(runs):
  """What a run reads that goes on: everything down to the states of the optimisers."""
  for experiment, stages in ((runs.first, STAGES), (runs.second, STAGES[:2])):
    with experiment.workdir.locked():
      seeds.train(experiment, stages)
  found = [runs.second.best("teacher")]
  for stage in STAGES:
    folder = runs.first.workdir.stage(stage) / "checkpoints"
    with contextlib.closing(Checkpoints(folder, read_only=True)) as checkpoints:
      snapshot = checkpoints.restore(runs.fresh[stage])
    found += [snapshot.state, snapshot.best, vars(snapshot.progress)]
    found.append(runs.first.best(stage))
  return found


def loaded(runs):
  """Networks and masks of `kd.load`, `kdmri reconstruct` and `kdmri export`."""
  nets = [load.load(runs.first.workdir.path, stage, SIZE) for stage in STAGES]
  nets.append(load.load(runs.second.workdir.path, "teacher", SIZE))
  return [(repr(net.model), net.params, net.acquisition) for net in nets]


def taught(runs):
  """What another run reads of a given teacher."""
  model = runs.first.models["teacher"]
  there = given.find(f"{runs.first.workdir.path}/teacher", "there", model)
  return there.weights(42, runs.fresh["teacher"].best), vars(there.origin(42))


def evaluated(runs):
  """The measured results."""
  folder = runs.first.workdir.path
  names = (*STAGES[:2], "kd", "zero_filled")
  results = {name: runs.first.workdir.results(name) for name in names}
  return tables.evaluate_folders(folder / "targets", results).records


def logged(runs):
  """The learning curves; a damaged line is told, and left out."""
  paths = [runs.first.workdir.stage(stage) / "metrics.jsonl" for stage in STAGES]
  if found := [path for path in paths if log.damaged(path)]:
    raise UserError(found[0], "damaged lines", "")
  return [log.read(path) for path in paths]


READERS = (resumed, loaded, taught, evaluated, logged)


def same(a, b):
  a, b = jax.tree.flatten(a), jax.tree.flatten(b)
  return a[1] == b[1] and all(map(_equal, a[0], b[0]))


def _equal(a, b):
  if isinstance(a, float) and math.isnan(a):
    return math.isnan(b)
  return np.array_equal(a, b)


def test_every_kind_of_file(runs, request):
  root = runs[0].workdir.path.parent
  expected = [reader(runs) for reader in READERS]
  assert all(same(reader(runs), e) for reader, e in zip(READERS, expected, strict=True))
  outcomes, wrong = collections.defaultdict(set), []
  each, paths = request.config.getoption("--flips"), files(root)
  if not each:
    each, paths = 1, one_of_each_kind(paths, STAGES, seed=0)
  for path, bit in flips(paths, each, seed=0):
    where = path.relative_to(root)
    with flipped(path, bit):
      for reader, value in zip(READERS, expected, strict=True):
        try:
          outcome = "same" if same(reader(runs), value) else "silent"
        except UserError as error:
          outcome = "refused" if str(where.parts[0]) in str(error) else "unnamed"
        except Exception as error:
          outcome = f"{type(error).__name__}: {error}"
        outcomes[path.suffix].add(outcome)
        if outcome not in ("same", "refused"):
          wrong.append((where, bit, reader.__name__, outcome))
  assert not wrong, "\n".join(map(str, wrong))
  assert outcomes[".json"] == {"same", "refused"}


@pytest.mark.parametrize(
  "name", ["report/report.json", "targets/*.h5", "seed_42/kd/results/*.h5"]
)
def test_what_a_run_writes_anew_needs_no_check(runs, tmp_path, name):
  shutil.copytree(runs[0].workdir.path, tmp_path / "first")
  again = make(tmp_path / "first", epochs=1, devices=1, audit_every=2)
  path = sorted((tmp_path / "first").glob(name))[0]
  whole = {p: p.read_bytes() for p in path.parent.glob("*.h5")}
  summary = pathlib.Path("report", "summary.csv")
  with flipped(path, 8 * (path.stat().st_size // 2)):
    write_reports.write_reports([again])
    assert {p: p.read_bytes() for p in whole} == whole
    found = (tmp_path / "first" / summary).read_text()
  assert found == (runs[0].workdir.path / summary).read_text()

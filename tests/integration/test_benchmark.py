"""The benchmark: frameworks compute the same, take turns, and are put in a table."""

import json
import time

import jax
import numpy as np
import pytest
from helpers.commands import refused
from helpers.marks import slow

from kdmri_jax import config as config_lib
from kdmri_jax.benchmark import (
  case,
  epochs,
  expected,
  kernels,
  method_costs,
  prepared,
  race,
  scaling,
  table,
)
from kdmri_jax.benchmark.case import Case, Problem
from kdmri_jax.benchmark.race import Result
from kdmri_jax.benchmark.worker import Worker, WorkerError, running
from kdmri_jax.errors import ArgumentError
from kdmri_jax.experiments import base
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.types import Measurement

SMALL = Case("inference", "student", 48, 44, 1)


def settings(**networks):
  config = base.get_config()
  for model in config.models.values():
    model.update(dict(cascades=2, features=4) | networks)
  for stage in config.stages.values():
    for term in stage.terms.values():
      term.guided, term.hint = term.guided[:2], term.hint[:2]
  return config_lib.to_dict(config_lib.parse(config))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
  """A real race of JAX, its exported bundle and onnxruntime."""
  cases = [SMALL, Case("training", "feature", 48, 44, 2, cached=True)]
  ours = Worker("jax", settings(), machine_too=True)
  with running([ours, Worker("onnxruntime", settings())]) as workers:
    for worker in workers:
      worker.receive()
    return [
      race.run(workers, each, repeats=2, seconds=0.01, say=lambda text: None)
      for each in cases
    ]


@pytest.mark.slow
def test_all_runners_are_timed_as_often(results):
  inference, training = results
  assert set(inference.seconds) == {
    *("jax", "jax, exported", "onnxruntime", "matmul", "copy")
  }
  assert set(training.seconds) == {"jax", "matmul", "copy"}
  for result in results:
    assert not result.failed
    assert all(len(x) == 2 and min(x) > 0 for x in result.seconds.values())
    assert all(value > 1e8 for value in result.machine().values())


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_openvino_takes_part(precision):
  pytest.importorskip("openvino")
  case = SMALL._replace(precision=precision, batch=2)
  ours = Worker("jax", settings(), machine_too=True)
  with running([ours, Worker("openvino", settings())]) as workers:
    assert all(worker.receive()["version"] for worker in workers)
    result = race.run(workers, case, repeats=1, seconds=0.01, say=lambda text: None)
  ways = [way for way in ("openvino", "openvino, int8") if way in result.seconds]
  assert ways and not result.failed
  assert "openvino / JAX" in table.make([result])


@pytest.mark.slow
def test_the_table_shows_every_case(results):
  text = table.make(results)
  assert "**Inference**" in text and "**A training step**" in text
  assert "| student, 48x44, batch 1 |" in text
  assert "| feature, teacher cached, 48x44, batch 2 |" in text
  assert "onnxruntime / JAX | exported bundle / JAX" in text
  json.dumps([race.to_json(result) for result in results])


def made_up(**seconds):
  return Result(SMALL, 10**9, 10**8, seconds, {}, {}, {})


def test_ratios_are_taken_round_by_round():
  result = made_up(jax=[1.0, 2.0, 4.0], torch=[2.0, 3.0, 12.0])
  assert race.ratio(result, "torch", "jax") == (2.0, 1.5, 3.0)


def test_the_best_way_of_a_framework_counts():
  ways = {"torch": [3.0, 3.0], "torch, compiled": [2.0, 2.5], "jax": [1.0, 1.0]}
  result = made_up(**ways)
  assert race.best(result, "torch") == "torch, compiled"
  assert race.best(result, "onnxruntime") is None
  shown = table.make([made_up(**ways, matmul=[0.1, 0.1], copy=[0.1, 0.1])])
  # A product takes 0.1 s for 17.2 GFLOP, a copy as long for 537 MB.
  assert "| 1000.0 | 2.25 [2.00, 2.50], compiled | 1% | 2% |" in shown


@pytest.mark.slow
def test_operations_are_those_of_the_published_networks():
  image = np.zeros((1, 8, 8, 1), np.float32)
  measurement = Measurement(np.zeros((1, 8, 8), np.complex64), np.ones((8, 8)))
  params = DCCNN().init(jax.random.key(0), image, measurement)["params"]
  # 141,765 parameters, of which 5 (4 32 + 1) are biases.
  expected = 2 * (141_765 - 5 * (4 * 32 + 1)) * 240 * 240 * 3
  assert case.operations(params, Case("training", "teacher", 240, 240, 3)) == expected
  # Of each cascade: 1 to 32 channels, three times 32 to 32, 32 to 1.
  expected = 4 * 5 * (33 + 3 * 64 + 33) * 240 * 240 * 3
  assert case.traffic(params, Case("training", "teacher", 240, 240, 3)) == expected


def test_a_problem_comes_back_as_it_was_saved(tmp_path):
  rng = np.random.default_rng(0)
  params = {"teacher": {"cascade_1": {"conv_1": {"bias": rng.random(3)}}}}
  arrays = [rng.random(k + 1) for k in range(5)]
  problem = Problem(params, *arrays)
  case.save(tmp_path / "problem.pickle", problem)
  jax.tree.map(
    np.testing.assert_array_equal, case.load(tmp_path / "problem.pickle"), problem
  )


@pytest.mark.slow
def test_numbers_that_differ_are_not_timed(tmp_path):
  file = tmp_path / "problem.pickle"
  with running(
    [Worker(name, settings()) for name in ("jax", "onnxruntime")]
  ) as workers:
    for worker in workers:
      worker.receive()
    ours, theirs = workers
    ours.prepare(SMALL, file)
    problem = case.load(file)
    case.save(file, problem._replace(expected=problem.expected + 0.5))
    found = theirs.prepare(SMALL, file)["onnxruntime"]["deviation"]
    assert found == pytest.approx(0.5, abs=1e-4)
    with pytest.raises(WorkerError, match=r"onnxruntime: KeyError: 'no such runner'"):
      theirs.run("no such runner", 1)
    theirs.send(do="run", runner="onnxruntime", calls=1)
    assert theirs.receive()["seconds"] > 0  # it goes on after an error


@pytest.mark.slow
def test_scaling_over_devices_and_processes():
  found = scaling.measure(
    settings(), "student", (48, 44), repeats=1, say=lambda text: None, most=2, each=1
  )
  assert list(found.strong) == list(found.weak) == ["1", "2", "2 processes of 1"]
  assert max(found.deviation.values()) < 1e-5
  assert len(scaling.table(found).splitlines()) == 2 + 3


@pytest.mark.slow
def test_epochs_of_the_pipeline():
  (found,) = epochs.measure(settings(), ["student"], (48, 44), seeds=2)
  assert found.steps == 8 and list(found.seconds) == [1, 2]
  assert all(len(x) == 3 and min(x) > 0 for x in found.seconds.values())
  assert len(epochs.table([found]).splitlines()) == 3


@pytest.mark.slow
def test_a_protocol_is_all_epochs_of_all_stages():
  found = epochs.run_protocol(settings(), ["teacher", "feature"], (48, 44), epochs=2)
  assert list(found.stages) == ["teacher", "feature"]
  assert all(len(x) == 2 and min(x) > 0 for x in found.stages.values())
  assert found.seconds > sum(map(sum, found.stages.values()))
  assert len(epochs.table_of_protocol(found).splitlines()) == 2 + 2 + 1


@pytest.mark.slow
def test_the_prepared_benchmark_gives_every_item():
  small = {"size": (48, 44), "batch": 2, "images": 2, "repeats": 1, "seconds": 0.01}
  protocol = {"epochs": 2, "all_epochs": 3}
  precisions = ("tensorfloat32",)
  config = settings(features=32)  # convolutions in C++ compile faster
  chosen = prepared.Settings(
    config, **small, **protocol, precisions=precisions, torch=False
  )
  said = []
  rows = [row for item in prepared.run(chosen, 1e6, said.append) for row in item]
  failed = [row for row in rows if not row.found[0].isdigit()]
  assert len(failed) == len(expected.KERNELS)  # no CPU computes these
  assert all(row.what.endswith(": Pallas") for row in failed)
  assert all("Only interpret mode is supported on CPU" in r.found for r in failed)
  names = " ".join(row.what for row in rows)
  for stage in ("student", "kd, teacher cached", "teacher"):
    for runner in ("jax", "jax, Pallas"):
      case = f"{stage}, 48x44, batch 2, tensorfloat32"
      assert f"training: {case}: {runner}" in names
  for item in ("inference: student", "second start", "4 trainings at once"):
    assert item in names
  assert "32->1, of the input, tensorfloat32: XLA" in names
  assert "protocol of 2 epochs: kd" in names and "protocol of 3 epochs: kd" in names
  assert len(prepared.table(rows).splitlines()) == 2 + len(rows)


@pytest.mark.slow
def test_the_prepared_benchmark_ends_in_time():
  chosen = prepared.Settings(settings(), torch=False)
  rows = [row for item in prepared.run(chosen, 0, print) for row in item]
  assert len(rows) > 10 and {row.found for row in rows} == {"no time was left"}


@pytest.mark.slow
def test_a_worker_that_ends_takes_no_times_along(tmp_path):
  """It leaves the race, is started again for the next, and is given up if silent."""
  ours, second = (
    Worker("jax", settings(), name=x, exports=False) for x in ("jax", "b")
  )
  with running([ours, second]) as workers:
    team = prepared._Team(workers, time.monotonic() + 1e3, tmp_path)
    assert not list(team.begin())

    def say(text):
      if "round" in text:
        second.process.kill()

    found = race.run(team.ready(), SMALL, repeats=2, seconds=0.01, say=say)
    assert {name: len(own) for name, own in found.seconds.items()} == {"jax": 2}
    assert found.failed == {"b": "the b process ended (-9)"}
    assert team.ready() == [ours, second] and second.starts == 2
    found = race.run(team.ready(), SMALL, repeats=1, seconds=0.01, say=lambda _: None)
    assert set(found.seconds) == {"jax", "b"} and not found.failed
    second.patience = 0.0
    with pytest.raises(WorkerError, match="b: no answer within 0 s"):
      second.prepare(SMALL, tmp_path / "problem.pickle")
    assert team.ready() == [ours] and second.starts == 2
    ours.process.kill()
    ours.process.wait()
    ours.starts = 3
    with pytest.raises(WorkerError, match="jax: given up after 3 starts"):
      team.ready()


@pytest.mark.slow
def test_a_race_needs_its_first_worker():
  ours = Worker("jax", settings(), patience=0.0)
  with running([ours]) as workers, pytest.raises(WorkerError, match="jax: no answer"):
    race.run(workers, SMALL, repeats=1, seconds=0.01, say=lambda _: None)


def test_the_prepared_benchmark_needs_a_student():
  made = settings()
  del made["stages"]["student"]
  with pytest.raises(ArgumentError, match='expected one with a stage "student"'):
    next(prepared.run(prepared.Settings(made), 0, print))


@pytest.mark.slow
@pytest.mark.parametrize("what", [kernels.FORWARD, kernels.OF_INPUT, kernels.OF_KERNEL])
@pytest.mark.parametrize("channels", [(1, 32), (32, 1)])
def test_single_convolutions(what, channels):
  assert 0 < kernels.seconds("XLA", what, channels, (1, 9, 7)) < 60


@pytest.mark.parametrize("steps", [slow(1), slow(3)])
def test_precision_and_steps_a_dispatch(tmp_path, steps):
  config = settings() | {"steps_per_dispatch": steps, "devices": 1}
  for model in config["models"].values():
    model["precision"] = "bfloat16"  # which a case may change
  found = {}
  with running([Worker("jax", config, devices=1)]) as (worker,):
    worker.receive()
    for precision in ("float32", "bfloat16"):
      each = Case("training", "kd", 48, 44, 2, precision=precision)
      worker.prepare(each, tmp_path / "problem.pickle")
      problem = case.load(tmp_path / "problem.pickle")
      assert int(problem.times) == steps and worker.run("jax", 2) > 0
      found[precision] = problem.expected
  assert found["float32"].shape == (2,)
  apart = np.abs(found["bfloat16"] / found["float32"] - 1)
  assert 1e-6 < apart.max() < 0.05
  assert each.name == "kd, 48x44, batch 2, bfloat16"


@pytest.mark.parametrize(
  ("flag", "message"),
  [
    ("--sizes=240", "--sizes: found ''; expected whole numbers above 0"),
    ("--stages=teacher,pupil", "--stages: found 'pupil'; expected some of"),
    ("--what=speed", "--what: found 'speed'; expected some of inference"),
    ("--frameworks=tensorflow", "--frameworks: found 'tensorflow'"),
    ("--precisions=float16", "--precisions: found 'float16'; expected some of float32"),
  ],
)
def test_bad_flags_are_refused_before_anything_is_written(tmp_path, flag, message):
  out = tmp_path / "out"
  assert message in refused("benchmark", f"--out={out}", flag)
  assert not out.exists()


@pytest.mark.slow
def test_costs_of_methods():
  costs = list(method_costs.measure(["imitation"], (16, 12), 2, 1))
  assert [cost[:2] for cost in costs] == [
    ("", ""),
    ("imitation", "paper"),
    ("imitation", "reference"),
  ]
  assert all(cost.seconds > 0 for cost in costs)
  assert costs[0].memory > costs[1].memory

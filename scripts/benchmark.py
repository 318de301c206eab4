"""Times inference and training steps, in comparison with other frameworks.

  kdmri benchmark --out=runs/benchmark
  kdmri benchmark --out=runs/quick --sizes=240x240 --batches=1 \\
    --stages=student --repeats=3 --frameworks=jax,torch

Every framework runs in its own process and waits while another one is timed; the turns
rotate, and ratios are computed per round. Before anything is timed, all frameworks must
give the same numbers from the same weights. Whole epochs of the pipeline (one seed, and
several side by side) and the scaling of the first stage's step over devices and over
two processes are timed for JAX alone. A framework that is not installed is omitted: pip
install '.[torch,export]' onnxruntime openvino ncnn installs PyTorch (eager,
channels-last and compiled; the best counts), the two that run the exported ONNX file,
and ncnn, which is given the zero-filled image; with nncf, OpenVINO also races with
int8, beside bfloat16.

On an accelerator everything runs there, with 32 training steps per dispatch. One
command measures what is to be known of a GPU, the most valuable first, within eight
minutes; it writes after each item, and shows beside each time the one expected on an
H200 (docs/performance.md):

  kdmri benchmark --out=runs/gpu --preset=gpu

Or case by case:

  kdmri benchmark --out=runs/gpu --what=inference,training,protocol \\
    --precisions=float32,tensorfloat32,bfloat16 \\
    --config.models.teacher.precision=tensorfloat32 \\
    --config.models.student.precision=tensorfloat32

The protocol is all epochs of all stages on 240 images; on a CPU that takes hours.

Writes OUT/benchmark.json, with every single time, and OUT/benchmark.md.
"""

if __name__ == "__main__":
  from _missing import explain_missing_packages

  explain_missing_packages()

import importlib.util
import itertools
import pathlib
import sys
from collections.abc import Iterable

from absl import flags

from kdmri_jax import cli, config, config_flag, json_text
from kdmri_jax.errors import UserError

_CONFIG = config_flag.define(
  "base", purpose="Experiment whose networks, mask and stages are timed."
)
_OUT = flags.DEFINE_string("out", None, "Folder to write to.", required=True)
_PRESET = flags.DEFINE_enum(
  "preset", "", ["", "gpu"], "A prepared list of measurements, instead of the others."
)
_LIMIT = flags.DEFINE_float(
  "seconds_limit",
  440,
  "Seconds after which no item of --preset begins; half a minute later all ends.",
  0.0,
)
_FRAMEWORKS = flags.DEFINE_list(
  "frameworks",
  ["jax", "torch", "onnxruntime", "openvino", "ncnn"],
  "Frameworks to time; jax is always included.",
)
_CASES, _WHOLE = ("inference", "training"), ("epochs", "scaling", "protocol")
_WHAT = flags.DEFINE_list(
  "what",
  ["inference", "training", "epochs", "scaling"],
  f"Kinds of measurements: some of {', '.join((*_CASES, *_WHOLE))}.",
)
_STAGES = flags.DEFINE_list(
  "stages",
  ["teacher", "student", "feature", "kd"],
  "Stages to train; those without a teacher reconstruct, too.",
)
_SIZES = flags.DEFINE_list(
  "sizes", ["150x150", "240x240", "256x256", "640x368"], "Rows x columns."
)
_BATCHES = flags.DEFINE_list("batches", ["1", "8"], "Batch sizes in inference.")
_PRECISIONS = flags.DEFINE_list(
  "precisions",
  ["float32"],
  "Precisions of the networks in inference and training steps; the rest uses the "
  "config's.",
)
_TRAINING_SIZE = flags.DEFINE_string("training_size", "240x240", "Rows x columns.")
_TRAINING_BATCH = flags.DEFINE_integer("training_batch", 4, "Images per step.", 1)
_PROTOCOL_EPOCHS = flags.DEFINE_integer(
  "protocol_epochs", 150, "Epochs of each stage of the protocol.", 1
)
_REPEATS = flags.DEFINE_integer("repeats", 7, "Rounds.", lower_bound=1)
_SECONDS = flags.DEFINE_float("seconds", 0.3, "Shortest time of a turn.", 0.0)


def main(argv):
  cli.refuse_arguments(argv)
  experiment = config.parse(_CONFIG.value)
  if _PRESET.value:
    _run_preset(experiment)
    return
  cases, names = _cases(experiment), _frameworks()
  out = pathlib.Path(_OUT.value)
  import tqdm

  from kdmri_jax.benchmark import epochs, race, scaling, table
  from kdmri_jax.benchmark.worker import Worker, WorkerError, running
  from kdmri_jax.saving import make_folder, replacing

  make_folder(out)
  settings = config.to_dict(experiment)
  parts, texts = {"results": []}, {}

  def write():
    with replacing(out / "benchmark.json") as path:
      path.write_text(json_text.dumps(parts, indent=1))
    with replacing(out / "benchmark.md") as path:
      path.write_text("\n\n".join(texts.values()) + "\n")
    bar.update()

  def record(name, part, text):
    parts[name], texts[name] = part, f"**{name.capitalize()}**\n\n{text}"
    write()

  stages = _STAGES.value
  size = _size(_TRAINING_SIZE.value, "--training_size")
  work = len(cases) + len({*_WHOLE} & {*_WHAT.value})
  with tqdm.tqdm(total=work, unit="case", disable=None) as bar:
    try:
      if cases:
        ours, *others = names
        workers = [Worker(ours, settings, machine_too=True)]
        workers += [Worker(name, settings) for name in others]
        with running(workers):
          parts["frameworks"] = {each.framework: each.receive() for each in workers}
          results = []
          for case in cases:
            result = race.run(
              workers,
              case,
              repeats=_REPEATS.value,
              seconds=_SECONDS.value,
              say=bar.set_description,
            )
            for name, reason in result.failed.items():
              bar.write(f"{case.name}: without {name}: {reason}")
            results.append(result)
            parts["results"].append(race.to_json(result))
            texts["results"] = table.make(results)
            write()
      if "epochs" in _WHAT.value:
        bar.set_description("epochs")
        found = epochs.measure(settings, stages, size)
        record("epochs", [each._asdict() for each in found], epochs.table(found))
      if "scaling" in _WHAT.value:
        repeats, say = _REPEATS.value, bar.set_description
        found = scaling.measure(settings, stages[0], size, repeats=repeats, say=say)
        record("scaling", found._asdict(), scaling.table(found))
      if "protocol" in _WHAT.value:
        bar.set_description("protocol")
        count = _PROTOCOL_EPOCHS.value
        found = epochs.run_protocol(settings, stages, size, count)
        record("protocol", found._asdict(), epochs.table_of_protocol(found))
    except WorkerError as error:
      raise UserError(
        "benchmark", f"{error}", "a process that does its work", "See its messages."
      ) from error
  print("\n\n".join(["", *texts.values(), f"written to {out}"]))


def _run_preset(experiment):
  settings = config.to_dict(experiment)
  size = _size(_TRAINING_SIZE.value, "--training_size")
  names, out = _frameworks(), pathlib.Path(_OUT.value)
  import tqdm

  from kdmri_jax.benchmark import prepared
  from kdmri_jax.saving import make_folder, replacing

  make_folder(out)
  asked = prepared.Settings(
    settings,
    size,
    _TRAINING_BATCH.value,
    repeats=_REPEATS.value,
    seconds=_SECONDS.value,
    all_epochs=_PROTOCOL_EPOCHS.value,
    torch="torch" in names,
  )
  rows = []
  with tqdm.tqdm(unit="item", disable=None) as bar:
    for found in prepared.run(asked, _LIMIT.value, bar.set_description):
      rows += found
      for row in found:
        bar.write("  ".join(filter(None, row)))
      with replacing(out / "benchmark.json") as path:
        path.write_text(json_text.dumps([row._asdict() for row in rows], indent=1))
      with replacing(out / "benchmark.md") as path:
        path.write_text(prepared.table(rows) + "\n")
      bar.update()
  print(f"\n{prepared.table(rows)}\n\nwritten to {out}")


def _cases(experiment):
  from kdmri_jax.benchmark.case import Case
  from kdmri_jax.models.cnn import PRECISIONS

  _check("--stages", _STAGES.value, experiment.stages)
  _check("--what", _WHAT.value, (*_CASES, *_WHOLE))
  _check("--precisions", _PRECISIONS.value, PRECISIONS)
  taught = {name: bool(experiment.stages[name].teacher) for name in _STAGES.value}
  cases = []
  if "inference" in _WHAT.value:
    sizes = [_size(text, "--sizes") for text in _SIZES.value]
    batches = [_count(text, "--batches") for text in _BATCHES.value]
    alone = [name for name in _STAGES.value if not taught[name]]
    for precision, stage, size, batch in itertools.product(
      _PRECISIONS.value, alone, sizes, batches
    ):
      cases.append(Case("inference", stage, *size, batch, precision=precision))
  if "training" in _WHAT.value:
    size = _size(_TRAINING_SIZE.value, "--training_size")
    settings = *size, _TRAINING_BATCH.value
    for precision, stage in itertools.product(_PRECISIONS.value, _STAGES.value):
      for cached in (False, True) if taught[stage] else (False,):
        cases.append(Case("training", stage, *settings, cached, precision))
  return cases


def _check(flag: str, values: Iterable[str], known: Iterable[str]) -> None:
  for value in values:
    if value not in known:
      expected = f"some of {', '.join(known)}"
      raise UserError(flag, repr(value), expected)


def _size(text: str, flag: str) -> tuple[int, int]:
  rows, _, columns = text.partition("x")
  return _count(rows, flag), _count(columns, flag)


def _count(text: str, flag: str) -> int:
  if not text.isdecimal() or not int(text):
    expected = "whole numbers above 0; a size as 240x240"
    raise UserError(flag, repr(text), expected)
  return int(text)


def _frameworks() -> list[str]:
  """JAX, and the requested frameworks that are installed."""
  found = ["jax"]
  from kdmri_jax.benchmark.worker import FRAMEWORKS

  _check("--frameworks", _FRAMEWORKS.value, FRAMEWORKS)
  for name in _FRAMEWORKS.value:
    if importlib.util.find_spec(name) is None:
      print(f"{name} is not installed: omitted", file=sys.stderr)
    elif name != "jax":
      found.append(name)
  return found


if __name__ == "__main__":
  cli.run_main(main)

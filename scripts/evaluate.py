"""Measures reconstructed volumes against their targets.

Reads two folders of files with equal names except for the ending (.h5, .hdf5, .nii,
.nii.gz, .npz, .npy, .mat or .cfl); prints the table, and with --out writes the metrics
of every volume and slice to CSV and JSON files:

  kdmri evaluate --target=data/validation --prediction=results/kd
  kdmri evaluate --target=data/validation \\
    --prediction=teacher=results/teacher,kd=results/kd --protocol=slice --out=metrics

Volumes in h5, npz and npy are (slices, rows, columns), those in NIfTI, mat and cfl
(rows, columns, slices). Of a target the first of the arrays target, volfs (rows,
columns, slices), reconstruction_rss, reconstruction_esc and, in npz and mat, image is
read; of a reconstruction, the array `reconstruction`; of mat the only array, whatever
its name. The output says what was read; --target_key and --prediction_key name other
arrays. Undefined values (a slice without signal) are omitted from means and empty in
the files.

The volumes that all folders have are measured, and a caution names the others.
Reconstructions that are their targets themselves are refused. A caution is printed
where the two do not seem to belong together: intensities that differ by a factor,
images that fit better mirrored or turned, other subjects, arrays that may be others
than meant.
"""

if __name__ == "__main__":
  from _missing import explain_missing_packages

  explain_missing_packages()

import pathlib

from absl import flags

from kdmri_jax import cli
from kdmri_jax.errors import UserError, arguments_of
from kdmri_jax.protocols import PROTOCOLS

_TARGET = flags.DEFINE_string(
  "target", None, "Folder of the fully sampled volumes.", required=True
)
_PREDICTION = flags.DEFINE_multi_string(
  "prediction",
  None,
  "Folder of reconstructions, DIR or NAME=DIR; repeat it or separate by commas.",
  required=True,
)
_PROTOCOL = flags.DEFINE_enum(
  "protocol",
  "kdmri",
  list(PROTOCOLS),
  "Protocol of the table; the files hold all protocols.",
)
_METRICS = flags.DEFINE_list(
  "metrics",
  None,
  "Names of metrics, or import paths package.module:name; default: all but vif.",
)
_OUT = flags.DEFINE_string(
  "out", None, "New or empty folder for volumes.csv, slices.csv and the same as JSON."
)
_KEY = flags.DEFINE_string(
  "key", "", "Array to read from every h5, npz and mat file, of both sides."
)
_TARGET_KEY = flags.DEFINE_string("target_key", "", "Array that holds the target.")
_PREDICTION_KEY = flags.DEFINE_string(
  "prediction_key", "", "Array that holds the reconstruction."
)


def main(argv):
  cli.refuse_arguments(argv)
  from kdmri_jax import report
  from kdmri_jax.metrics import METRICS, resolve
  from kdmri_jax.report import mismatch, tables
  from kdmri_jax.report.parts import Parts
  from kdmri_jax.saving import make_folder, new_folder, replacing

  out = new_folder(_OUT.value) if _OUT.value else None
  with arguments_of("--"):
    metrics = METRICS if _METRICS.value is None else resolve(_METRICS.value)
  folders, signs = _named_folders(_PREDICTION.value), mismatch.Signs()
  parts, missing = Parts(), []
  pairs = tables.pairs(
    _TARGET.value,
    folders,
    target_key=_TARGET_KEY.value or _KEY.value,
    prediction_key=_PREDICTION_KEY.value or _KEY.value,
    missing=missing,
  )
  measured = tables.evaluate(signs.watch(pairs), metrics, parts)
  for name in signs.equal:
    own, others = (_in_words(signs.keys[key]) for key in (name, mismatch.TARGETS))
    _refuse_equal(folders[name], f"{own} here, {others} of {_TARGET.value}")
  rows = report.summary_rows(measured, _PROTOCOL.value, {})
  print(report.format_table(rows, metrics))
  print(f"\nprotocol {_PROTOCOL.value}: {PROTOCOLS[_PROTOCOL.value].definition}")
  left_out = sum(row[name]["left_out"] for row in rows for name in metrics)
  if left_out:
    print(f"{left_out} undefined or infinite values were omitted from the means.")
  for name, folder in {mismatch.TARGETS: _TARGET.value, **folders}.items():
    print(f"{name}: {_in_words(signs.keys[name])} of {folder}")
  for sentence in [*missing, *signs.sentences()]:
    print(f"caution: {sentence}")
  if out:
    make_folder(out.parent)
    with replacing(out) as fresh:
      tables.write_tables(fresh, measured)
    print(f"tables: {out}")
  if parts.failed:
    found = f"metrics that failed ({'; '.join(map(str, parts.failed))})"
    raise UserError("--metrics", found, "a value of each metric for every volume")


def _named_folders(values):
  """Model name -> folder; a folder without a name has its own as name."""
  folders = {}
  for value in ",".join(values).split(","):
    name, separator, folder = value.rpartition("=")
    if not separator:
      path = pathlib.Path(folder).resolve()
      name = path.parent.name if path.name == "results" else path.name
    if not name or not folder or name in folders:
      raise UserError(
        "--prediction",
        f"{value!r}"
        + (f", a second folder called {name!r}" if name in folders else ""),
        "DIR or NAME=DIR, each name once",
        "Give every folder a different name: --prediction=NAME=DIR.",
      )
    folders[name] = folder
  return folders


def _in_words(keys):
  """What was read: "reconstruction", or "target (3 files) and volfs (1 file)"."""
  if len(keys) == 1:
    return next(iter(keys))
  counted = (f"{key} ({n} file{'s' * (n > 1)})" for key, n in keys.items())
  return " and ".join(counted)


def _refuse_equal(folder, read):
  found = f"the targets themselves in every volume ({read})"
  expected = "reconstructions, which differ from their targets"
  remedy = (
    "Name the folder of the reconstructions, or the arrays of both sides: "
    "--target_key, --prediction_key."
  )
  raise UserError(folder, found, expected, remedy)


if __name__ == "__main__":
  cli.run_main(main)

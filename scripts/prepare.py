"""Turns a folder of images into prepared volumes, one h5 file each.

  kdmri prepare --source=acdc --root=FOLDER --out=PREPARED --crop=150,150

OUT then holds NAME.h5 (target [slices, rows, columns], and k-space and zero-filled
images where the source has them, with --combine=none k-space and sensitivities of the
coils, with --inputs_root the given input), prepared.json (the origin and processing of
all volumes) and montage.png. An experiment reads them with
--config.data.source=prepared --config.data.root=PREPARED.

Each flag is the setting data.NAME of an experiment (--phantom_NAME is
data.phantom.NAME, --inputs_NAME is data.inputs.NAME). The source is a name, or
`package.module:name` of your own.
"""

if __name__ == "__main__":
  from _missing import explain_missing_packages

  explain_missing_packages()

import collections
import dataclasses
import pathlib
from collections.abc import Iterable, Iterator

from absl import flags
from tqdm import tqdm

from kdmri_jax import cli
from kdmri_jax.config import DataConfig, InputsConfig, PhantomConfig
from kdmri_jax.errors import ArgumentError, UserError, arguments_of

_SOURCE = flags.DEFINE_string(
  "source",
  None,
  "Source of ROOT: acdc, nifti, ... (docs/data.md lists all), or package.module:name.",
  required=True,
)
_ROOT = flags.DEFINE_string("root", "", "Folder of images; not for mni152, phantom.")
_OUT = flags.DEFINE_string("out", None, "New or empty folder.", required=True)
_INCLUDE = flags.DEFINE_list("include", [], "Globs on volume names; none takes all.")
_PATTERN = flags.DEFINE_string(
  "subject_pattern", "", "Regular expression that finds the subject in a file's path."
)
_CONTRAST = flags.DEFINE_string(
  "contrast", "", "Image of a subject: T1, PD, ...; empty for the default."
)
_COMBINE = flags.DEFINE_enum(
  "combine", "", ["", "rss", "sense", "none"], "Combination of coils; none keeps them."
)
_SENSITIVITIES = flags.DEFINE_enum(
  "sensitivities",
  "espirit",
  ["espirit", "low_resolution", "given"],
  "Sensitivities of coils that are kept: estimated, or given beside the files.",
)
_TAG = flags.DEFINE_string("acceleration_tag", "4x", "Suffix of the keys of kdmri.")
_TYPE = flags.DEFINE_string("kdmri_type", "", "Dataset folder of kdmri: mrbrain, ...")
_INPUTS_ROOT = flags.DEFINE_string(
  "inputs_root", "", "Folder of given inputs, of which ROOT holds the targets."
)
_INPUTS_SOURCE = flags.DEFINE_string(
  "inputs_source", "", "Source of the given inputs; empty for that of the targets."
)
_INPUTS_CONTRAST = flags.DEFINE_string(
  "inputs_contrast", "", "Image of a subject that is the input; empty as --contrast."
)
_INPUTS_KSPACE = flags.DEFINE_bool(
  "inputs_kspace", False, "Whether the k-space of the inputs is kept, not their images."
)
_INPUTS_VARIABLE = flags.DEFINE_string(
  "inputs_variable", "", "Array that is the input; empty as --variable."
)
_INPUTS_MATCH = flags.DEFINE_enum(
  "inputs_match", "name", ["name", "subject"], "What input and target have in common."
)
_VARIABLE = flags.DEFINE_string(
  "variable", "", "Name of the array in the files of arrays; empty for the only one."
)
_AXES = flags.DEFINE_list(
  "axes", [], "Axes of that array, such as rows,columns,slices; none for the default."
)
_REPEATS = flags.DEFINE_integer(
  "repeats", 0, "Repeats of a file whose mean is an input; 0 for one acquisition."
)
_REPEAT_PATTERN = flags.DEFINE_string(
  "repeat_pattern", "", "Regular expression: what differs in the names of repeats."
)
_CROP = flags.DEFINE_list(
  "crop", ["0", "0"], "Rows,columns to crop or pad to; 0,0 keeps."
)
_SCALING = flags.DEFINE_enum(
  "scaling", "volume_max", ["volume_max", "none"], "Divide by the volume's maximum?"
)
_SLICES = flags.DEFINE_integer(
  "slices_per_volume", 0, "This many central slices of each volume; 0 takes all."
)
_FAMILY = flags.DEFINE_string(
  "phantom_family", "mixed", "brain, cardiac, knee or mixed."
)
_SUBJECTS = flags.DEFINE_integer("phantom_subjects", 12, "Number of subjects.")
_DEPTH = flags.DEFINE_integer("phantom_slices", 16, "Slices per subject.")
_SIZE = flags.DEFINE_list("phantom_size", ["128", "128"], "Rows,columns.")
_SEED = flags.DEFINE_integer(
  "phantom_seed", 0, "The same seed gives the same subjects."
)
_PHASE = flags.DEFINE_bool("phantom_phase", False, "Complex images?")


@flags.multi_flags_validator(
  ["crop", "phantom_size"], "two whole numbers are needed, such as 150,150"
)
def _pairs(values):
  return all(len(v) == 2 and all(n.isdecimal() for n in v) for v in values.values())


def main(argv: list[str]) -> None:
  """Reads the flags, writes the folder and prints the next step."""
  cli.refuse_arguments(argv)
  from kdmri_jax import lookup
  from kdmri_jax.data import dataset, digests, padding
  from kdmri_jax.data.sources import TRAINING, prepared

  kinds = {name: source for name, source in TRAINING.items() if name != "prepared"}
  out = pathlib.Path(_OUT.value)
  notes, known, records = collections.Counter(), {}, []
  try:
    config = _config()
    volumes = tqdm(dataset.read(config), unit=" volumes")
    settings = dataclasses.asdict(config)
    lookup.find("source", config.source, kinds)
    noted = _noted(volumes, notes, known, records)
    names = prepared.write_folder(noted, out, settings)
  except ArgumentError as error:
    flag = f"--{error.where.replace('.', '_')}"
    raise UserError(flag, error.found, error.expected, error.remedy) from error
  for note, count in notes.items():
    print(f"{count} of {len(names)} volumes: {note}")
  for note in padding.notes(records):
    print(note)
  if words := digests.repeats(known.items()):
    print(f"Equal images, which count more than once: {words}.")
  print(
    f"{len(names)} volumes in {_OUT.value}; check montage.png there. Use them with\n"
    f"  --config.data.source=prepared --config.data.root={_OUT.value}"
  )


def _noted(
  volumes: Iterable, notes: collections.Counter, known: dict, records: list
) -> Iterator:
  """The volumes; counts the notes in their records; keeps records and digests."""
  for volume in volumes:
    records.append(volume.record)
    if note := volume.record.get("note"):
      notes[note] += 1
    volume = volume.with_digests()
    name = "/".join(filter(None, (volume.split, volume.name)))
    known[name] = volume.slice_digests
    yield volume


def _config() -> DataConfig:
  """The data settings; those of the split do not matter here."""
  with arguments_of("phantom."):
    phantom = PhantomConfig(
      family=_FAMILY.value,
      subjects=_SUBJECTS.value,
      slices=_DEPTH.value,
      size=tuple(map(int, _SIZE.value)),
      seed=_SEED.value,
      phase=_PHASE.value,
    )
  with arguments_of("inputs."):
    inputs = InputsConfig(
      root=_INPUTS_ROOT.value,
      source=_INPUTS_SOURCE.value,
      contrast=_INPUTS_CONTRAST.value,
      variable=_INPUTS_VARIABLE.value,
      match=_INPUTS_MATCH.value,
      kspace=_INPUTS_KSPACE.value,
    )
  return DataConfig(
    inputs=inputs,
    variable=_VARIABLE.value,
    axes=tuple(_AXES.value),
    repeats=_REPEATS.value,
    repeat_pattern=_REPEAT_PATTERN.value,
    source=_SOURCE.value,
    root=_ROOT.value,
    include=tuple(_INCLUDE.value),
    subject_pattern=_PATTERN.value,
    contrast=_CONTRAST.value,
    combine=_COMBINE.value,
    sensitivities=_SENSITIVITIES.value,
    acceleration_tag=_TAG.value,
    kdmri_type=_TYPE.value,
    crop=tuple(map(int, _CROP.value)),
    scaling=_SCALING.value,
    memory_mb=0,
    slices_per_volume=_SLICES.value,
    train=(),
    validation=(),
    test=(),
    validation_fraction=0.5,
    split_seed=0,
    phantom=phantom,
  )


if __name__ == "__main__":
  cli.run_main(main)

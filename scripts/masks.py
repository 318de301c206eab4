"""Makes, shows, compares and converts sampling masks.

  kdmri masks make --size=150,150 --acceleration=4 --out=mask.npy
  kdmri masks show mask.npy other.npy --out=masks.png
  kdmri masks compare mask.npy other.npy --image=patient.nii.gz
  kdmri masks convert file1000000.h5 --out=mask.npy

make     draws a mask by the recipes of config.mask and writes it: --kind, --size, and
         the kind's settings among --acceleration, --centre_lines, --axis and --seed.
show     prints a table of masks; with --out it draws each, with its line profile and
         its point-spread function.
compare  also prints the common samples of masks of one shape, the share of an image's
         energy that each samples, and the quality of the zero-filled image.
convert  reads a mask of fastMRI (.h5), BART (.cfl), MATLAB (.mat) or NumPy (.npy) and
         writes it in the format of experiments.

In the table, "centre" counts the fully sampled lines about zero frequency (of a 2-D
mask it is the side of the square), "symmetric" is the share of the samples k whose
mirror -k is sampled, too, and "side lobe" the highest local maximum of the point-spread
function beside its peak, relative to that, and its distance: the strength of ghosts.

Masks are written with zero frequency at [0, 0], for --config.mask.kind=file
--config.mask.path=mask.npy. show, compare and convert read all these formats: .h5 and
.cfl with zero frequency in the middle, .npy and .mat at [0, 0], unless --centred or
--nocentred says otherwise. A mask that contradicts this is refused.
"""

if __name__ == "__main__":
  from _missing import explain_missing_packages

  explain_missing_packages()

import math
import pathlib

from absl import flags

from kdmri_jax import cli
from kdmri_jax.config import MaskConfig
from kdmri_jax.errors import UserError, arguments_of
from kdmri_jax.physics.masks import recipes

_OUT = flags.DEFINE_string(
  "out", None, "File to write: .npy, of show and compare .png."
)
_KIND = flags.DEFINE_enum(
  "kind", "cartesian", list(recipes.KINDS), "Recipe of the mask."
)
_SIZE = flags.DEFINE_list(
  "size", None, "Rows,columns; also for a file with a single line."
)
_ACCELERATION = flags.DEFINE_float(
  "acceleration", 4.0, "N / number of lines (or points)."
)
_CENTRE = flags.DEFINE_integer(
  "centre_lines", 10, "Fully sampled lines about zero frequency."
)
_AXIS = flags.DEFINE_integer(
  "axis",
  None,
  "Phase-encode axis: 0 if rows are sampled (default of make), 1 if columns.",
)
_SEED = flags.DEFINE_integer("seed", 0, "The same seed draws the same mask.")
_CENTRED = flags.DEFINE_bool(
  "centred", None, "Do the files have zero frequency in the middle?"
)
_KEY = flags.DEFINE_string("key", "mask", "Variable of .mat files, dataset of .h5.")
_IMAGE = flags.DEFINE_string(
  "image", "", "Images to measure: NIfTI, .npz or .h5; default: a synthetic brain."
)

_READING = {"size", "axis", "centred", "key"}
_FLAGS = {
  "make": {"out", "kind", "size"},
  "show": {"out", *_READING},
  "compare": {"out", "image", *_READING},
  "convert": {"out", *_READING},
}
_ALL = set().union(*_FLAGS.values(), {"acceleration", "centre_lines", "axis", "seed"})


def main(argv: list[str]) -> None:
  """Checks the command and runs the action."""
  action, *files = argv[1:] or [""]
  if action not in _FLAGS:
    raise UserError(
      "command line",
      f"the action {action!r}" if action else "no action",
      f"one of {', '.join(_FLAGS)}, then the files",
      "See --help.",
    )
  _refuse_unused(action)
  least, most, run = _ACTIONS[action]
  if not least <= len(files) <= most:
    raise UserError(
      "command line",
      f"{len(files)} files for {action}",
      f"{least}" + ("" if most == least else " or more"),
      "See --help.",
    )
  run(*files)


def _make():
  size = _size()
  if size is None:
    raise UserError("--size", "nothing", "rows,columns", "Write --size=150,150.")
  axis = 0 if _AXIS.value is None else _AXIS.value
  settings = (_ACCELERATION.value, _CENTRE.value, axis, _SEED.value)
  with arguments_of("--"):
    mask = recipes.build(MaskConfig(_KIND.value, *settings, ""), size)
  _save(mask)


def _convert(file):
  _save(_read([file]).popitem()[1])


def _show(*files):
  from kdmri_jax.report import mask_tables

  _check_png()
  masks = _read(files)
  print(f"\n{mask_tables.properties(masks)}")
  _draw(masks)


def _compare(*files):
  from kdmri_jax.report import mask_tables

  _check_png()
  masks = _read(files)
  print(f"\n{mask_tables.comparison(masks, _IMAGE.value)}")
  _draw(masks)


def _read(files) -> dict:
  """Name -> mask of every file; prints the place of its zero frequency."""
  from kdmri_jax.physics.masks import formats

  with arguments_of("--"):
    masks, notes = formats.read_masks(
      files, centred=_CENTRED.value, size=_size(), axis=_AXIS.value, key=_KEY.value
    )
  for note, names in notes.items():
    print(f"{', '.join(names)}: {note}")
  return masks


def _save(mask):
  from kdmri_jax.physics.masks import describe, files
  from kdmri_jax.report import mask_tables

  if not _OUT.value:
    raise UserError("--out", "nothing", "the file to write", "Write --out=mask.npy.")
  files.save(_OUT.value, mask)
  print(f"\n{mask_tables.properties({_OUT.value: mask})}")
  axis = describe.phase_encode_axis(mask)
  named = "" if axis is None else f" --config.mask.axis={axis}"
  print(
    f"\nUse it with\n  --config.mask.kind=file --config.mask.path={_OUT.value}{named}"
  )


def _draw(read):
  if _OUT.value:
    from kdmri_jax.report import figures

    print(f"\n{figures.save(figures.sampling(read), _OUT.value)}")


def _check_png():
  out = pathlib.Path(_OUT.value or "new.png")
  if out.suffix != ".png" or out.exists():
    found = "a file there" if out.exists() else f"the ending {out.suffix!r}"
    raise UserError(out, found, "a new file .png", "Choose another --out.")


def _size() -> tuple[int, int] | None:
  if _SIZE.value is None:
    return None
  if len(_SIZE.value) != 2 or not all(n.isdecimal() and int(n) for n in _SIZE.value):
    found = ",".join(_SIZE.value)
    raise UserError("--size", found, "rows,columns", "Write --size=150,150.")
  return tuple(map(int, _SIZE.value))


def _refuse_unused(action):
  """Refuses flags that would have no effect."""
  used = _FLAGS[action]
  if action == "make":
    used = used | set(recipes.KINDS[_KIND.value][1])
  for name in sorted(_ALL - used):
    if flags.FLAGS[name].present:
      what = f"make --kind={_KIND.value}" if action == "make" else action
      raise UserError(
        f"--{name}", f"no use for it in {what}", "other flags", "Leave it out."
      )


# Each action: the fewest and the most files that it takes, and its function.
_ACTIONS = {
  "make": (0, 0, _make),
  "show": (1, math.inf, _show),
  "compare": (2, math.inf, _compare),
  "convert": (1, 1, _convert),
}


if __name__ == "__main__":
  cli.run_main(main)

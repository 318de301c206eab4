"""Writes a trained network for other programs.

  kdmri export --workdir=runs/demo --stage=kd --format=onnx --out=kd.onnx
  python kd_onnx_example.py

Beside the network are the mask of the run, kd_mask.npy, and a program that runs the
network with it, which needs NumPy, what is named below and nothing of this package.

`jax` and `onnx` hold the whole reconstruction of a volume: zero-filling, scaling, the
network and its data consistency. The input is k-space in any unit, zero frequency at
[0, 0], with its sampling mask; the output is the image in the same unit, with real and
imaginary part if the network has two channels. A network without data consistency takes
images instead of k-space and mask. For slices of another size than the run's give
--size=ROWS,COLUMNS. Give all slices of a volume at once: they are divided together, to
be as bright as those of the training. A network trained with lines of k-space gives NaN
with other masks.

`jax` needs JAX and flatbuffers, on CPU, GPU or TPU, and nothing of this package:

  exported = jax.export.deserialize(bytearray(pathlib.Path("kd.jax").read_bytes()))
  mask = numpy.load("kd_mask.npy")  # uint8 [H, W]
  image = jax.jit(exported.call)(kspace, mask)  # complex64 [B, H, W]

`onnx`, for a DC-CNN, EDSR, U-Net or VDSR, has no Fourier operator and channels first:

  session = onnxruntime.InferenceSession("kd.onnx")
  parts = numpy.stack([kspace.real, kspace.imag], axis=1)  # float32 [B, 2, H, W]
  (image,) = session.run(None, {"kspace": parts, "mask": mask})

`kdmri` is a checkpoint of PyTorch with the names of the published code of KD-MRI, for
its DC-CNN and VDSR; PyTorch is not needed to write it:

  torch.load("student.pt", weights_only=True)["model"]     # the state dict
  kdmri_jax.interop.load_kdmri_checkpoint("student.pt")    # model, variables

The entry "settings" holds the settings that the weights do not contain. The program
beside it, student_kdmri_example.py, contains the network.
"""

if __name__ == "__main__":
  from _missing import explain_missing_packages

  explain_missing_packages()

import pathlib

from absl import flags

from kdmri_jax import cli
from kdmri_jax.errors import ArgumentError, UserError, arguments_of
from kdmri_jax.lookup import unknown

_WORKDIR = flags.DEFINE_string(
  "workdir",
  None,
  "Work directory of a run, or pretrained:NAME, see docs/pretrained.md.",
  required=True,
)
_STAGE = flags.DEFINE_string(
  "stage", None, "Stage whose best weights to write; default: kd."
)
_SEED = flags.DEFINE_integer(
  "seed", None, "Seed whose weights to write; default: the first of the run."
)
_FORMAT = flags.DEFINE_string(
  "format", "", "jax, onnx or kdmri; default: that of the ending of --out, else kdmri."
)
_SIZE = flags.DEFINE_list(
  "size", [], "Rows and columns of the slices; default: those of the run's data."
)
_OUT = flags.DEFINE_string("out", None, "File to write; must not exist.", required=True)


_ENDINGS = {".jax": "jax", ".onnx": "onnx", ".pt": "kdmri", ".pth": "kdmri"}


def main(argv):
  cli.refuse_arguments(argv)
  from kdmri_jax import interop
  from kdmri_jax.data import input_scale
  from kdmri_jax.inference import load
  from kdmri_jax.physics.masks import files
  from kdmri_jax.saving import replacing

  out = pathlib.Path(_OUT.value)
  _refuse_present(out)
  workdir = pathlib.Path(_WORKDIR.value)
  with arguments_of("--"):
    stage = load.choose_stage(workdir, _STAGE.value, _SEED.value)
    form = _format(out, interop.EXPORTS)
    size = _size(load.read_shapes(workdir), form)
  network = load.load(workdir, stage, size, task=None, seed=_SEED.value)
  tasks = list(load.read_config(workdir).all_tasks)
  data = load.read_data(workdir)
  scale = input_scale.of_training(network.config.data, data, tasks[0])
  (names,) = files.names(tasks, [size])
  masks = dict(zip(names, network.acquisition.masks, strict=True))
  beside = {f"{out.stem}_{name}.npy": files.content(m) for name, m in masks.items()}
  program = f"{out.stem}_{form}_example.py"
  for name in (*beside, program):
    _refuse_present(out.with_name(name), beside.get(name))
  written = out, network.model, network.params
  print(interop.EXPORTS[form](*written, size, scale))
  text = interop.example(form, out, next(iter(beside)), *written[1:], scale)
  for name, content in (*beside.items(), (program, text.encode())):
    with replacing(out.with_name(name)) as temporary:
      temporary.write_bytes(content)
  print(f"Beside it: {', '.join(beside)}; and {program}, which runs it.")


def _refuse_present(path, content=None):
  """Refuses a file that is there, unless it has this content."""
  if path.exists() and (not content or path.read_bytes() != content):
    raise UserError(path, "a file there", "a new file", "Choose another --out.")


def _format(out, known):
  """The requested format, or that of the file's ending."""
  named = _ENDINGS.get(out.suffix.lower(), "")
  form = _FORMAT.value or named or "kdmri"
  if form not in known:
    raise unknown("format", form, known)
  if named and named != form:
    expected = f"{named}, or a file with another ending"
    raise ArgumentError("format", f"{form} for {out.name}", expected)
  return form


def _size(shapes, form):
  """The requested size, or the size of the run's slices."""
  if not _SIZE.value and (len(shapes) == 1 or form == "kdmri"):
    return shapes[0]
  numbers = [int(text) if text.strip().isdecimal() else 0 for text in _SIZE.value]
  if len(numbers) != 2 or min(numbers) < 1:
    own = " or ".join(f"{rows},{columns}" for rows, columns in shapes)
    found = repr(",".join(_SIZE.value)) if _SIZE.value else "no size"
    expected = f"rows and columns, such as the run's {own}"
    raise ArgumentError("size", found, expected, "Name the size of the slices.")
  return tuple(numbers)


if __name__ == "__main__":
  cli.run_main(main)

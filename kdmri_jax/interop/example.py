"""A small program beside an exported network, which shows how to call it."""

import pathlib
from collections.abc import Mapping
from typing import Any

from flax import linen as nn

from kdmri_jax import models
from kdmri_jax.data.input_scale import LARGEST, InputScale
from kdmri_jax.models.contract import reads_kspace
from kdmri_jax.models.dccnn import DCCNN

_HEAD = '''"""Reconstructs a simulated scan; needs NumPy and {needs}."""

{imports}
here = pathlib.Path(__file__).parent
mask = np.load(here / {mask})  # 1 = sampled, zero frequency at [0, 0]
assert np.isin(mask, (0, 1)).all(), f"the mask has the values {{np.unique(mask)}}"

# In place of a scan: k-space of a disc, complex [slices, rows, columns].
y, x = np.indices(mask.shape) / np.reshape(mask.shape, (2, 1, 1)) - 0.5
kspace = np.fft.fft2(np.hypot(x, y) < 0.3, norm="ortho")[None] * mask
'''

_TAIL = """
np.save("reconstruction.npy", image)  # [slices, {axes}]
print("reconstruction.npy:", image.dtype, image.shape)
"""

_ONNX_KSPACE = """
session = onnxruntime.InferenceSession(here / {file})
parts = np.stack([kspace.real, kspace.imag], axis=1).astype(np.float32)
(image,) = session.run(None, {{"kspace": parts, "mask": mask.astype(np.uint8)}})
"""

_ONNX_IMAGE = """
session = onnxruntime.InferenceSession(here / {file})
zero_filled = np.fft.ifft2(kspace, norm="ortho")
parts = np.stack({parts}, axis=1).astype(np.float32)
(image,) = session.run(None, {{"image": parts}})
"""

_JAX_KSPACE = """
exported = jax.export.deserialize(bytearray((here / {file}).read_bytes()))
kspace, mask = kspace.astype(np.complex64), mask.astype(np.uint8)
image = np.asarray(jax.jit(exported.call)(kspace, mask))
"""

_JAX_IMAGE = """
exported = jax.export.deserialize(bytearray((here / {file}).read_bytes()))
zero_filled = np.fft.ifft2(kspace, norm="ortho")
parts = np.stack({parts}, axis=-1).astype(np.float32)
image = np.asarray(jax.jit(exported.call)(parts))
"""

_TORCH = """
checkpoint = torch.load(here / {file}, weights_only=True)
weights, settings = checkpoint["model"], checkpoint["settings"]


def cnn(x, name):
  for k in range(1, {after_convolutions}):
    layer = f"{{name}}conv{{k}}"
    weight, bias = weights[f"{{layer}}.weight"], weights[f"{{layer}}.bias"]
    x = torch.nn.functional.conv2d(x, weight, bias, padding=1)
    x = x.relu() if k < {convolutions} else x
  return x


kspace = torch.from_numpy(kspace.astype(np.complex64))
zero_filled = torch.fft.ifft2(kspace, norm="ortho")
{scale}
kspace, zero_filled = kspace / scale, zero_filled / scale
x = torch.stack({parts}, dim=1)
"""

_SCALES = {
  "none": "scale = 1.0",
  "largest": "scale = abs(zero_filled).max()",
  "brightness": """# What 1% of the pixels exceed, in the slices that have signal.
bright = abs(zero_filled).flatten(1).sort(1).values[:, -1 - mask.size // 100]
scale = bright[bright > 0].mean() / {}""",
}

_TORCH_DCCNN = """sampled, p = torch.from_numpy(mask != 0), settings["padding"]
weight = 1 / (1 + 1 / settings["lam"])  # of the measurement; 1 if lam is inf
for c in range(1, {after_cascades}):
  change = cnn(torch.nn.functional.pad(x, (p, p, p, p)), f"cascade{{c}}.")
  change = change[..., p : p + mask.shape[0], p : p + mask.shape[1]]
  x = x + change if settings["variant"] == "paper" else change
  own = torch.fft.fft2({complex}, norm="ortho")
  own = torch.where(sampled, (1 - weight) * own + weight * kspace, own)
  z = torch.fft.ifft2(own, norm="ortho")
  x = torch.stack({parts_of_z}, dim=1)
image = (scale * x).numpy()
"""

_TORCH_VDSR = """image = (scale * (x + cnn(x, ""))).numpy()
"""

_NEEDS = {"onnx": "ONNX Runtime", "jax": "JAX with flatbuffers", "kdmri": "PyTorch"}
_IMPORTS = {
  "onnx": "import pathlib\n\nimport numpy as np\nimport onnxruntime\n",
  "jax": "import os\nimport pathlib\n\n"
  "# With jaxlib 0.11 an FFT on a CPU may hang without this.\n"
  'os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")\n'
  "import jax.export\nimport numpy as np\n",
  "kdmri": "import pathlib\n\nimport numpy as np\nimport torch\n",
}


def example(
  form: str,
  file: str | pathlib.Path,
  mask: str | pathlib.Path,
  model: nn.Module,
  params: Mapping[str, Any],
  input_scale: InputScale = LARGEST,
) -> str:
  """A program that runs an exported network, on a disc in place of a scan.

  It needs NumPy and the framework of the export, and nothing of this package. It stands
  in the folder of both files and writes reconstruction.npy into the current one.

  Args:
    form: "jax", "onnx" or "kdmri".
    file: the exported network.
    mask: .npy file of its mask.
    model: the network.
    params: its parameters.
    input_scale: see `jax_bundle.whole_function`.

  Returns:
    The text of the program.
  """
  channels = models.channels(model)
  if form == "kdmri":
    body = _TORCH + (_TORCH_DCCNN if isinstance(model, DCCNN) else _TORCH_VDSR)
  else:
    bodies = {"onnx": (_ONNX_IMAGE, _ONNX_KSPACE), "jax": (_JAX_IMAGE, _JAX_KSPACE)}
    body = bodies[form][reads_kspace(model)]
  real = "[abs({0})]" if channels == 1 else "[{0}.real, {0}.imag]"
  return (_HEAD + body + _TAIL).format(
    file=_quoted(file),
    mask=_quoted(mask),
    needs=_NEEDS[form],
    imports=_IMPORTS[form],
    parts=real.format("zero_filled"),
    parts_of_z="[z.real]" if channels == 1 else real.format("z"),
    complex="x[:, 0]" if channels == 1 else "torch.complex(x[:, 0], x[:, 1])",
    scale=_SCALES[input_scale.statistic].format(input_scale.level),
    convolutions=getattr(model, "convolutions", 0),
    after_convolutions=getattr(model, "convolutions", 0) + 1,
    after_cascades=getattr(model, "cascades", 0) + 1,
    axes="rows, columns, channels" if form == "jax" else "channels, rows, columns",
  )


def _quoted(path: str | pathlib.Path) -> str:
  text = repr(pathlib.Path(path).name)
  return text if '"' in text else text.replace("'", '"')

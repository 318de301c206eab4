"""Slices to look at in the page: pictures of all networks, two of them compared."""

import io
from collections.abc import Mapping

import numpy as np
from PIL import Image

from kdmri_jax.config.schema import ZERO_FILLED
from kdmri_jax.report import blocks, wording
from kdmri_jax.report.inputs import ReportInput
from kdmri_jax.report.rows import main
from kdmri_jax.report.shown_slices import ShownSlice

MOST_BYTES = 4 * 2**20  # of all PNG files together
LARGEST = 640  # pixels; longer sides are reduced by a whole factor
_WIDTH = 480  # pixels on the screen
_WHITE = 99.7  # percentile
ERROR = "error of "


def blocks_of(inputs: ReportInput, analysis: dict) -> list:
  """The slices with their pictures; nothing where there are none."""
  del analysis
  found: list[blocks.Slice] = []
  used = 0
  for shown in inputs.slices:
    made = _slice(shown, inputs)
    used += sum(len(picture.png) for picture in made.pictures)
    if found and used > MOST_BYTES:
      break
    found.append(made)
  if not found:
    return []
  titles = " and ".join(m.title for m in main(inputs.tables.metrics).values())
  longest = max(max(shown.images["target"].shape) for shown in inputs.slices)
  smaller = ""
  if longest > LARGEST:
    smaller = f" Pixels are means over squares of {_factor(longest)} pixels."
  worst = next((f", and that of {s.why}" for s in inputs.slices if s.why), "")
  caption = (
    f"Evaluated slices at equal distances{worst}{inputs.of_seed}. Numbers: {titles} of "
    f"the slice, protocol {inputs.roles.protocol}. White is the 99.7th percentile of "
    f"the target; in errors, |image {wording.MINUS} target|, that of the networks' "
    f"errors in this slice, so an input may saturate.{smaller} The pictures have 256 "
    "grey values: quote numbers from slices.csv, not from them."
  )
  return [blocks.Viewer(found, caption)]


def _slice(shown: ShownSlice, inputs: ReportInput) -> blocks.Slice:
  images = {name: _reduced(image) for name, image in shown.images.items()}
  target = images["target"]
  errors = {k: abs(image - target) for k, image in images.items() if k != "target"}
  networks = [e for k, e in errors.items() if k in inputs.parameters]
  dark = 1e-5 * (target.max() or 1.0)
  whites = _white([target], dark), _white(networks or list(errors.values()), dark)
  scores = _scores(shown, inputs)
  pictures = [
    blocks.Layer(name, _png(image, whites[0]), scores.get(name, ""))
    for name, image in images.items()
  ]
  pictures += [
    blocks.Layer(f"{ERROR}{name}", _png(error, whites[1]), "")
    for name, error in errors.items()
  ]
  subject = "" if shown.subject == shown.volume else f"{inputs.unit} {shown.subject}, "
  title = f"{subject}volume {shown.volume}, slice {shown.number + 1}"
  why = f": {shown.why}" if shown.why else ""
  height, width = target.shape
  zoom = max(1, _WIDTH // width)
  return blocks.Slice(f"{title}{why}", zoom * width, zoom * height, pictures)


def _scores(shown: ShownSlice, inputs: ReportInput) -> Mapping[str, str]:
  """Name -> the first metrics of its slice."""
  metrics, seed = main(inputs.tables.metrics), None
  if len(inputs.seeds) > 1:
    seed = inputs.seeds[0]
  texts = {}
  for record in inputs.tables.slices:
    place = record["volume"], record["slice"], record["protocol"]
    if place != (shown.volume, shown.number, inputs.roles.protocol):
      continue
    if record.get("seed") in (None, seed):
      name = {ZERO_FILLED: "input"}.get(record["model"], record["model"])
      texts[name] = " / ".join(
        f"{wording.number(record[key], metric)} {metric.unit}".strip()
        for key, metric in metrics.items()
      )
  return texts


def _factor(side: int) -> int:
  return -(-side // LARGEST)


def _reduced(image: np.ndarray) -> np.ndarray:
  """Means over squares of pixels, so that no side is longer than `LARGEST`."""
  k = _factor(max(image.shape))
  if k == 1:
    return image
  height, width = (side // k * k for side in image.shape)
  squares = image[:height, :width].reshape(height // k, k, width // k, k)
  return squares.mean(axis=(1, 3))


def _white(images: list[np.ndarray], least: float) -> float:
  return max(float(np.percentile(images, _WHITE)), least)


def _png(image: np.ndarray, white: float) -> bytes:
  """8 bits, black at 0."""
  grey = np.clip(255 * image / white, 0, 255).round().astype(np.uint8)
  stream = io.BytesIO()
  Image.fromarray(grey).save(stream, format="PNG", optimize=True)
  return stream.getvalue()

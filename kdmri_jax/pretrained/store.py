"""The files of pretrained networks: NAME.npz holds the weights, NAME.json the card.

A mask that came from a file is in NAME.npy.

The arrays of the weights are named by their place, "cascade_1/conv_1/kernel". They are
stored in half precision and loaded as float32; the card has the digest of what is
loaded. No pickle is read.
"""

import dataclasses
import os
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np

from kdmri_jax import json_text
from kdmri_jax.config.starting import PRETRAINED
from kdmri_jax.data import digests
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.io.numpy_files import npz_array, opened_npz, read_npy
from kdmri_jax.io.reading import reading
from kdmri_jax.lookup import unknown
from kdmri_jax.physics.masks import files
from kdmri_jax.pretrained.card import Card
from kdmri_jax.saving import make_folder, replacing

FOLDER = pathlib.Path(__file__).parent / "networks"
_EXAMPLE = FOLDER.with_name("example.npz")
_HEAD = """# Pretrained networks

`kd.load_pretrained(NAME)` gives one of these networks, with its card as `net.card`;
`pretrained:NAME` stands for one wherever a trained stage can: as a stage's `given` or
`start_from`, and as `--workdir` of `kdmri reconstruct` and `kdmri export`.
`pretrained.page()` writes this page from the cards.

`pretrained.example()` is a heart to try a network on:

```python
import numpy as np
import kdmri_jax as kd
from kdmri_jax import pretrained

image = pretrained.example()
mask = kd.masks.cartesian(image.shape, acceleration=4, centre_lines=8)
_, measured = kd.undersample(image, mask)
found = kd.load_pretrained("cardiac-4x-distilled").reconstruct(*measured)
```

The networks "denoise" and "sr4x" (super-resolution) take images instead of k-space:

```python
noisy = abs(image + 0.02 * np.random.default_rng(0).normal(size=image.shape))
clean = kd.load_pretrained("cardiac-denoise-teacher").apply(noisy)
np.save("noisy.npy", noisy)
```

On the command line:

```
kdmri reconstruct --as_is --workdir=pretrained:cardiac-denoise-teacher \\
  --input=noisy.npy --out=clean.h5
```

`kdmri pack` writes networks of your own in the same form; the path of the card, with
its ending .json, is then the name. Its files belong together: NAME.json, NAME.npz and,
where the mask came from a file, NAME.npy. The card names no folder of your machine.
"""
_NONE = "The training of the first ones has not ended: this revision holds none.\n"


class Pretrained(NamedTuple):
  """A pretrained network.

  Attributes:
    card: its card.
    params: its weights, nested dicts of float32 arrays.
    mask: uint8 [H, W], where `card.experiment` takes it from a file; else None.
  """

  card: Card
  params: Any
  mask: np.ndarray | None = None


def names() -> list[str]:
  """The networks that the package holds."""
  return sorted(path.stem for path in FOLDER.glob("*.json"))


def named(place: str | os.PathLike) -> str:
  """NAME of "pretrained:NAME"; "" for any other text or path."""
  text = os.fspath(place)
  return text.removeprefix(PRETRAINED) if text.startswith(PRETRAINED) else ""


def read(name: str | os.PathLike) -> Pretrained:
  """A network with its card.

  Args:
    name: one of `names`; or the path of a card NAME.json that `kdmri pack` wrote, with
      NAME.npz beside it.

  Raises:
    ArgumentError: no such name.
    UserError: a file is missing or damaged, or the weights are not those of the card.
  """
  path = pathlib.Path(name).expanduser()
  if path.suffix != ".json":
    if str(name) not in names():
      raise unknown("name", str(name), names(), ", or the path of a card NAME.json")
    path = FOLDER / f"{name}.json"
  card, weights = _read_card(path), path.with_suffix(".npz")
  with opened_npz(weights) as file:
    params: dict[str, Any] = {}
    for key in file.files:
      *groups, last = key.split("/")
      place = params
      for group in groups:
        place = place.setdefault(group, {})
      place[last] = npz_array(file, key).astype(np.float32)
  if (found := digests.of_weights(params)) != card.digest:
    expected = f"those of the card, digest {card.digest}"
    raise UserError(weights, f"weights of digest {found}", expected, _AGAIN)
  return Pretrained(card, params, _read_mask(card))


_AGAIN = "Install the package again, or take all files from one `kdmri pack`."


def _read_card(path: pathlib.Path) -> Card:
  with reading(path):
    record = json_text.unsealed(json_text.loads(path.read_text(encoding="utf-8")))
    mask = record["config"]["mask"]
    if mask["kind"] == "file":
      mask["path"] = str(path.parent / mask["path"])
    return Card(**record)


def _read_mask(card: Card) -> np.ndarray | None:
  recipe = card.config["mask"]
  if recipe["kind"] != "file":
    return None
  mask = files.binary(recipe["path"], read_npy(recipe["path"]))
  if (found := digests.digest([mask[None]])) != card.data["mask_digest"]:
    expected = f"that of the card, digest {card.data['mask_digest']}"
    raise UserError(recipe["path"], f"a mask of digest {found}", expected, _AGAIN)
  return mask


def rounded(params: Any) -> Any:
  """Weights as they are after they were stored: float32, rounded to half precision.

  Raises:
    ArgumentError: a weight is too large for it.
  """

  def leaf(x):
    with np.errstate(over="ignore"):
      return np.asarray(x).astype(np.float16).astype(np.float32)

  found = jax.tree.map(leaf, params)
  if not all(np.isfinite(x).all() for x in jax.tree.leaves(found)):
    expected = f"finite ones of at most {np.finfo(np.float16).max:g}"
    raise ArgumentError("params", "weights that half precision cannot hold", expected)
  return found


def write(folder: pathlib.Path, network: Pretrained) -> pathlib.Path:
  """Writes the files of a network.

  Args:
    folder: created when missing; files of the same name are replaced.
    network: its weights as from `rounded`.

  Returns:
    The path of the card.

  Raises:
    UserError: they cannot be written.
  """
  make_folder(folder)
  card, params, mask = network
  if mask is not None:
    files.replace(folder / f"{card.name}.npy", mask)
  flat = jax.tree_util.tree_leaves_with_path(params)
  arrays = {
    jax.tree_util.keystr(path, simple=True, separator="/"): leaf.astype(np.float16)
    for path, leaf in flat
  }
  with replacing(folder / f"{card.name}.npz") as temporary:
    np.savez_compressed(temporary, **arrays)
  place = folder / f"{card.name}.json"
  with replacing(place) as temporary:
    sealed = json_text.sealed(dataclasses.asdict(card))
    text = json_text.dumps(sealed, compact=True)
    temporary.write_text(text + "\n", encoding="utf-8")
  return place


def example() -> np.ndarray:
  """A heart to try a network on: a short-axis slice of a test subject, 0 to 1.

  It is of the Sunnybrook Cardiac Data (public domain), float32 [128, 128].
  """
  with opened_npz(_EXAMPLE) as file:
    return npz_array(file, "image").astype(np.float32) / 255


def page() -> str:
  """The page of all cards, docs/pretrained.md."""
  cards = [str(read(name).card) for name in names()]
  return "\n".join([_HEAD, *(cards or [_NONE])])

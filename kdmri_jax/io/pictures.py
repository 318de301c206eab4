"""Grey images in PNG and TIFF files."""

import pathlib

import numpy as np
from PIL import Image, ImageSequence

from kdmri_jax.errors import UserError
from kdmri_jax.io.reading import reading, refuse_huge

ENDINGS = (".png", ".tif", ".tiff")
_GREY = ("L", "I", "F", "I;16", "I;16L", "I;16B")
_PHOTOMETRIC = 262  # a tag of TIFF files; 0: white is 0


def read_pictures(path: pathlib.Path) -> np.ndarray:
  """Reads the images of a file.

  Args:
    path: PNG, or TIFF of one page or several.

  Returns:
    The stored grey values, uint8, uint16, int32 or float32 [pages, H, W].

  Raises:
    UserError: the file is damaged, in colour, its pages differ in size or type, or
      white is 0 in an image of more than 8 bits, which Pillow does not turn over.
  """
  with reading(path), Image.open(path, formats=("PNG", "TIFF")) as image:
    if image.mode not in _GREY:
      found = f"an image of mode {image.mode}"
      expected = "grey values of 8 or 16 bits, or of single precision, without colours"
      remedy = "Convert it, such as by ImageMagick: convert IN -colorspace Gray OUT."
      raise UserError(path, found, expected, remedy)
    pages, (width, height) = getattr(image, "n_frames", 1), image.size
    kind = np.dtype({"L": "u1", "I": "i4", "F": "f4"}.get(image.mode, "u2"))
    refuse_huge(path, (pages, height, width), kind.itemsize, compressed=True)
    images = np.empty((pages, height, width), kind)
    for k, page in enumerate(ImageSequence.Iterator(image)):
      if (page.size, page.mode) != ((width, height), image.mode):
        raise ValueError(f"page {k} has another size or type than the first")
      if image.mode != "L" and getattr(page, "tag_v2", {}).get(_PHOTOMETRIC) == 0:
        found = "a TIFF image of more than 8 bits in which white is 0"
        remedy = "Save it so that black is 0."
        raise UserError(path, found, "the photometric tag 1, black is 0", remedy)
      images[k] = np.asarray(page)
  return images

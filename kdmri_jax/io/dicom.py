"""One DICOM file: its header, the images in it and their values."""

import contextlib
import dataclasses
import hashlib
import math
import pathlib
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kdmri_jax import json_text
from kdmri_jax.errors import UserError
from kdmri_jax.io.reading import reading, refuse_huge
from kdmri_jax.optional import require

# MR Image Storage, Enhanced MR Image Storage, Legacy Converted Enhanced MR.
MR_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.4{end}" for end in ("", ".1", ".4"))

_DEFLATED = b"1.2.840.10008.1.2.1.99"  # transfer syntax of packed files
_HEAD = 1 << 16  # bytes that hold the group with the transfer syntax

_ATTRIBUTES = (
  "Manufacturer",
  "ManufacturerModelName",
  "MagneticFieldStrength",
  "MRAcquisitionType",
  "ScanningSequence",
  "RepetitionTime",
  "EchoTime",
  "InversionTime",
  "FlipAngle",
  "AcquisitionMatrix",
)


def _floats(count: int) -> Callable[[Sequence[Any]], tuple[float, ...]]:
  """A function that reads so many finite numbers."""

  def read(values):
    numbers = tuple(map(float, values))
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
      raise ValueError(f"{list(values)} in the place of {count} numbers")
    return numbers

  return read


# Fields of `Frame`: the attribute, its sequence in a multi-frame file, the type.
_FIELDS = {
  "position": ("ImagePositionPatient", "PlanePositionSequence", _floats(3)),
  "orientation": ("ImageOrientationPatient", "PlaneOrientationSequence", _floats(6)),
  "spacing": ("PixelSpacing", "PixelMeasuresSequence", _floats(2)),
  "thickness": ("SliceThickness", "PixelMeasuresSequence", float),
  "slope": ("RescaleSlope", "PixelValueTransformationSequence", float),
  "intercept": ("RescaleIntercept", "PixelValueTransformationSequence", float),
  "component": ("ComplexImageComponent", "MRImageFrameTypeSequence", str),
  "phase_encoding": ("InPlanePhaseEncodingDirection", "MRFOVGeometrySequence", str),
}
_FUNCTIONAL = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
# By number in GE's private element, and by the values of ImageType, long or short.
_COMPONENTS = ("MAGNITUDE", "PHASE", "REAL", "IMAGINARY")
_IMAGE_TYPES = {part: part for part in _COMPONENTS[1:]} | {
  "P": "PHASE",
  "PHASE MAP": "PHASE",
  "R": "REAL",
  "I": "IMAGINARY",
}


@dataclasses.dataclass(frozen=True)
class Frame:
  """One image of a file.

  Attributes:
    path, index: the file, and the index of the image in it, from 0.
    instance: InstanceNumber of the file, or None.
    position: centre of the first pixel, (x, y, z) in mm towards left, posterior and
      superior, or None.
    orientation: direction cosines in the same axes, in which the column index (first
      three) and the row index (last three) increase, or None.
    spacing: distance of the rows and of the columns in mm, or None.
    thickness: of the slice in mm, or None.
    slope, intercept: image = slope * stored value + intercept.
    component: "MAGNITUDE", "PHASE", "REAL", "IMAGINARY" or "MIXED".
    phase_encoding: "ROW" (along a row), "COL" or "COLUMN", "OTHER", or None.
  """

  path: pathlib.Path
  index: int
  instance: int | None
  component: str
  position: tuple[float, ...] | None = None
  orientation: tuple[float, ...] | None = None
  spacing: tuple[float, ...] | None = None
  thickness: float | None = None
  slope: float = 1.0
  intercept: float = 0.0
  phase_encoding: str | None = None


@dataclasses.dataclass(frozen=True)
class DicomHeader:
  """The metadata of a file, without its pixels.

  Attributes:
    path: the file.
    kind: name of its SOP class; the rest is read only for `MR_CLASSES`.
    series: SeriesInstanceUID.
    number: SeriesNumber, 0 where the file has none.
    description: SeriesDescription, "" where the file has none.
    patient: a code of the PatientID ("subject_1a2b3c4d"), "" where the file has none.
    shape: rows and columns.
    colours: description of an image that is not plain grey; "" for a grey image.
    mosaic: whether the slices are tiles of one large image.
    syntax: name of the transfer syntax.
    attributes: settings of the scanner, JSON-compatible; nothing about the patient.
    frames: the images.
  """

  path: pathlib.Path
  kind: str
  series: str = ""
  number: int = 0
  description: str = ""
  patient: str = ""
  shape: tuple[int, int] = (0, 0)
  colours: str = ""
  mosaic: bool = False
  syntax: str = ""
  attributes: dict[str, Any] = dataclasses.field(default_factory=dict)
  frames: tuple[Frame, ...] = ()


def is_dicom(path: pathlib.Path) -> bool:
  """Whether a file is DICOM by name or content, with or without a preamble.

  Raises:
    UserError: it cannot be read.
  """
  if path.suffix.lower() in (".dcm", ".ima", ".dicom"):
    return True
  with reading(path), path.open("rb") as file:
    head = file.read(132)
  return head[128:] == b"DICM" or _is_bare(head)


def read_header(path: pathlib.Path) -> DicomHeader | None:
  """Reads the metadata of a file, without its pixels.

  Returns:
    The header, or None for a file that is not DICOM by content or name.

  Raises:
    UserError: pydicom is not installed, or the file is damaged or incomplete.
  """
  pydicom = require("pydicom", "data", path, "a folder of DICOM files")
  if not is_dicom(path):
    return None
  with reading(path):
    _refuse_bomb(path)
    dataset = _read(pydicom, path, stop_before_pixels=True)
    kind = dataset.file_meta.MediaStorageSOPClassUID
    if kind not in MR_CLASSES:
      return DicomHeader(path, kind.name)
    _refuse_huge(path, dataset)
    return _header(path, kind, dataset)


def read_pixels(path: pathlib.Path) -> np.ndarray:
  """Reads the stored values of a file, [frames, rows, columns], undoing compression.

  Raises:
    UserError: the file is truncated or damaged, or no installed package supports its
      compression; the message names the transfer syntax.
  """
  pydicom = require("pydicom", "data", path, "a folder of DICOM files")
  with reading(path):
    dataset = _read(pydicom, path)
    _refuse_huge(path, dataset, at_once=True)
    syntax = dataset.file_meta.TransferSyntaxUID
    able = False
    with contextlib.suppress(NotImplementedError):
      able = pydicom.pixels.get_decoder(syntax).is_available
    if not able:
      found = f"the transfer syntax {syntax.name!r}, which no installed package decodes"
      expected = "uncompressed pixels, or a compression that pydicom supports here"
      remedy = "Install the decoders with: pip install pylibjpeg pylibjpeg-libjpeg "
      remedy += "pylibjpeg-openjpeg, or export the images without compression."
      raise UserError(path, found, expected, remedy)
    array = dataset.pixel_array
    return array.reshape(-1, *array.shape[-2:])


def _read(pydicom, path, **options):
  """The content; a file without preamble states neither its class nor its syntax."""
  with path.open("rb") as file:
    bare = _is_bare(file.read(132))
  dataset = pydicom.dcmread(path, force=bare, **options)
  meta = dataset.file_meta
  if bare and "TransferSyntaxUID" not in meta:
    kinds = (pydicom.uid.ExplicitVRLittleEndian, pydicom.uid.ImplicitVRLittleEndian)
    meta.TransferSyntaxUID = kinds[dataset.original_encoding[0]]
  if bare and "MediaStorageSOPClassUID" not in meta:
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
  return dataset


def _is_bare(head: bytes) -> bool:
  """Whether a file begins with the first elements of a data set, without a preamble.

  Their group is 2 or 8, their number at most 0x18, SOPInstanceUID. Then follow two
  letters, the type of the value, and its length, or its length alone.
  """
  if len(head) < 132 or head[128:] == b"DICM":
    return False
  group, element, length = struct.unpack("<HHI", head[:8])
  explicit = re.fullmatch(rb"[A-Z]{2}", head[4:6])
  return group in (2, 8) and element <= 0x18 and (bool(explicit) or length < 128)


def subject_code(patient: str) -> str:
  """A short code, the same for every file of a patient.

  Reports then do not contain the identifier itself. A person with a list of identifiers
  can still find the one of a code.
  """
  digest = hashlib.blake2b(patient.encode(), digest_size=4).hexdigest()
  return f"subject_{digest}"


def _refuse_bomb(path) -> None:
  """Refuses a deflated file that unpacks to far more; pydicom unpacks it whole."""
  with path.open("rb") as file:
    head = file.read(_HEAD)
    if _DEFLATED not in head:
      return
    place = 132 if head[128:132] == b"DICM" else 0
    while head[place : place + 2] == b"\2\0":  # the group that is not packed
      long = head[place + 4 : place + 6] in (b"OB", b"OW", b"UN", b"UT", b"SQ")
      form, start = ("<I", 8) if long else ("<H", 6)
      (count,) = struct.unpack_from(form, head, place + start)
      place += start + struct.calcsize(form) + count
    file.seek(place)
    packed, unpacker, total = file.read(), zlib.decompressobj(-zlib.MAX_WBITS), 0
  while packed and not unpacker.eof:
    total += len(unpacker.decompress(packed, 1 << 20))
    refuse_huge(path, (total,), 1, compressed=True, at_once=False)
    packed = unpacker.unconsumed_tail


def _refuse_huge(path, dataset, *, at_once=False):
  """Refuses more frames, rows or columns than the file can hold, even compressed."""
  names = ("NumberOfFrames", "Rows", "Columns", "SamplesPerPixel")
  shape = [int(dataset.get(name) or 1) for name in names]
  itemsize = -(-int(dataset.get("BitsAllocated") or 16) // 8)
  refuse_huge(path, shape, itemsize, compressed=True, at_once=at_once)


def _header(path, kind, dataset):
  attributes = {name: dataset.get(name) for name in _ATTRIBUTES}
  attributes = {n: value for n, value in attributes.items() if value not in (None, "")}
  patient = str(dataset.get("PatientID") or "").strip()
  samples = int(dataset.get("SamplesPerPixel") or 1)
  colours = f"{samples} x {dataset.get('PhotometricInterpretation')}"
  return DicomHeader(
    path,
    kind.name,
    series=str(dataset.SeriesInstanceUID),
    number=int(dataset.get("SeriesNumber") or 0),
    description=str(dataset.get("SeriesDescription") or "").strip(),
    patient=subject_code(patient) if patient else "",
    shape=(int(dataset.Rows), int(dataset.Columns)),
    colours="" if colours == "1 x MONOCHROME2" else colours,
    mosaic="MOSAIC" in _texts(dataset.get("ImageType")),
    syntax=dataset.file_meta.TransferSyntaxUID.name,
    attributes=json_text.plain(attributes),
    frames=tuple(_frames(path, dataset)),
  )


def _frames(path, dataset):
  shared = (dataset.get(_FUNCTIONAL[0]) or [{}])[0]
  groups = dataset.get(_FUNCTIONAL[1]) or [{}] * int(dataset.get("NumberOfFrames") or 1)
  instance = dataset.get("InstanceNumber")
  for index, own in enumerate(groups):
    values = {}
    for field, (name, sequence, kind) in _FIELDS.items():
      places = [*(own.get(sequence) or [])[:1], *(shared.get(sequence) or [])[:1]]
      stored = [place.get(name) for place in (*places, dataset)]
      value = next((value for value in stored if value is not None), "")
      if value != "":
        values[field] = kind(value)
    values["component"] = values.get("component") or _component(dataset)
    yield Frame(path, index, None if instance is None else int(instance), **values)


def _component(dataset):
  """By GE's private element, else by the third and later values of ImageType."""
  try:
    number = int(dataset.private_block(0x0043, "GEMS_PARM_01")[0x2F].value)
    return _COMPONENTS[number] if number in range(4) else "MIXED"
  except KeyError:
    kinds = _texts(dataset.get("ImageType"))[2:]
    return next((_IMAGE_TYPES[k] for k in kinds if k in _IMAGE_TYPES), "MAGNITUDE")


def _texts(value):
  return [value] if isinstance(value, str) else list(value or ())

"""ISMRM raw data (MRD): Cartesian acquisitions, one volume per file."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.data.folders import named_files, safe_name
from kdmri_jax.data.measured import RawScan
from kdmri_jax.data.sensitivities import Calibration
from kdmri_jax.data.source import FILE, Scan, Source, by_ending, holds, note_of
from kdmri_jax.data.volume import Volume
from kdmri_jax.io import h5
from kdmri_jax.io.ismrmrd import scan as scans
from kdmri_jax.physics.coils import combination
from kdmri_jax.physics.coils.estimated import centre_shape

_MOSTLY = 2 / 3  # of the points: the corners of a 3-D k-space may be left out
_ENDINGS = (*h5.ENDINGS, ".mrd")


def volumes(config: DataConfig) -> Iterator[Volume]:
  """Reads every *.h5 and *.mrd below the root, in the order of their paths.

  Rows are the phase-encode lines, columns the readout, slices in the order of their
  counter. Readouts flagged as noise, navigation or similar are omitted, and those of
  calibration alone unless the header calls them embedded. Several acquisitions of one
  line are averaged. Readout oversampling is removed, phase oversampling is kept. Where
  the centre of k-space is recorded with an offset of one sample, k-space is shifted
  cyclically. The slice keeps its measured resolution: lines that the scanner would fill
  with zeros are omitted.

  A 3-D acquisition is transformed along its readout; each pixel of it is a slice, whose
  rows and columns are the two phase encodings. Its corners may be missing.

  One coil gives a complex image, whose k-space is the measured one; several, or
  `config.combine="rss"`, their root sum of squares; several with "none" their
  combination by sensitivities, beside their k-space, both prewhitened by the readouts
  flagged as noise where there are any. `config.contrast` is the number of
  an echo (the counter `contrast`) and needed where a file has several.

  With `config.repeats` the repetitions of a file are repeated acquisitions, or of one
  repetition its averages.

  Raises:
    UserError: ismrmrd is not installed, no file, a damaged one, missing lines or
      samples (undersampling, partial Fourier, partial echo), another trajectory,
      several phases, repetitions, sets or 3-D slabs, an unknown echo, or repeats of
      other lines.
  """
  for path, *names in named_files(config, _ENDINGS, "ISMRM raw data"):
    if not config.repeats:
      yield _volume(config, path, *names)
      continue
    repeats = range(scans.repeats(path, config.contrast))
    every = [_volume(config, path, *names, repeat=k) for k in repeats]
    stacked = np.stack([volume.target for volume in every])
    yield dataclasses.replace(every[0], target=stacked)


def recognise(path: pathlib.Path) -> bool:
  """Whether a file is one of ISMRM raw data."""
  is_measurement = holds(lambda file: bool(scans.measurements(file)))
  return by_ending(".mrd")(path) or is_measurement(path)


def read(path: pathlib.Path, config: DataConfig) -> Scan:
  """Reads k-space for reconstruction; the acquired lines are the mask.

  Lines for calibration count where the header says that they are embedded. From others
  the sensitivities of coils that are kept are estimated, if they belong to the grid of
  the image and have a larger centre. K-space of a partial Fourier acquisition is
  extended symmetrically to the side that was not measured.

  Args:
    path: the file.
    config: `contrast` is the number of an echo; `combine` is "sense" for several
      coils, see `data.measured.RawScan`.

  Raises:
    UserError: as `volumes`, except for missing lines; slices with different masks;
      several coils without sensitivities.
  """
  with scans.opened(path, config.contrast, partial=True) as scan:
    sampled = scan.sampled[0]
    in_part = sampled.mean() <= _MOSTLY or combination.missing_samples(sampled)
    if in_part or not (scan.is_3d or scan.sampled.all()):
      record = scan.record | {"note": " ".join(scan.notes)}
      more = {"sampled": scan.sampled, "calibration": _calibration(scan)}
      return _raw(path, scan, record=record, **more).measured(config)
  return _volume(config, path, safe_name(path.stem), path.stem)


def _calibration(scan: scans.Scan) -> Calibration | None:
  """The separate calibration lines of a scan: used where their centre is larger."""
  found = scan.calibration()
  if found is None:
    return None
  every = scan.sampled.all(0), found.sampled
  own, theirs = (centre_shape(np.fft.ifftshift(points)) for points in every)
  sizes = "their fully sampled centre has {}x{} points, that of the image {}x{}"
  sizes = sizes.format(*theirs, *own)
  if found.problem or min(theirs) <= min(own):
    problem = found.problem or sizes
    return Calibration(f"Separate calibration lines are not used: {problem}.", None)
  text = f"Separate calibration lines are used: {sizes}."
  return Calibration(text, lambda: found.slices)


def _raw(path: pathlib.Path, scan: scans.Scan, **fields: Any) -> RawScan:
  read = functools.lru_cache(1)(lambda k: next(scan.slices))  # k = 0, 1, ...
  more = {"header": scan.header, "noise": scan.noise, **fields}
  return RawScan(path, scan.shape[0], read, **more)


def _volume(
  config: DataConfig,
  path: pathlib.Path,
  name: str,
  subject: str,
  repeat: int | None = None,
) -> Volume:
  with scans.opened(path, config.contrast, partial=False, repeat=repeat) as scan:
    way = combination.chosen(config.combine, "rss", "none") or (
      "rss" if scan.shape[1] > 1 else ""
    )
    raw = _raw(path, scan, record=scan.record, notes=(*scan.notes, note_of(config)))
    return raw.volume(name, subject, way, method=config.sensitivities)


SOURCE = Source(
  volumes,
  takes=("contrast", "combine", "repeats"),
  unit=FILE,
  files="ISMRM raw data (.h5, .mrd)",
  recognise=recognise,
  read=read,
)

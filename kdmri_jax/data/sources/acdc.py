"""The ACDC challenge in its official layout: short-axis cardiac cine MRI."""

import os
import pathlib
import re
from collections.abc import Iterator

from kdmri_jax.config import DataConfig
from kdmri_jax.data.folders import not_there, root_folder, subject_of, wanted
from kdmri_jax.data.source import Source, no_single_file
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import UserError
from kdmri_jax.io import walk
from kdmri_jax.io.nifti import read_nifti
from kdmri_jax.io.reading import reading

CITATION = (
  "ACDC (Bernard et al., IEEE Transactions on Medical Imaging 2018), "
  "for non-commercial research."
)


def volumes(config: DataConfig) -> Iterator[Volume]:
  """Reads the end-diastolic and end-systolic volume of each patient.

  The root holds `training` and perhaps `testing`, or is one of them. A patient's
  `Info.cfg` names the frames; a frame without its own file is taken from
  `patientNNN_4d.nii.gz`. The challenge's testing patients are not a test set by
  default: `data.test=("patient10*", ...)` does that.

  Raises:
    UserError: no patient folder, no `Info.cfg`, or a frame that no file holds.
  """
  root = root_folder(config)
  groups = [root / name for name in ("training", "testing")]
  groups = [group for group in groups if walk.is_folder(group)]
  patients = [
    path
    for group in groups or [root]
    for path in walk.folders(group)
    if path.name.lower().startswith("patient")
  ]
  if not patients:
    expected = "the official layout, training/patient001/patient001_frame01.nii.gz"
    raise not_there(root, "folder patientNNN", expected)
  for patient in patients:
    for phase, frame in _frames(patient):
      name = f"{patient.name}_frame{frame:02d}"
      if wanted(config, name):
        yield _volume(config, patient, name, phase, frame)


def _volume(config, patient, name, phase, frame):
  own, series = (
    [walk.present(patient / f"{each}{suffix}") for suffix in (".nii.gz", ".nii")]
    for each in (name, f"{patient.name}_4d")
  )
  there = [path for path in own + series if os.path.lexists(path)]
  path = min(there, key=lambda path: not path.exists(), default=None)
  if path is None:
    found = f"neither {own[0].name} nor {series[0].name}"
    expected = f"a file of frame {frame}, which Info.cfg names as {phase}"
    remedy = "Copy the patient's folder again, or exclude the patient."
    raise UserError(patient, found, expected, remedy)
  images, record = read_nifti(path, frame - 1 if path in series else None)
  record |= {"phase": phase, "frame": frame, "note": CITATION}
  record["folder"] = patient.parent.name
  subject = subject_of(config, path, patient.name)
  return Volume(name, subject=subject, target=images, record=record)


def _frames(patient: pathlib.Path) -> list[tuple[str, int]]:
  """(phase, frame) of end diastole and end systole; frames count from 1."""
  info = walk.present(patient / "Info.cfg")
  text = ""
  if os.path.lexists(info):
    with reading(info):
      text = info.read_text(encoding="utf-8-sig")
  numbers = dict(
    re.findall(r"^\s*(E[DS])\s*:\s*([1-9][0-9]{0,8})\s*$", text, re.MULTILINE)
  )
  if missing := {"ED", "ES"} - set(numbers):
    phase = min(missing)
    found = f"no line '{phase}: <frame>'" if text else "no such file, or an empty one"
    expected = "the frame numbers of end diastole (ED) and end systole (ES), from 1"
    remedy = "Copy the patient's folder again from the official data."
    raise UserError(info, found, expected, remedy)
  frames = [(phase, int(numbers[phase])) for phase in ("ED", "ES")]
  return frames[: len(set(numbers.values()))]  # one where both are the same frame


SOURCE = Source(volumes, read=no_single_file)

"""IXI: brains of nearly 600 healthy subjects from three hospitals in London."""

import re
from collections.abc import Iterator

from kdmri_jax.config import DataConfig
from kdmri_jax.data.folders import choose, not_there, root_folder, subject_of, wanted
from kdmri_jax.data.source import Source, no_single_file
from kdmri_jax.data.volume import Volume
from kdmri_jax.io import walk
from kdmri_jax.io.nifti import ENDINGS, read_nifti

NOTE = "IXI (brain-development.org), CC BY-SA 3.0."

_NAME = re.compile(
  r"(?P<volume>(?P<subject>IXI\d+)-(?P<site>\w+)-\d+-(?P<contrast>[A-Z]+\d?)(-\d+)?)"
  r"(?i:\.nii(\.gz)?)"
)


def volumes(config: DataConfig) -> Iterator[Volume]:
  """Reads the images of one contrast, named like IXI002-Guys-0828-T1.nii.gz.

  The files may be in folders below the root, one per contrast; files with other names,
  such as masks, are ignored. The name contains subject ("IXI002"), hospital and
  contrast: T1, T2, PD, MRA or DTI (which has one volume per direction). Where all files
  have one contrast it is read; otherwise the default is PD.

  Raises:
    UserError: no such file, none of the contrast, or a damaged one.
  """
  root = root_folder(config)
  found = [(path, _NAME.fullmatch(path.name)) for path in walk.files(root, ENDINGS)]
  scans = [(path, name.groupdict()) for path, name in found if name]
  if not scans:
    holding = "the unpacked files of IXI-PD.tar or another under their own names"
    raise not_there(root, "file named like IXI002-Guys-0828-PD.nii.gz in it", holding)
  contrasts = sorted({scan["contrast"] for _, scan in scans})
  usual = contrasts[0] if len(contrasts) == 1 else "PD"
  contrast = choose(config, usual, contrasts, root)
  for path, scan in scans:
    if scan["contrast"] == contrast and wanted(config, scan["volume"]):
      images, record = read_nifti(path)
      record |= {"site": scan["site"], "contrast": contrast, "note": NOTE}
      subject = subject_of(config, path, scan["subject"])
      yield Volume(scan["volume"], subject=subject, target=images, record=record)


SOURCE = Source(volumes, takes=("contrast",), read=no_single_file)

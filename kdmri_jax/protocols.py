"""The metric protocols by name."""

from typing import NamedTuple


class Protocol(NamedTuple):
  """How a metric takes its range, and its value for a volume.

  Attributes:
    by_slice: True where the range is the maximum of the target's slice and a volume's
      value the mean over its slices with signal; False where the range is the maximum
      of the target volume.
    definition: description for the report.
  """

  by_slice: bool
  definition: str


PROTOCOLS = {
  "kdmri": Protocol(
    by_slice=False,
    definition="PSNR over the whole volume with the maximum of the target volume as "
    "range; SSIM (7x7 window) slice by slice with that same range, averaged over "
    "slices.",
  ),
  "slice": Protocol(
    by_slice=True,
    definition="PSNR and SSIM (7x7 window) slice by slice with the maximum of the "
    "target slice as range, averaged over slices; slices without signal are left out.",
  ),
  "fastmri": Protocol(
    by_slice=False,
    definition="As the fastMRI challenge counts: PSNR over the volume, SSIM (7x7 "
    "window) averaged over slices, both with the maximum of the target volume as "
    "range.",
  ),
}

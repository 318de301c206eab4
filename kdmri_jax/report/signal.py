"""The report's blocks on signal and noise."""

import numpy as np

from kdmri_jax.report import blocks, wording
from kdmri_jax.report.paired import spread
from kdmri_jax.report.roi_snr import Measured


def summary(measured: Measured | None) -> dict | None:
  """The entry of `roi_snr.Measured` in report.json; None without."""
  if measured is None:
    return None
  return {
    "reference": measured.reference,
    "regions": {
      name: [roi._asdict() for roi in found] for name, found in measured.regions.items()
    },
    "rows": [_row(model, found) for model, found in measured.values.items()],
    "note": measured.note,
    "effects": [
      {**effect._asdict(), "sentence": _sentence(effect, measured.reference)}
      for effect in measured.effects
    ],
  }


def _row(model: str, found: np.ndarray) -> dict:
  finite = found[np.isfinite(found)]
  left_out = len(found) - len(finite)
  return {"model": model, **spread(finite), "left_out": left_out}


def blocks_of(found: dict | None) -> list:
  """SNR in regions, from `summary`; nothing where none was measured."""
  if not found:
    return []
  tested = {
    effect["model"]: (
      _interval(effect["difference"], effect["ci95"]),
      wording.p_value(effect["p"]),
    )
    for effect in found["effects"]
  }
  rows = [
    (row["model"], wording.spread(row, 2), *tested.get(row["model"], ("", "")))
    for row in found["rows"]
  ]
  header = ("model", "SNR ↑", f"difference to {found['reference']}, 95% interval", "p")
  if not tested:
    header, rows = header[:2], [row[:2] for row in rows]
  first, volumes = found["rows"][0], len(found["regions"])
  note = f"{first['n'] + first['left_out']} regions of {volumes} volumes"
  if left_out := sum(row["left_out"] for row in found["rows"]):
    note += f"; {left_out} values, of regions whose pixels are equal, were omitted"
  caption = "Targets of some of the slices, with the regions that were measured."
  text = (
    "SNR is the mean over the standard deviation of the pixels of a region of "
    "homogeneous tissue; a network that blurs raises it, too, so read it beside PSNR "
    "and SSIM."
  )
  if found["effects"]:
    levels = found["effects"][0]["levels"]
    text += (
      " The differences come from the linear mixed-effects model "
      f"SNR ~ network + (1 | {levels}){_WHY[levels]}."
    )
  return [
    blocks.Paragraph(" ".join(filter(None, (text, found["note"])))),
    *(blocks.Paragraph(effect["sentence"]) for effect in found["effects"]),
    blocks.Table(header, rows, note),
    blocks.Picture("regions", "Regions.", caption),
  ]


_SAME = (
  "; where a difference is not the same in all subjects, its interval is too narrow"
)
_WHY = {
  "subject / region": _SAME,
  "subject": "; levels of subjects and of their single regions cannot be told apart"
  f"{_SAME}",
  "region": "; all regions are of one subject, and the differences hold for it alone",
}


def _sentence(effect, reference: str) -> str:
  low, high = effect.ci95
  interval = _interval(effect.difference, effect.ci95)
  if low <= 0 <= high:
    pair = f"{effect.model} and {reference}"
    return f"No difference in SNR between {pair} can be claimed: {interval}."
  word = "higher" if low > 0 else "lower"
  return f"{effect.model} has a {word} SNR than {reference}: {interval}."


def _interval(difference: float, ci95) -> str:
  text = f"{difference:+.2f} [{ci95[0]:+.2f}, {ci95[1]:+.2f}]"
  return text.replace("-", wording.MINUS)

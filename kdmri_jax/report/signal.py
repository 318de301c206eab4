"""The report's section on signal and noise."""

import numpy as np

from kdmri_jax.report import blocks, wording
from kdmri_jax.report.figures import colours
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
    "rows": [
      {
        "model": model,
        "mean": float(np.mean(values)),
        "sd": float(np.std(values, ddof=1)),
        "n": len(values),
      }
      for model, values in measured.values.items()
    ],
    "effects": [
      {**effect._asdict(), "sentence": _sentence(effect, measured.reference)}
      for effect in measured.effects
    ],
  }


def section(analysis: dict, pictures: dict) -> blocks.Section:
  """SNR in regions; no blocks where none was measured."""
  title = "Signal and noise"
  found = analysis["snr"]
  if not found:
    return blocks.Section(title, [])
  subjects = f"{found['rows'][0]['n']} regions of {len(found['regions'])} volumes"
  effects = {effect["model"]: effect for effect in found["effects"]}
  rows = [
    (
      row["model"],
      f"{row['mean']:.2f} ± {row['sd']:.2f}",
      _difference(effects.get(row["model"])),
      wording.p_value(effects[row["model"]]["p"]) if row["model"] in effects else "",
    )
    for row in found["rows"]
  ]
  header = ("model", "SNR ↑", f"difference to {found['reference']}, 95% interval", "p")
  parts = [
    blocks.Paragraph(
      "SNR is the mean over the standard deviation of the pixels of a region of "
      "homogeneous tissue; a network that blurs raises it, too, so read it beside PSNR "
      "and SSIM. The differences come from the linear mixed-effects model "
      "SNR ~ network + (1 | subject / region)."
    ),
    *(blocks.Paragraph(effect["sentence"]) for effect in found["effects"]),
    blocks.Table(header, rows, subjects, colours=colours(analysis["networks"])),
  ]
  if "regions" in pictures:
    caption = "Targets of some of the slices, with the regions that were measured."
    parts.append(blocks.Picture(pictures["regions"], "Regions.", caption))
  return blocks.Section(title, parts)


def _sentence(effect, reference: str) -> str:
  low, high = effect.ci95
  interval = _interval(effect.difference, effect.ci95)
  if low <= 0 <= high:
    return f"No difference in SNR between {effect.model} and {reference}: {interval}."
  word = "higher" if low > 0 else "lower"
  return f"{effect.model} has a {word} SNR than {reference}: {interval}."


def _difference(effect) -> str:
  return _interval(effect["difference"], effect["ci95"]) if effect else ""


def _interval(difference: float, ci95) -> str:
  text = f"{difference:+.2f} [{ci95[0]:+.2f}, {ci95[1]:+.2f}]"
  return text.replace("-", wording.MINUS)

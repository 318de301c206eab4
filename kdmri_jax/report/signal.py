"""The report's blocks on signal and noise."""

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
    "rows": [{"model": m, **spread(found)} for m, found in measured.values.items()],
    "effects": [
      {**effect._asdict(), "sentence": _sentence(effect, measured.reference)}
      for effect in measured.effects
    ],
  }


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
    (
      row["model"],
      f"{row['mean']:.2f} ± {row['sd']:.2f}",
      *tested.get(row["model"], ("", "")),
    )
    for row in found["rows"]
  ]
  header = ("model", "SNR ↑", f"difference to {found['reference']}, 95% interval", "p")
  note = f"{found['rows'][0]['n']} regions of {len(found['regions'])} volumes"
  caption = "Targets of some of the slices, with the regions that were measured."
  return [
    blocks.Paragraph(
      "SNR is the mean over the standard deviation of the pixels of a region of "
      "homogeneous tissue; a network that blurs raises it, too, so read it beside PSNR "
      "and SSIM. The differences come from the linear mixed-effects model "
      "SNR ~ network + (1 | subject / region)."
    ),
    *(blocks.Paragraph(effect["sentence"]) for effect in found["effects"]),
    blocks.Table(header, rows, note),
    blocks.Picture("regions", "Regions.", caption),
  ]


def _sentence(effect, reference: str) -> str:
  low, high = effect.ci95
  interval = _interval(effect.difference, effect.ci95)
  if low <= 0 <= high:
    return f"No difference in SNR between {effect.model} and {reference}: {interval}."
  word = "higher" if low > 0 else "lower"
  return f"{effect.model} has a {word} SNR than {reference}: {interval}."


def _interval(difference: float, ci95) -> str:
  text = f"{difference:+.2f} [{ci95[0]:+.2f}, {ci95[1]:+.2f}]"
  return text.replace("-", wording.MINUS)

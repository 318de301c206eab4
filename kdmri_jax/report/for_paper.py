"""The report's blocks for a paper: methods paragraphs and the CLAIM checklist."""

from kdmri_jax.report import blocks, claim, methods_text
from kdmri_jax.report.inputs import ReportInput


def methods(inputs: ReportInput, analysis: dict) -> list:
  """The methods paragraphs, as in methods.md."""
  texts = methods_text.paragraphs(inputs, analysis)
  return [blocks.Paragraph(f"{heading}. {text}") for heading, text in texts.items()]


def checklist(inputs: ReportInput, analysis: dict) -> list:
  """The table of the checklist, as in claim.csv."""
  found = claim.items(inputs, analysis)
  known = sum(item.answer != claim.YOURS for item in found)
  text = (
    "CLAIM, the Checklist for Artificial Intelligence in Medical Imaging (2024 update: "
    f"doi 10.1148/ryai.240300), has {len(found)} items. This run knows something about "
    f"{known} of them; read each against the published words before it goes to a "
    "journal."
  )
  rows = [(str(item.number), item.topic, item.answer) for item in found]
  header = ("item", "asks for", "this run")
  return [blocks.Paragraph(text), blocks.Table(header, rows, texts=True)]

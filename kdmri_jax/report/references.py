"""BibTeX of this software and of the papers whose methods and data a run uses."""

import re
from collections.abc import Iterator
from importlib import resources

import kdmri_jax
from kdmri_jax import config as config_lib
from kdmri_jax.config import DataConfig, ExperimentConfig
from kdmri_jax.report.inputs import ReportInput

# Names in the registries -> keys in templates/references.bib.
LOSSES = {
  "l1": (),
  "mse": (),
  "ssim": ("wang2004ssim",),
  "perceptual": ("johnson2016perceptual", "simonyan2015vgg"),
  "activation_boundary": ("heo2019boundaries",),
  "attention_transfer": ("zagoruyko2017attention",),
  "attentive_hint": ("saputra2019odometry",),
  "attentive_imitation": ("saputra2019odometry",),
  "channel_wise": ("shu2021channel",),
  "correlation_congruence": ("peng2019correlation",),
  "factor_transfer": ("kim2018factor",),
  "feature_affinity": ("he2020fakd",),
  "fitnets": ("romero2015fitnets",),
  "fsp": ("yim2017fsp",),
  "imitation": (),  # KD-MRI's own
  "kspace_imitation": (),  # of this project
  "masked_generative": ("yang2022masked",),
  "nst": ("huang2017nst",),
  "pkt": ("passalis2018pkt",),
  "review": ("chen2021review",),
  "rkd": ("park2019rkd",),
  "similarity_preserving": ("tung2019similarity",),
  "teacher_bounded": ("chen2017detection",),
  "vid": ("ahn2019vid",),
}
NETWORKS = {
  "dccnn": ("schlemper2018dccnn",),
  "edsr": ("lim2017edsr",),
  "swinir": ("liang2021swinir",),
  "unet": ("ronneberger2015unet",),
  "varnet": ("sriram2020varnet",),
  "vdsr": ("kim2016vdsr",),
}
SOURCES = {  # of data sets; plain files have no paper of their own
  "acdc": ("bernard2018acdc",),
  "calgary_campinas": ("souza2018calgary",),
  "calgary_multi": ("souza2018calgary", "beauferris2022multi"),
  "fastmri": ("zbontar2018fastmri", "knoll2020fastmri"),
  "hammernik": ("hammernik2018variational",),
  "ixi": ("ixi",),
  "mni152": ("fonov2011unbiased",),
  "mrbrains13": ("mendrik2015mrbrains",),
  "mrbrains18": ("kuijf2018mrbrains",),
}
_OPTIMISERS = {
  "adam": ("kingma2015adam",),
  "adamw": ("loshchilov2019adamw",),
  "muon": ("jordan2024muon", "kingma2015adam"),
}
_KERNELS = {"parallel": ("ding2021repvgg",), "expanded": ("guo2020expandnets",)}
_METRICS = {
  "ssim": ("wang2004ssim",),
  "hfen": ("ravishankar2011hfen",),
  "vif": ("sheikh2006vif",),
}
_ALWAYS = ("kdmri_jax", "murugesan2020kdmri", "bradbury2018jax", "heek2020flax")
_HEAD = """\
% This software, and the papers whose methods and data this run uses. Losses, networks
% and metrics of your own, and data in plain files, have no entry: add their sources.

"""


def keys(inputs: ReportInput) -> list[str]:
  """The keys of the papers of a run, each once.

  Args:
    inputs: of its report. A source that is not among `SOURCES`, and any loss, network
      or metric by import path, has none.
  """
  found = [*_ALWAYS, *_of_config(config_lib.parse(inputs.config), inputs)]
  for name in inputs.tables.metrics:
    found += _METRICS.get(name, ())
  return list(dict.fromkeys(found))


def bibtex(chosen: list[str]) -> str:
  """The entries of these keys, in this order."""
  entries = entries_by_key()
  return _HEAD + "\n\n".join(entries[key] for key in chosen) + "\n"


def entries_by_key() -> dict[str, str]:
  """Key -> entry, of all papers that are known."""
  path = resources.files("kdmri_jax.report") / "templates" / "references.bib"
  text = path.read_text(encoding="utf-8").replace("VERSION", kdmri_jax.__version__)
  entries = re.split(r"\n\n(?=@)", text.strip())
  return {entry.partition("{")[2].partition(",")[0]: entry for entry in entries}


def _of_config(config: ExperimentConfig, inputs: ReportInput) -> Iterator[str]:
  data = config.data
  for each in (data, data.of_tested, data.of_inputs if data.inputs.given else data):
    yield from _of_data(each)
  if inputs.dataset.get("simulated_kspace") is not False:
    yield "shimron2022crimes"
  several = config.coils.count or inputs.dataset.get("coils", 1) > 1
  if several:
    yield "pruessmann2001cgsense"
  for name in config.pipeline:
    stage = config.stages[name]
    model = config.models[stage.model]
    yield from NETWORKS.get(model.network, ())
    if several and model.network == "dccnn":
      by_gradient = model.settings.get("consistency") == "gradient"
      yield "hammernik2018variational" if by_gradient else "aggarwal2019modl"
    if name not in inputs.given:
      yield from _of_training(config, name)


def _of_data(data: DataConfig) -> Iterator[str]:
  yield from SOURCES.get(data.source, ())
  if data.combine in ("sense", "none") and data.sensitivities == "espirit":
    yield "uecker2014espirit"


def _of_training(config: ExperimentConfig, name: str) -> Iterator[str]:
  stage, augment = config.stages[name], config.augment_of(name)
  for term in stage.terms.values():
    if term.weight:
      yield from LOSSES.get(term.loss, ())
      if term.loss == "teacher_bounded" and term.variant != "paper":
        yield "saputra2019odometry"
  if stage.branches:
    yield "gayathri2023sft"
  if stage.swap:
    yield "xu2020theseus"
  yield from _OPTIMISERS.get(stage.optimiser, ())
  yield from _KERNELS.get(stage.kernels, ())
  if stage.schedule == "cosine":
    yield "loshchilov2017sgdr"
  if augment.varies and stage.all_teachers:
    yield "beyer2022patient"
  if augment.mixup:
    yield "zhang2018mixup"

"""Selects the published numbers whose settings match the experiment."""

from kdmri_jax import config as config_lib
from kdmri_jax.config import ExperimentConfig


def comparable(
  config: ExperimentConfig,
) -> tuple[dict[str, tuple[float, ...]], list[str]]:
  """The published numbers that hold for an experiment.

  Returns:
    `evaluation.published`, or {} where a setting differs from
    `evaluation.published_on`; then also a sentence for the report on the difference.
  """
  settings = config_lib.to_dict(config)
  holds_for, settings = (
    settings["evaluation"]["published_on"],
    config_lib.flat(settings),
  )
  different = [
    f"{key} is {settings[key]!r} here and {value!r} there"
    for key, value in holds_for.items()
    if settings[key] != value
  ]
  if not (config.evaluation.published and different):
    return config.evaluation.published, []
  source = config.evaluation.published_source
  note = f"The published numbers ({source}) are omitted: {', '.join(different)}."
  return {}, [note]

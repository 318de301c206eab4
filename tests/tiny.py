"""A whole experiment small enough for a test."""

from experiments import base


def tiny_config(protocol="paper", **changes):
  """Two cascades, few features, eight phantoms of 24x20; keys as in the config file."""
  config = base.get_config(protocol)
  config.name = "tiny"
  config.epochs = 2
  config.devices = 2
  config.data.phantom.update(subjects=8, slices=3, size=(24, 20), family="brain")
  config.mask.update(acceleration=3.0, centre_lines=4)
  for stage in config.stages.values():
    stage.learning_rate = 3e-3
  for model in config.models.values():
    model.update(cascades=2, features=4)
  for stage in config.stages.values():
    for term in stage.terms.values():
      term.guided, term.hint = term.guided[:2], term.hint[:2]
  config.evaluation.bootstrap = 200
  config.update(changes)
  return config

"""The part of the schema on what shows a run while it trains."""

import dataclasses

from kdmri_jax.config.setting import Settings, setting


@dataclasses.dataclass(frozen=True)
class WatchConfig(Settings):
  """What shows a run while it trains, see docs/runs.md.

  TensorBoard's files are always written.

  Attributes:
    image_every: epochs between two images of a validation slice: input, output, target
      and residue. The last epoch has one, too. 0 for none.
    tracker: "mlflow" also logs the run with MLflow, into WORKDIR/mlflow or where the
      environment variable MLFLOW_TRACKING_URI says (`pip install '.[mlflow]'`); "" for
      no tracker.
  """

  image_every: int = setting(10, least=0)
  tracker: str = setting("", choices=("", "mlflow"))

"""The metrics by name, and functions that compute several at once."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from kdmri_jax import lookup
from kdmri_jax.errors import ArgumentError
from kdmri_jax.metrics import quality
from kdmri_jax.metrics.high_frequency import HFEN, HFN
from kdmri_jax.metrics.metric import Metric
from kdmri_jax.metrics.squared_error import MSE, NMSE, PSNR
from kdmri_jax.metrics.structural_similarity import SSIM
from kdmri_jax.metrics.visual_information import VIF

METRICS: dict[str, Metric] = {
  "psnr": PSNR,
  "ssim": SSIM,
  "mse": MSE,
  "nmse": NMSE,
  "hfn": HFN,
  "hfen": HFEN,
}

# Measured only where they are asked for.
OPTIONAL: dict[str, Metric] = {"vif": VIF}

# Other columns of the tables with metrics.
_TAKEN = {"model", "seed", "volume", "subject", "protocol", "slice", "empty_slices"}
_TAKEN |= {"parameters", "steps", "minutes", "n_seeds", "published"}
_TAKEN |= {"target_key", "prediction_key"}


def resolve(metrics: Sequence[str]) -> dict[str, Metric]:
  """Finds metrics by name.

  Args:
    metrics: keys of `METRICS` and `OPTIONAL`, or import paths `package.module:name` of
      a `Metric`.

  Returns:
    Name -> metric, in this order; an imported metric is named by the part after the
    colon.

  Raises:
    ArgumentError: no name, an unknown one, or two metrics of one name.
  """
  found: dict[str, Metric] = {}
  for path in metrics:
    metric = lookup.find("metrics", path, METRICS | OPTIONAL)
    name = path.rpartition(":")[2]
    if not isinstance(metric, Metric):
      kind = f"{path!r}, which is a {type(metric).__name__}"
      raise ArgumentError("metrics", kind, "a kdmri_jax.metrics.Metric")
    if name in found or name in _TAKEN:
      kind = "a second metric of this name" if name in found else "a column's name"
      raise ArgumentError("metrics", f"{path!r}, {kind}", "names that differ")
    found[name] = metric
  if not found:
    raise ArgumentError("metrics", "none", f"some of {', '.join(METRICS | OPTIONAL)}")
  return found


def all(  # the name that users look for; builtins.all is not used here
  target: ArrayLike,
  prediction: ArrayLike,
  protocol: str = "kdmri",
  *,
  metrics: Mapping[str, Metric] = METRICS,
) -> dict[str, float]:
  """Every metric of a reconstruction.

  Args:
    target: fully sampled magnitude of about 0..1, [H, W] or [S, H, W].
    prediction: reconstruction of the same shape.
    protocol: "kdmri", "slice" or "fastmri", see `kdmri_jax.protocols`.
    metrics: name -> metric.

  Returns:
    Name -> value of the volume; NaN where undefined, infinite PSNR where perfect.

  Raises:
    ArgumentError: shapes differ, values are not real and finite, images are smaller
      than the 7x7 pixels of the SSIM window, the target has no signal, or the protocol
      is unknown.
  """
  return quality.measure(target, prediction, metrics, (protocol,))[protocol].volume


def per_slice(
  target: ArrayLike,
  prediction: ArrayLike,
  protocol: str = "kdmri",
  *,
  metrics: Mapping[str, Metric] = METRICS,
) -> dict[str, np.ndarray]:
  """Every metric of each slice of a reconstruction, as input of `statistics.compare`.

  Args:
    target: fully sampled magnitude of about 0..1, [S, H, W].
    prediction: reconstruction of the same shape.
    protocol: "kdmri" and "fastmri" take the volume's maximum as range of PSNR and SSIM,
      "slice" each slice's own.
    metrics: name -> metric.

  Returns:
    Name -> values [S]; NaN where undefined, such as for slices without signal.

  Raises:
    ArgumentError: as `all`.
  """
  return quality.measure(target, prediction, metrics, (protocol,))[protocol].slices

"""An ONNX file as a stage: its images, computed once from the inputs of the run."""

import threading

import jax
import numpy as np
import tqdm

from kdmri_jax.data.slice_set import SliceSet
from kdmri_jax.interop.onnx_network import OnnxNetwork
from kdmri_jax.training import batches
from kdmri_jax.training.given_stage import GivenImages
from kdmri_jax.training.stage_networks import complete
from kdmri_jax.types import Acquisition, Slices

_AT_ONCE = 8  # slices


class GivenOnnx(GivenImages):
  """A network in an ONNX file.

  It gets the inputs that the run gives its networks. What it has computed is kept for
  all stages and seeds.

  Args:
    text: the file.
    where: the config's key.
    channels: of the images.

  Raises:
    UserError: see `OnnxNetwork`.
  """

  kind = "an ONNX file"
  is_measured_anew = True

  def __init__(self, text: str, where: str, channels: int):
    super().__init__(text, where)
    self._network = OnnxNetwork(text, channels)
    self.parameters = self._network.parameters
    self._kept: dict[tuple[SliceSet, int, int], np.ndarray] = {}
    self._lock = threading.Lock()  # seeds may train side by side

  @property
  def digest(self) -> str:
    """Digest of the file."""
    return self._network.digest

  def covers(self, slices: SliceSet) -> bool:
    """See `GivenImages.covers`: it can compute all."""
    return True

  def check(self, slices: SliceSet, part: int, one: Slices, by: Acquisition) -> None:
    """See `GivenImages.check`: computes one slice."""
    self._images(one, by)

  def of_part(
    self, slices: SliceSet, part: int, rows: Slices, by: Acquisition
  ) -> np.ndarray:
    """See `GivenImages.of_part`."""
    key = slices, part, 0 if rows.task is None else int(rows.task[0])
    with self._lock:
      if key not in self._kept:
        order = batches.in_order(batches.counts([rows]), _AT_ONCE)
        loaded = batches.load([rows], order)
        shown = tqdm.tqdm(loaded, self.text, len(order), unit="batch", disable=None)
        self._kept[key] = np.concatenate([self._images(each, by) for each in shown])
      return self._kept[key]

  def _images(self, slices: Slices, by: Acquisition) -> np.ndarray:
    batch = jax.device_get(_complete(slices, by))
    return self._network(batch.zero_filled, *batch.measurement[:2])


_complete = jax.jit(complete)

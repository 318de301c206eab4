"""An ONNX file as a stage: its layers, computed once from the inputs of the run."""

import threading
from collections.abc import Sequence

import jax
import numpy as np
import tqdm

from kdmri_jax.data.slice_set import SliceSet
from kdmri_jax.interop.onnx_network import OnnxNetwork
from kdmri_jax.io.reading import refuse_memory
from kdmri_jax.training import batches
from kdmri_jax.training.given_stage import GivenImages
from kdmri_jax.training.stage_networks import complete
from kdmri_jax.types import Acquisition, Slices

_AT_ONCE = 8  # slices


class GivenOnnx(GivenImages):
  """A network in an ONNX file.

  It gets the inputs that the run gives its networks. Images that it has computed are
  kept for all stages and seeds; its other layers are computed for each again.

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
    self.parameters, self.hidden = self._network.parameters, self._network.hidden
    self._kept: dict[tuple[SliceSet, int, int], dict[str, np.ndarray]] = {}
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
    self._layers((), one, by)

  def of_part(
    self,
    slices: SliceSet,
    part: int,
    rows: Slices,
    by: Acquisition,
    hidden: Sequence[str] = (),
  ) -> dict[str, np.ndarray]:
    """See `GivenImages.of_part`."""
    if hidden:
      return self._of_rows(hidden, rows, by)
    key = slices, part, 0 if rows.task is None else int(rows.task[0])
    with self._lock:
      if key not in self._kept:
        self._kept[key] = self._of_rows((), rows, by)
      return self._kept[key]

  def shapes(
    self, hidden: Sequence[str], one: Slices, by: Acquisition
  ) -> dict[str, jax.ShapeDtypeStruct]:
    """See `GivenImages.shapes`: computes one slice where there are other layers."""
    if not hidden:
      return super().shapes(hidden, one, by)
    found = self._layers(hidden, one, by)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), found)

  def _of_rows(
    self, hidden: Sequence[str], rows: Slices, by: Acquisition
  ) -> dict[str, np.ndarray]:
    (count,) = batches.counts([rows])
    order = batches.in_order([count], _AT_ONCE)
    loaded = batches.load([rows], order)
    shown = tqdm.tqdm(loaded, self.text, len(order), unit="batch", disable=None)
    found: dict[str, np.ndarray] = {}
    for (_, own), each in zip(order, shown, strict=True):
      for name, layer in self._layers(hidden, each, by).items():
        if name not in found:
          refuse_memory(self.text, (count, *layer.shape[1:]), layer.itemsize)
          found[name] = np.empty((count, *layer.shape[1:]), layer.dtype)
        found[name][own] = layer
    return found

  def _layers(
    self, hidden: Sequence[str], slices: Slices, by: Acquisition
  ) -> dict[str, np.ndarray]:
    batch = jax.device_get(_complete(slices._replace(given=None), by))
    measured = batch.zero_filled, *batch.measurement[:2]
    return self._network.layers(hidden, *measured)


_complete = jax.jit(complete)

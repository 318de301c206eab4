"""A stage that is not trained here, and where it comes from."""

import abc
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from kdmri_jax.data import digests
from kdmri_jax.data.slice_set import SliceSet
from kdmri_jax.errors import UserError
from kdmri_jax.types import Acquisition, Slices


@dataclasses.dataclass(frozen=True)
class Origin:
  """The origin of a given stage, for one seed of this run.

  Attributes:
    text: a description, such as "runs/other/teacher, seed 42".
    digests: of its weights, as `Progress.weights`; for outputs the digest of the
      images.
    record: of its training, see `records.describe`; None where unknown.
    training_sets: its training subjects, including those of stages that it depends on:
      dicts {"population", "subjects": {name: digests of slices}}.
    complete: whether the list of training subjects is complete, as far as known.
    chosen_on: the subjects on which its epoch was chosen: {"population", "subjects":
      names}; {} where unknown.
  """

  text: str
  digests: Mapping[str, str]
  record: Mapping[str, Any] | None = None
  training_sets: Sequence[Mapping[str, Any]] = ()
  complete: bool = False
  chosen_on: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Given:
  """A stage that is not trained here.

  This class holds weights from a file; its subclasses are the stage of a run and a
  folder of images.

  Attributes:
    text: the setting in the config.
    where: the config's key.
    params: the weights, the same for every seed; {} of other stages.
    known: where they come from, if that is known.
  """

  text: str
  where: str
  params: Any = dataclasses.field(default_factory=dict)
  known: Origin | None = None

  def weights(self, seed: int, shapes: Any, item: str = "best") -> Any:
    """The weights for a seed of this run; arguments as `StageFolder.weights`."""
    del seed, shapes
    if item != "best":
      found = f"{self.text!r}, which has no {item}"
      raise UserError(self.where, found, f"a run's stage, which keeps its {item}")
    return self.params

  def origin(self, seed: int) -> Origin:
    """The origin of the weights or images for a seed of this run."""
    del seed
    return self.known or Origin(self.text, {"best": self.digest})

  @functools.cached_property
  def digest(self) -> str:
    """Digest of the weights."""
    return digests.of_weights(self.params)


class GivenImages(Given, abc.ABC):
  """A stage of which the images are known, and perhaps other layers: it has no weights.

  Attributes:
    kind: what is given, for messages.
    hidden: the names of its other layers.
    parameters: number of its network's parameters, where known.
    is_measured_anew: whether the images are computed from any measurement, such as
      that of each task; else they belong to one.
  """

  kind = ""
  hidden: tuple[str, ...] = ()
  parameters: int | None = None
  is_measured_anew = False

  @abc.abstractmethod
  def covers(self, slices: SliceSet) -> bool:
    """Whether there are images of each volume of a set."""

  @abc.abstractmethod
  def check(self, slices: SliceSet, part: int, one: Slices, by: Acquisition) -> None:
    """Refuses a stage without images of a part of a set; see `of_part`.

    Args:
      slices: the set.
      part: number of the part.
      one: a slice of it.
      by: how it is measured.

    Raises:
      UserError: it has none.
    """

  @abc.abstractmethod
  def of_part(
    self,
    slices: SliceSet,
    part: int,
    rows: Slices,
    by: Acquisition,
    hidden: Sequence[str] = (),
  ) -> dict[str, np.ndarray]:
    """The layers of a part of a set, by name.

    Args:
      slices: the set.
      part: number of the part.
      rows: its slices for one task.
      by: how they are measured.
      hidden: layers beside `image`, out of the attribute of this name.

    Returns:
      `image`, float32 [N, H, W, C], and the others, float32 [N, ...].
    """

  def shapes(
    self, hidden: Sequence[str], one: Slices, by: Acquisition
  ) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and types of the layers of one slice, as `of_part` gives them."""
    del hidden, by
    return {"image": jax.ShapeDtypeStruct(one.target.shape, np.float32)}


def layers_of_tasks(
  teachers: Sequence[Sequence[GivenImages]],
  hidden: Sequence[str],
  where: tuple[SliceSet, int],
  rows: Sequence[Slices],
  by: Acquisition,
) -> dict[str, np.ndarray]:
  """The layers of the teachers of several tasks, by name, one task after the other.

  Args:
    teachers: of each task; of several the mean, which then stands for each of them; of
      none zeros.
    hidden: see `GivenImages.of_part`; () where there are several teachers.
    where: a set of slices, and the number of a part of it.
    rows: the part's slices for each task.
    by: how they are measured.

  Returns:
    float32 [N, ...], a row for each slice and task.
  """

  def of_task(own: Sequence[GivenImages], rows: Slices) -> dict[str, np.ndarray]:
    if not own:
      return {"image": np.zeros(rows.target.shape, np.float32)}
    found = [each.of_part(*where, rows, by, hidden) for each in own]
    return jax.tree.map(lambda *x: np.mean(x, axis=0) if x[1:] else x[0], *found)

  each = map(of_task, teachers, rows)
  return jax.tree.map(lambda *x: np.concatenate(x) if x[1:] else x[0], *each)

"""The branches of SFT-KD-Recon: the student's blocks continue from the teacher's.

Gayathri et al., MIDL 2023: after each cascade of the teacher but the last, the rest of
the student follows, so that the teacher learns images its student can work with.
"""

from flax import linen as nn

from kdmri_jax.errors import ArgumentError
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.types import Array, Measurement


class Branches(nn.Module):
  """Runs the student's cascades i+1 .. N on the image after the teacher's cascade i.

  The branches share the student's weights; its first cascade is not used.

  Attributes:
    student: the network whose blocks branch off; as many cascades as the teacher.
  """

  student: DCCNN

  def __call__(
    self, features: dict[str, Array], measurement: Measurement
  ) -> dict[str, Array]:
    """The branches' images.

    Args:
      features: the teacher's, with `consistency_1` .. `consistency_N`.
      measurement: k-space [B, H, W] and mask.

    Returns:
      `branch_i` -> [B, H, W, C], i = 1 .. N-1.
    """
    images = {}
    for i in range(1, self.student.cascades):
      start = features[f"consistency_{i}"]
      images[f"branch_{i}"] = self.student(start, measurement, first=i + 1).image
    return images


def build(student: nn.Module, teacher: nn.Module) -> Branches:
  """The branches of a student's blocks off a teacher.

  Raises:
    ArgumentError: they are not DC-CNNs of equally many cascades, two at least; names
      `branches`.
  """
  networks = (student, teacher)
  cascades = [n.cascades if isinstance(n, DCCNN) else 0 for n in networks]
  if cascades[0] != cascades[1] or cascades[0] < 2:
    names = [type(n).__name__ for n in networks]
    found = f"a {names[0]} of {cascades[0]} cascades, and a {names[1]} of {cascades[1]}"
    expected = "two DC-CNNs of equally many cascades, two at least"
    remedy = "Set equal `cascades`, or leave `branches` empty."
    raise ArgumentError("branches", f"{found} as its teacher", expected, remedy)
  return Branches(student)

"""The part of the schema on the data."""

import dataclasses
import pathlib

from kdmri_jax.config.setting import Settings, keys, setting
from kdmri_jax.errors import ArgumentError

COMBINATIONS = ("", "rss", "sense", "none")
SENSITIVITIES = ("espirit", "low_resolution", "given")
MATCHES = ("name", "subject")


@dataclasses.dataclass(frozen=True)
class PhantomConfig(Settings):
  """Synthetic subjects (`data.source = "phantom"`).

  Attributes:
    family: "brain", "cardiac", "knee", or "mixed" for all in turn.
    subjects: number of subjects.
    slices: slices per subject.
    size: rows and columns.
    seed: the same seed gives the same subjects.
    phase: True for complex images with a smooth phase (two-channel networks).
  """

  family: str = setting("mixed")
  subjects: int = setting(30, least=1)
  slices: int = setting(8, least=1)
  size: tuple[int, int] = setting((96, 96), least=1)
  seed: int = setting(0, least=0)
  phase: bool = setting(False)


@dataclasses.dataclass(frozen=True)
class InputsConfig(Settings):
  """Inputs that are given beside the targets, see `data.pairs`.

  With any of the first four, the volumes of the source are targets, and what the
  networks get is made of the inputs. What is not set is as for the targets.

  Attributes:
    root: their folder.
    source: their source.
    contrast: which image of a subject they are.
    variable: name of their array.
    match: "name" pairs input and target volumes of one name, "subject" those of one
      subject, which then has one volume of each.
    kspace: whether the networks get the k-space that was measured with the inputs, of
      one coil or several, in place of k-space that is simulated from their images.
  """

  root: str = setting("", free=True, place=True)
  source: str = setting("")
  contrast: str = setting("")
  variable: str = setting("")
  match: str = setting("name", choices=MATCHES)
  kspace: bool = setting(False)

  def __post_init__(self):
    super().__post_init__()
    for name, default in (("match", "name"), ("kspace", False)):
      if getattr(self, name) != default and not self.given:
        found = f"{getattr(self, name)!r}, although no inputs are given"
        raise ArgumentError(name, found, repr(default), "Or set their root.")

  @property
  def given(self) -> bool:
    """Whether inputs are given."""
    return bool(self.root or self.source or self.contrast or self.variable)


@dataclasses.dataclass(frozen=True)
class SourceConfig(Settings):
  """A source of volumes.

  Attributes:
    source: a name in the table of `kdmri_jax/data/sources`.
    root: folder of the source; unused by "phantom" and "mni152".
    include: globs on volume names; only matching volumes are used; () takes all.
    subject_pattern: regular expression found in a file's path below `root`; what
      it matches (its first group, where it has one) names the subject. "" takes
      the source's own rule.
    contrast: which image of a subject, where a source has several, such as "T1"; ""
      takes the source's default.
    combine: how the images of several coils are combined: "rss" (root sum of squares,
      real) or "sense" (by the coils' sensitivities, complex); "none" keeps the k-space
      of the coils, whose combination is then the target alone; "" takes the source's
      default.
    sensitivities: of the coils, for combine="none": estimated from the centre of
      k-space by "espirit" or "low_resolution", or "given" in the files that "sense"
      reads.
    acceleration_tag: suffix of the stored keys of "kdmri", such as "4x".
    kdmri_type: dataset folder of "kdmri", such as "mrbrain"; "" if `root` is it.
    crop: rows and columns to crop or zero-pad to about the centre; (0, 0) keeps. The
      log and the report say which images were padded.
    slices_per_volume: this many central slices of each volume; 0 takes all.
    phantom: settings of the "phantom" source.
    inputs: inputs of the networks, given beside the targets.
    variable: name of the array in the files of "arrays"; "" takes the only one.
    axes: axes of that array in their order, out of "slices", "rows", "columns" and,
      with `repeats`, "repeats", or of k-space "coils"; () takes slices first, of .mat
      last.
    repeats: of the repeated acquisitions of a scan, the mean of this many is
      an input and the mean of the others its target, each in turn; 0 for files of one
      acquisition.
    repeat_pattern: regular expression; volumes whose names differ only in what it
      matches are the repeats of one scan, in files of their own. "" for repeats within
      a file or series.
  """

  source: str = setting("")
  root: str = setting("", free=True, place=True)
  include: tuple[str, ...] = setting(())
  subject_pattern: str = setting("")
  contrast: str = setting("")
  combine: str = setting("", choices=COMBINATIONS)
  sensitivities: str = setting("espirit", choices=SENSITIVITIES)
  acceleration_tag: str = setting("4x")
  kdmri_type: str = setting("")
  crop: tuple[int, int] = setting((0, 0), least=0)
  slices_per_volume: int = setting(0, least=0)
  phantom: PhantomConfig = setting(PhantomConfig)
  inputs: InputsConfig = setting(InputsConfig)
  variable: str = setting("")
  axes: tuple[str, ...] = setting(())
  repeats: int = setting(0, least=0)
  repeat_pattern: str = setting("")

  def __post_init__(self):
    super().__post_init__()
    if self.repeat_pattern and not self.repeats:
      found = f"{self.repeat_pattern!r}, with repeats=0"
      remedy = "Or set repeats to the number of those in an input."
      raise ArgumentError("repeat_pattern", found, "''", remedy)


@dataclasses.dataclass(frozen=True)
class OtherSourceConfig(SourceConfig):
  """A source of its own for the test subjects; source "" for none.

  Scaling, mask and noise are those of the training; slices of another shape get a mask
  of that shape.
  """

  def __post_init__(self):
    super().__post_init__()
    own = keys(type(self)).items()
    others = [name for name, key in own if getattr(self, name) != key.default]
    if others and not self.source:
      found = f"none, although {others[0]} is set"
      raise ArgumentError("source", found, "the source of the test subjects")


@dataclasses.dataclass(frozen=True)
class DataConfig(SourceConfig):
  """The volumes and their split.

  Attributes:
    scaling: "volume_max" divides by the volume's largest magnitude, where inputs are
      given by that of the input; "none" keeps.
    memory_mb: memory for the stored slices; reading needs twice as much, and each
      further task as much again. Larger prepared volumes stay in their files and are
      read during training; larger other sources are refused.
    train: globs on subjects; () takes all that are in no other split.
    validation: globs on subjects; () lets `validation_fraction` decide.
    test: globs on subjects held out for the final evaluation; () for none, then the
      evaluation uses the validation subjects and the report says so. With a test source
      globs on its subjects; () then takes all of these.
    use_test: False keeps the test subjects out of all splits, and the evaluation uses
      the validation subjects: for studies that choose a recipe.
    validation_fraction: share of the subjects, drawn by `split_seed`.
    split_seed: seed of that draw.
    test_source: a source of its own for the test subjects, such as another anatomy,
      contrast or field strength. No subject of `source` is then tested.
  """

  source: str = setting("phantom")
  scaling: str = setting("volume_max", choices=("volume_max", "none"))
  memory_mb: int = setting(8192, free=True)
  train: tuple[str, ...] = setting(())
  validation: tuple[str, ...] = setting(())
  test: tuple[str, ...] = setting(())
  use_test: bool = setting(True)
  validation_fraction: float = setting(0.2, least=0, most=1)
  split_seed: int = setting(0, least=0)
  test_source: OtherSourceConfig = setting(OtherSourceConfig)

  @property
  def of_tested(self) -> "DataConfig":
    """The settings of the source of the test subjects."""
    own = self.test_source
    return dataclasses.replace(self, **vars(own)) if own.source else self

  @property
  def of_inputs(self) -> "DataConfig":
    """The settings of the source of the given inputs."""
    own = {key: value for key, value in vars(self.inputs).items() if value}
    by_name = own.pop("match") == "name"
    own.pop("kspace", None)
    include = self.include if by_name else ()
    return dataclasses.replace(self, inputs=InputsConfig(), include=include, **own)

  @property
  def label(self) -> str:
    """The source in words, such as "ixi (T2)", "phantom (brain)", "nifti (FOLDER)"."""
    family = self.phantom.family if self.source == "phantom" else ""
    detail = family or self.contrast or pathlib.PurePath(self.root).name
    return f"{self.source} ({detail})" if detail else self.source

  @property
  def population(self) -> str:
    """The population of the subjects: "" for measured ones, one per seed of phantoms.

    Subjects of one name are the same only within a population.
    """
    return f"phantoms of seed {self.phantom.seed}" if self.source == "phantom" else ""


@dataclasses.dataclass(frozen=True)
class AugmentConfig(Settings):
  """Random changes of the training slices, drawn in every step.

  They precede the measurement, so teacher and student see the same slices. Intensities
  keep their range.

  Attributes:
    flips: whether slices are mirrored along rows and columns at random.
    rotations: whether they are turned by quarter turns at random; with patches or
      square slices.
    patch: rows and columns of a patch cut at random from input and target, for
      networks that need no k-space; (0, 0) for whole slices.
    degrees: largest angle by which slices are rotated. Rotation, scale and shear use
      linear interpolation, which smooths; so they change a random half of the slices
      of a step.
    scale: largest change in size: the factor is between 1 / (1 + scale) and 1 + scale.
    shear: largest shift of a row against the next one, in pixels.
    gain: largest loss of intensity: the factor is between 1 - gain and 1.
    gamma: largest change in contrast: magnitudes, relative to the slice's largest, get
      an exponent between 1 / (1 + gamma) and 1 + gamma.
    mixup: each slice is mixed with the next one of its batch; its share is drawn from
      the distribution Beta(mixup, mixup). 0 for none.
  """

  flips: bool = setting(False)
  rotations: bool = setting(False)
  patch: tuple[int, int] = setting((0, 0), least=0)
  degrees: float = setting(0.0, least=0, most=180)
  scale: float = setting(0.0, least=0, most=1)
  shear: float = setting(0.0, least=0, most=1)
  gain: float = setting(0.0, least=0, most=0.9)
  gamma: float = setting(0.0, least=0, most=1)
  mixup: float = setting(0.0, least=0)

  @property
  def varies(self) -> bool:
    """Whether any augmentation is enabled."""
    return self != AugmentConfig()

  @property
  def varies_inputs(self) -> bool:
    """Whether slices change before they are measured; patches are cut afterwards."""
    kept = dict(flips=False, rotations=False) if any(self.patch) else {}
    return dataclasses.replace(self, patch=(0, 0), **kept).varies

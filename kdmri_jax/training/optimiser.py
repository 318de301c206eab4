"""How a stage's weights are changed: optimiser, schedule, clipping, averages.

Every optimiser works on (the network's weights, auxiliary weights) together.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from kdmri_jax.config import StageConfig
from kdmri_jax.config.setting import is_number
from kdmri_jax.errors import ArgumentError
from kdmri_jax.lookup import find
from kdmri_jax.models import kernels
from kdmri_jax.training import random_keys, stacked

# Stacked kernels as matrices [N, inputs, outputs].
_MATRICES = contrib.MuonDimensionNumbers(reduction_axis=1, output_axis=2)
_IMAGE_CHANNELS = 2  # the most that an image has


class Averaged(NamedTuple):
  """The state of `averaging`.

  Attributes:
    inner: the state of the optimiser.
    average: the averaged weights.
    count: completed steps, int32.
  """

  inner: Any
  average: Any
  count: Any


def make_optimiser(
  stage: StageConfig, steps_per_epoch: int
) -> optax.GradientTransformation:
  """The optimiser of a stage, with its schedule, clipping and averaged weights.

  Raises:
    ArgumentError: the optimiser is unknown, or does not take its settings; names the
      stage's setting.
  """
  optimiser = _build(stage, make_schedule(stage, steps_per_epoch))
  if stage.clip:
    optimiser = optax.chain(optax.clip_by_global_norm(stage.clip), optimiser)
  return averaging(optimiser, stage.ema) if stage.ema else optimiser


def make_schedule(stage: StageConfig, steps_per_epoch: int) -> optax.Schedule:
  """The learning rate of a step, counted from 0.

  `step` multiplies it by `decay_factor` every `decay_epochs` epochs, those of the
  warm-up counted. `cosine` lowers it from the end of the warm-up on, along half a
  cosine that would reach 0 after the last step. A warm-up of W steps multiplies the
  rate of step k < W by (k + 1) / (W + 1).

  Source: the cosine is that of SGDR without restarts (Loshchilov & Hutter 2017, eq. 5).
  """
  steps = stage.epochs * steps_per_epoch
  warmup = round(stage.warmup * steps)
  if stage.schedule == "cosine":
    rate = _cosine(stage.learning_rate, warmup, steps)
  elif stage.decay_epochs:
    rate = optax.exponential_decay(
      stage.learning_rate,
      transition_steps=stage.decay_epochs * steps_per_epoch,
      decay_rate=stage.decay_factor,
      staircase=True,
    )
  else:
    rate = optax.constant_schedule(stage.learning_rate)
  if not warmup:
    return rate
  return lambda step: rate(step) * jnp.minimum((step + 1) / (warmup + 1), 1)


def _cosine(learning_rate: float, start: int, end: int) -> optax.Schedule:
  cosine = optax.cosine_decay_schedule(learning_rate, max(end - start, 1))
  return lambda step: cosine(jnp.maximum(step - start, 0))


def averaging(
  optimiser: optax.GradientTransformation, decay: float
) -> optax.GradientTransformation:
  """Keeps an exponential moving average of the weights beside an optimiser.

  After step t = 1, 2, ... the average is d * average + (1 - d) * weights with
  d = min(decay, (1 + t) / (10 + t)). So it covers about the last t / 9 steps at first,
  and a short training is not spoilt by its random start.

  Args:
    optimiser: the optimiser, which works as without an average.
    decay: largest d, 0 to 1.

  Source: Polyak & Juditsky 1992; the rising decay is that of TensorFlow's
    `ExponentialMovingAverage`.
  """

  def init(trained):
    average = jax.tree.map(jnp.array, trained)  # a copy: a step reuses the memory
    return Averaged(optimiser.init(trained), average, jnp.zeros((), jnp.int32))

  def update(gradient, state, trained):
    updates, inner = optimiser.update(gradient, state.inner, trained)
    count = state.count + 1
    share = jnp.maximum(1 - decay, 9 / (10 + count))
    new = optax.apply_updates(trained, updates)
    average = optax.incremental_update(new, state.average, share)
    return updates, Averaged(inner, average, count)

  return optax.GradientTransformation(init, update)


def adam(
  learning_rate: optax.Schedule, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> optax.GradientTransformation:
  """Adam, as published.

  Source: Kingma & Ba 2015 (arXiv 1412.6980).
  """
  _check_adam(b1, b2, eps)
  adam = stacked.scale_by_adam(b1=b1, b2=b2, eps=eps)
  return optax.chain(adam, optax.scale_by_learning_rate(learning_rate))


def adamw(
  learning_rate: optax.Schedule,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  weight_decay: float = 1e-2,
) -> optax.GradientTransformation:
  """Adam, and a step by -learning_rate * weight_decay * weight on every kernel.

  Biases and other vectors do not decay.

  Source: Loshchilov & Hutter 2019 (arXiv 1711.05101), as PyTorch implements it.
  """
  _check_adam(b1, b2, eps)
  _check("weight_decay", weight_decay)
  return optax.chain(
    stacked.scale_by_adam(b1=b1, b2=b2, eps=eps),
    optax.add_decayed_weights(weight_decay, _kernels),
    optax.scale_by_learning_rate(learning_rate),
  )


def muon(
  learning_rate: optax.Schedule,
  momentum: float = 0.95,
  rms: float = 1.0,
  weight_decay: float = 0.0,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
) -> optax.GradientTransformation:
  """Muon for hidden kernels, Adam for all other weights.

  A kernel [..., I, O] is a matrix with O columns. Its update is the momentum of its
  gradient (Nesterov), all singular values brought near 1 by five Newton-Schulz steps,
  times learning_rate * rms * sqrt(larger side). So the weights of a kernel of any shape
  change by about rms * learning_rate per step, and a rate that suits Adam suits Muon.
  Liu et al. have an rms of 0.2 for language models; a student learns faster with 1.

  Args:
    learning_rate: of both.
    momentum: decay of Muon's momentum.
    rms: root mean square of the update of a kernel, as a share of the learning rate.
    weight_decay: of the hidden kernels, see `adamw`.
    b1: of Adam.
    b2: of Adam.
    eps: of Adam.

  Source: Jordan et al. 2024 (kellerjordan.github.io/posts/muon); the scale by `rms`:
    Liu et al. 2025 (arXiv 2502.16982, eq. 4).
  """
  _check_adam(b1, b2, eps)
  _check("momentum", momentum, below=1)
  _check("weight_decay", weight_decay)
  _check("rms", rms, above=0)
  orthogonalised = contrib.scale_by_muon(
    beta=momentum,
    weight_dimension_numbers=lambda tree: jax.tree.map(lambda _: _MATRICES, tree),
  )
  hidden = optax.chain(
    _as_matrices(orthogonalised, rms),
    optax.add_decayed_weights(weight_decay),
    optax.scale_by_learning_rate(learning_rate),
  )
  parts = {"muon": hidden, "adam": optax.adam(learning_rate, b1, b2, eps)}
  return optax.partition(parts, muon_groups)


OPTIMISERS: dict[str, Callable[..., optax.GradientTransformation]] = {
  "adam": adam,
  "adamw": adamw,
  "muon": muon,
}


def muon_groups(trained: Any) -> Any:
  """Which weights `muon` gives to Muon ("muon") and which to Adam ("adam").

  Muon takes the kernels between hidden layers. Kernels that read or make an image of
  one or two channels, biases, and tables of other names are Adam's. The convolutions
  that one kernel consists of in training belong to one group, without their identity.

  Args:
    trained: weights; a kernel is a leaf with this name and two axes or more, or the
      parts of one, see `models.kernels`.
  """

  def group(are_kernels, node):
    if kernels.is_split(node):
      node = jax.eval_shape(kernels.merge, node)
    is_hidden = min(node.shape[-2:], default=0) > _IMAGE_CHANNELS
    return jax.tree.map(
      lambda is_kernel: "muon" if is_kernel and is_hidden else "adam", are_kernels
    )

  return jax.tree.map(group, _kernels(trained), trained, is_leaf=kernels.is_split)


def check(stage: StageConfig, shapes: Callable[[], Any]) -> None:
  """Refuses an optimiser that does not take its settings or the stage's weights.

  Args:
    stage: the stage.
    shapes: gives shapes and types of (the network's weights, auxiliary weights); not
      called for an optimiser that takes any.

  Raises:
    ArgumentError: names the stage's setting.
  """
  optimiser = make_optimiser(stage, steps_per_epoch=1)
  if stage.optimiser in ("adam", "adamw"):
    return
  trained, found = shapes(), f"{stage.optimiser!r}"
  expected = "an optimiser for the weights of this stage"
  if stage.optimiser == "muon" and "muon" not in jax.tree.leaves(muon_groups(trained)):
    found += ", for a network without kernels between hidden layers"
    raise ArgumentError("optimiser", found, expected, "Use 'adam'.")
  if stage.optimiser in OPTIMISERS:
    return

  def step(trained):
    return optimiser.update(trained, optimiser.init(trained), trained)[0]

  try:
    updates = jax.eval_shape(step, trained)
  except Exception as error:  # an optimiser of the user's may raise anything
    found += f", which fails ({type(error).__name__}: {error})"
    raise ArgumentError("optimiser", found, expected) from error
  if jax.tree.map(jnp.shape, updates) != jax.tree.map(jnp.shape, trained):
    found += ", whose updates have other shapes than the weights"
    raise ArgumentError("optimiser", found, expected)


def _build(
  stage: StageConfig, schedule: optax.Schedule
) -> optax.GradientTransformation:
  name, settings = stage.optimiser, stage.optimiser_settings
  make = find("optimiser", name, OPTIMISERS)
  expected = "a function (learning rate, **settings) -> optax.GradientTransformation"
  if not callable(make):
    raise ArgumentError("optimiser", f"{name!r}, a {type(make).__name__}", expected)
  try:
    optimiser = make(schedule, **settings)
  except ArgumentError:
    raise
  except Exception as error:  # the function may be the user's own
    found = f"{dict(settings)} ({type(error).__name__}: {error})"
    raise ArgumentError("optimiser_settings", found, f"settings of {name!r}") from error
  if not isinstance(optimiser, optax.GradientTransformation):
    raise ArgumentError("optimiser", f"{name!r}, which returns {optimiser!r}", expected)
  return optimiser if name in OPTIMISERS else random_keys.stored(optimiser)


def _kernels(trained: Any) -> Any:
  """Whether each leaf is a kernel, or a convolution that is a part of one."""

  def is_kernel(path, leaf):
    names = [key.key for key in path if isinstance(key, jax.tree_util.DictKey)]
    return names[-1:] == ["kernel"] and leaf.ndim > 1

  return jax.tree_util.tree_map_with_path(is_kernel, trained)


def _as_matrices(
  optimiser: optax.GradientTransformation, rms: float
) -> optax.GradientTransformation:
  """Works on kernels as matrices, those of one shape stacked, so in few operations.

  The updates, of singular values near 1, get the root mean square `rms`.
  """

  def stack(kernels) -> dict[str, jax.Array]:
    groups: dict[str, list] = {}
    for kernel in jax.tree.leaves(kernels):
      matrix = kernel.reshape(-1, kernel.shape[-1])
      groups.setdefault("x".join(map(str, matrix.shape)), []).append(matrix)
    return {shape: jnp.stack(matrices) for shape, matrices in groups.items()}

  def unstack(stacked: Mapping[str, jax.Array], kernels):
    leaves, structure = jax.tree.flatten(kernels)
    matrices = {shape: iter(each) for shape, each in stacked.items()}
    found = []
    for kernel in leaves:
      shape = kernel.size // kernel.shape[-1], kernel.shape[-1]
      matrix = next(matrices["x".join(map(str, shape))])
      found.append(matrix.reshape(kernel.shape) * (rms * math.sqrt(max(shape))))
    return jax.tree.unflatten(structure, found)

  def init(kernels):
    return optimiser.init(stack(kernels))

  def update(gradient, state, trained=None):
    updates, state = optimiser.update(stack(gradient), state)
    return unstack(updates, gradient), state

  return optax.GradientTransformation(init, update)


def _check_adam(b1: float, b2: float, eps: float) -> None:
  _check("b1", b1, below=1)
  _check("b2", b2, below=1)
  _check("eps", eps, above=0)


def _check(
  name: str, value: Any, *, above: float = -math.inf, below: float = math.inf
) -> None:
  """Refuses a setting that is no number of at least 0 within these bounds."""
  if is_number(value) and 0 <= value < below and value > above:
    return
  bounds = [f"above {above:g}" if above >= 0 else "of at least 0"]
  bounds += [f"below {below:g}"] if below < math.inf else []
  expected = f"a finite number {' and '.join(bounds)}"
  raise ArgumentError(f"optimiser_settings.{name}", f"{value!r}", expected)

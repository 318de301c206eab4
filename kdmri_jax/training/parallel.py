"""One step function, on one device or on several, with the same numbers."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from kdmri_jax import xla_flags
from kdmri_jax.data.stored import is_stored
from kdmri_jax.errors import UserError
from kdmri_jax.training import processes

AXIS = "devices"
_AT_ONCE = 32


def use_cores(at_least: int = 1) -> None:
  """Makes every CPU core a host device; call it before JAX is used.

  XLA runs most operations on one thread, so host devices are needed to use all cores. A
  flag sets one thread for the other operations, too (`xla_flags`). Accelerators are not
  affected.

  Args:
    at_least: lowest number of host devices, even with fewer cores.
  """
  jax.config.update("jax_num_cpu_devices", max(cores(), at_least))
  xla_flags.one_thread_per_operation()


def cores() -> int:
  """The number of CPU cores that this process may use."""
  known = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
  return known or os.cpu_count() or 1


def choose_devices(requested: int, batch_size: int) -> list[jax.Device]:
  """The devices to train on, as many of each process.

  Args:
    requested: number of devices; 0 takes as many as divide the batch.
    batch_size: slices per step, over all devices.

  Raises:
    UserError: more devices than there are, or the batch does not divide over them.
  """
  together = processes.count()
  of_each: list[list[jax.Device]] = [[] for _ in range(together)]
  for device in jax.devices():
    of_each[device.process_index].append(device)
  most = min(map(len, of_each))
  if batch_size % together:
    found = f"{batch_size} slices for {together} processes"
    remedy = f"Set it to {-(-batch_size // together) * together}."
    raise UserError("config.batch_size", found, "a batch that divides evenly", remedy)
  count = requested or together * _largest_divisor(batch_size // together, most)
  if count > together * most:
    expected = f"0 to {together * most}, 0 for all"
    raise UserError("config.devices", f"{count}", expected)
  if count % together:
    found = f"{count} devices for {together} processes"
    remedy = f"Set it to {-(-count // together) * together}, or to 0 for all."
    raise UserError("config.devices", found, "as many of each process", remedy)
  if batch_size % count:
    size, divisor = -(-batch_size // count) * count, _largest_divisor(batch_size, count)
    found = f"{batch_size} slices for {count} devices"
    remedy = f"Set it to {size}, or config.devices to {divisor}."
    raise UserError("config.batch_size", found, "a batch that divides evenly", remedy)
  return [device for devices in of_each for device in devices[: count // together]]


def own(devices: Sequence[jax.Device]) -> list[jax.Device]:
  """Those of some devices that belong to this process."""
  return [device for device in devices if device.process_index == jax.process_index()]


def _largest_divisor(number: int, limit: int) -> int:
  return max(n for n in range(1, limit + 1) if number % n == 0)


def replicate(tree: Any, devices: Sequence[jax.Device]) -> Any:
  """Puts a pytree on every device; of several processes each has devices of its own."""
  sharding = NamedSharding(Mesh(np.asarray(own(devices)), (AXIS,)), PartitionSpec())
  return jax.device_put(tree, sharding)


def keep(parts: Any, devices: Sequence[jax.Device]) -> Any:
  """Moves slices to the memory of the accelerator that trains alone, if they fit.

  They are not moved for CPU devices, which share the host's memory; for several
  devices, which receive their share of each batch; if they are in files; or if they
  would take more than a quarter of the accelerator's memory.
  """
  leaves, device = jax.tree.leaves(parts), devices[0]
  if len(devices) > 1 or device.platform == "cpu" or any(map(is_stored, leaves)):
    return parts
  limit = (device.memory_stats() or {}).get("bytes_limit", 0)
  if sum(leaf.nbytes for leaf in leaves) > limit / 4:
    return parts
  return jax.device_put(parts, device)


def at_once(
  requested: int, parts: Any, devices: Sequence[jax.Device], count: int
) -> int:
  """Batches per dispatch.

  Args:
    requested: `config.steps_per_dispatch`; 0 divides them evenly into dispatches of at
      most 32 where an accelerator holds the slices, else takes 1, because a CPU gains
      nothing.
    parts: the slices, as `keep` returned them.
    devices: several devices take one batch per dispatch; so does one device whose
      slices stay in files, and an accelerator that does not hold them.
    count: total number of batches.
  """
  leaves, on_cpu = jax.tree.leaves(parts), devices[0].platform == "cpu"
  held = on_cpu or all(isinstance(leaf, jax.Array) for leaf in leaves)
  if len(devices) > 1 or any(map(is_stored, leaves)) or not held:
    return 1
  return requested or (1 if on_cpu else evenly(count))


def evenly(count: int) -> int:
  """The size of groups of at most 32 that are all equal, or nearly.

  The largest divisor above 15, so that one compiled loop serves all groups. Without
  such a divisor, the smallest size that needs no more groups than 32 would.
  """
  if count <= _AT_ONCE:
    return count
  divisors = (n for n in range(_AT_ONCE, _AT_ONCE // 2 - 1, -1) if count % n == 0)
  return next(divisors, -(-count // -(-count // _AT_ONCE)))


def gather(tree: Any) -> Any:
  """Joins per-device arrays [B, ...] to the batch of all devices, in order."""
  return jax.lax.all_gather(tree, AXIS, tiled=True)


def next_image(images: Any) -> Any:
  """For each image of the batch of all devices the next one; for the last the first.

  Args:
    images: per-device array [B, ...].
  """
  count = jax.lax.axis_size(AXIS)
  ring = [(k, (k - 1) % count) for k in range(count)]
  first = jax.lax.ppermute(images[:1], AXIS, ring)
  return jnp.concatenate([images[1:], first])


def average(tree: Any) -> Any:
  """The mean over the devices."""
  return jax.lax.pmean(tree, AXIS)


def compile_step(
  function: Callable,
  devices: Sequence[jax.Device],
  *,
  split: Sequence[bool],
  out_axes: Any,
  donate: tuple[int, ...] = (),
) -> Callable:
  """Compiles a step for the devices: jit for one, pmap for several.

  Args:
    function: pure; on several devices it may use the axis `AXIS`.
    devices: from `choose_devices`.
    split: for each argument, whether its leading axis is the batch; others are the
      same on all devices.
    out_axes: pytree prefix as for `jax.pmap`: 0 for outputs with a leading batch
      axis, None for those that are equal on all devices.
    donate: indices of the arguments whose memory the outputs may reuse.

  Returns:
    A function of whole batches that returns whole batches. Where the devices belong to
    several processes, each gives its own part of a batch (`processes.share`) and gets
    the whole one.
  """
  if len(devices) == 1:
    return jax.jit(function, donate_argnums=donate)
  local = len(own(devices))
  if local < len(devices):
    function, out_axes = _gathered(function, out_axes), None
  mapped = jax.pmap(
    function,
    axis_name=AXIS,
    in_axes=tuple(0 if is_batch else None for is_batch in split),
    out_axes=out_axes,
    devices=devices,
    donate_argnums=donate,
  )

  def divide(x):
    return x.reshape(local, x.shape[0] // local, *x.shape[1:])

  def join(axis, output):
    if axis is None:
      return output
    return jax.tree.map(np.concatenate, jax.device_get(output))

  def call(*arguments):
    pairs = zip(arguments, split, strict=True)
    outputs = mapped(*(jax.tree.map(divide, a) if batch else a for a, batch in pairs))
    return jax.tree.map(join, out_axes, outputs, is_leaf=lambda axis: axis is None)

  return call


def _gathered(function: Callable, out_axes: Any) -> Callable:
  """The function with its outputs of whole batches, equal on all devices."""

  def join(axis, output):
    return output if axis is None else gather(output)

  def call(*arguments):
    outputs = function(*arguments)
    return jax.tree.map(join, out_axes, outputs, is_leaf=lambda axis: axis is None)

  return call

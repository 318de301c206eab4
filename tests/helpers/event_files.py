"""Reads TensorBoard's event files, as TensorBoard does."""

import struct

from tensorboardX.proto import event_pb2


def events(path):
  """The records of a file: length, checksum, event, checksum."""
  data, position = path.read_bytes(), 0
  while position < len(data):
    (length,) = struct.unpack_from("<Q", data, position)
    yield event_pb2.Event.FromString(data[position + 12 : position + 12 + length])
    position += length + 16


def shown(folder):
  """What TensorBoard shows of a folder: tag -> (step, value of the summary), in order.

  A file that begins with a session at step N replaces what earlier ones have from N on.
  """
  found = {}
  for path in sorted(folder.glob("events*"), key=lambda p: p.stat().st_mtime_ns):
    for event in events(path):
      if event.HasField("session_log"):
        for tag, points in found.items():
          found[tag] = [point for point in points if point[0] < event.step]
      for value in event.summary.value:
        found.setdefault(value.tag, []).append((event.step, value))
  return found


def steps(folder):
  """tag -> the steps of its points."""
  return {tag: [step for step, _ in points] for tag, points in shown(folder).items()}

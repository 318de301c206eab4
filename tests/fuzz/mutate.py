"""Changes of files: bytes, text, JSON, and members of archives."""

import gzip
import io
import json
import re
import zipfile

import numpy as np

_WIDTHS = (1, 2, 4, 8)
_TOKENS = (
  *("NaN", "-1", "0", "1e999", "9" * 5000, "-Infinity", "null", "true", '""', "{}"),
  *("[]", "[[", "[" * 10**5, '"', "\0", "\n", ",", "../../etc", "é", "4294967296"),
)
_VALUES = (None, True, -1, 0, 1e308, float("nan"), 2**70, "", "x" * 3000, [], {}, [1])
_JSON = (".json", ".jsonl")


def mutate(rng: np.random.Generator, name: str, content: bytes, other: bytes) -> bytes:
  """A damaged copy of a file.

  Args:
    rng: decides everything.
    name: of the file; its ending tells which structures can be changed from inside.
    content: of the file.
    other: content of another file, from which parts are taken.
  """
  if rng.random() < 0.5:
    if name.endswith(".gz"):
      return gzip.compress(_bytes(rng, gzip.decompress(content), other), 1, mtime=0)
    if content.startswith(b"PK\x03\x04"):
      return _archive(rng, content, other)
    if name.endswith(_JSON):
      return _json(rng, content)
  if rng.random() < 0.3 and _is_text(content):
    return _text(rng, content)
  return _bytes(rng, content, other)


def _bytes(rng, content: bytes, other: bytes) -> bytes:
  for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
    change = _CHANGES[rng.integers(len(_CHANGES))]
    content = bytes(change(rng, bytearray(content or b"\0"), other))
  return content


def _place(rng, size: int) -> int:
  """A place in a file; half of all are in its first kilobyte, with the header."""
  return int(rng.integers(min(size, 1024) if rng.random() < 0.5 else size))


def _range(rng, size: int) -> slice:
  start = _place(rng, size)
  return slice(start, start + int(2 ** rng.uniform(0, np.log2(size + 1))))


def _flip_bit(rng, content, other):
  content[_place(rng, len(content))] ^= 1 << rng.integers(8)
  return content


def _random_byte(rng, content, other):
  content[_place(rng, len(content))] = rng.integers(256)
  return content


def _fill(value):
  def fill(rng, content, other):
    part = _range(rng, len(content))
    content[part] = bytes([value]) * len(content[part])
    return content

  return fill


def _truncate(rng, content, other):
  return content[: _place(rng, len(content))]


def _delete(rng, content, other):
  del content[_range(rng, len(content))]
  return content


def _duplicate(rng, content, other):
  part = content[_range(rng, len(content))]
  place = _place(rng, len(content))
  return content[:place] + part + content[place:]


def _insert(rng, content, other):
  place = _place(rng, len(content))
  return content[:place] + rng.bytes(int(2 ** rng.uniform(0, 10))) + content[place:]


def _swap(rng, content, other):
  first, second = sorted((_place(rng, len(content)), _place(rng, len(content))))
  length = int(min(second - first, len(content) - second, 2 ** rng.uniform(0, 10)))
  a, b = slice(first, first + length), slice(second, second + length)
  content[a], content[b] = content[b], content[a]
  return content


def _number(rng, content, other):
  """A number at the edge of its type, at a place that is a multiple of its width."""
  width = int(rng.choice(_WIDTHS))
  edges = (0, 1, 2**15, 2**31, 2**28, 2**63, 2**20, 255, *(2**8**k for k in (1, 2)))
  value = int(rng.choice(np.array(edges, object))) - int(rng.integers(0, 3))
  order = "little" if rng.random() < 0.7 else "big"
  place = _place(rng, len(content)) // width * width
  data = (value % 256**width).to_bytes(width, order)
  content[place : place + width] = data
  return content


def _splice(rng, content, other):
  part = _range(rng, len(content))
  start = int(rng.integers(len(other) + 1))
  if rng.random() < 0.3:
    return content[: part.start] + other[start:]
  content[part] = other[start : start + part.stop - part.start]
  return content


_CHANGES = (
  *(_flip_bit, _flip_bit, _random_byte, _fill(0), _fill(0), _fill(255), _truncate),
  *(_delete, _duplicate, _insert, _swap, _number, _number, _number, _splice),
)


def _is_text(content: bytes) -> bool:
  return content[:4096].isascii() and b"\0" not in content[:4096]


def _text(rng, content: bytes) -> bytes:
  """Another number or word, or a line less or twice."""
  lines = content.split(b"\n")
  line = int(rng.integers(len(lines)))
  if rng.random() < 0.2:
    lines[line : line + 1] = [] if rng.random() < 0.5 else [lines[line]] * 2
    return b"\n".join(lines)
  words = list(re.finditer(rb"[\w.+-]+", content)) or [re.match(b"", content)]
  word = words[rng.integers(len(words))]
  token = _TOKENS[rng.integers(len(_TOKENS))].encode()
  return content[: word.start()] + token + content[word.end() :]


def _json(rng, content: bytes) -> bytes:
  """Another value, a key less, or another key somewhere in one line of JSON."""
  lines = content.decode().splitlines() if content[:2] == b'{"' else [content.decode()]
  line = int(rng.integers(len(lines)))
  tree = json.loads(lines[line])
  places = list(_places(tree))
  if not places:
    return b"[]"
  parent, key = places[rng.integers(len(places))]
  action = rng.random()
  if action < 0.15:
    del parent[key]
  elif action < 0.25 and isinstance(parent, dict):
    parent[f"{key}_"] = parent.pop(key)
  else:
    parent[key] = _VALUES[rng.integers(len(_VALUES))]
  lines[line] = json.dumps(tree)
  return "\n".join(lines).encode()


def _places(tree):
  pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
  for key, value in list(pairs):
    yield tree, key
    if isinstance(value, dict | list):
      yield from _places(value)


def _archive(rng, content: bytes, other: bytes) -> bytes:
  """The archive with a damaged member and right checksums, or a member less."""
  with zipfile.ZipFile(io.BytesIO(content)) as archive:
    members = [(info, archive.read(info)) for info in archive.infolist()]
  chosen = int(rng.integers(len(members)))
  info, data = members[chosen]
  members[chosen] = info, _bytes(rng, data, other)
  if rng.random() < 0.1:
    del members[chosen]
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, "w") as archive:
    for info, data in members:
      archive.writestr(zipfile.ZipInfo(info.filename), data, info.compress_type)
  return buffer.getvalue()

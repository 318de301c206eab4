"""JSON that is valid everywhere, and records with a checksum."""

import ast
import json
import math
import pathlib

import numpy as np
import pytest

from kdmri_jax import json_text
from kdmri_jax.errors import UserError
from kdmri_jax.training import records

ROOT = pathlib.Path(__file__).parents[2]
STRANGE = {
  "zooms": [1.0, math.nan, math.inf, -math.inf],
  "note": "caf\udce9",
  "n": None,
}
RECORD = {"seed": 3, "lr": 1e-05, "terms": {"l1": 0.1, "at": [True, None]}, "name": "T"}


def strict(text):
  """The value of a text for a reader that knows no NaN."""
  return json.loads(text, parse_constant=pytest.fail)


def test_numbers_that_are_not_finite():
  text = json_text.dumps(STRANGE)
  found = strict(text)
  assert found["zooms"] == [1.0, None, "inf", "-inf"]
  assert found == json_text.loads(text) == json_text.plain(STRANGE)
  numbers = [json_text.number(value) for value in found["zooms"]]
  np.testing.assert_array_equal(numbers, STRANGE["zooms"])
  assert all(map(json_text.is_number, found["zooms"]))
  assert not any(map(json_text.is_number, ("nan", "1", True, [], {})))


def test_python_s_own_spelling_is_read_the_same_way():
  assert json_text.loads(json.dumps(STRANGE)) == json_text.plain(STRANGE)


def test_other_types_become_lists_and_texts(tmp_path):
  value = {"a": np.array([1.0, np.nan]), "b": np.float32(0.5), "c": np.int64(3)}
  value |= {"d": tmp_path, "e": (1, range(2)), 7: frozenset([4]), "f": b"x"}
  assert strict(json_text.dumps(value)) == {
    "a": [1.0, None],
    "b": 0.5,
    "c": 3,
    "d": str(tmp_path),
    "e": [1, [0, 1]],
    "7": [4],
    "f": "b'x'",
  }


def test_a_record_comes_back(tmp_path):
  for record in (RECORD, STRANGE):
    records.write(tmp_path / "a.json", record)
    strict((tmp_path / "a.json").read_text())
    assert records.read(tmp_path / "a.json", "") == json_text.plain(record)


def test_a_record_without_a_checksum_is_read(tmp_path):
  """Earlier versions wrote none, and NaN as Python spells it."""
  (tmp_path / "a.json").write_text(json.dumps(STRANGE))
  found = records.read(tmp_path / "a.json", "")
  assert records.in_words(found, STRANGE) == ""
  assert records.in_words(found, {**STRANGE, "zooms": [1, 2]}).startswith("zooms: [1.0")


def test_every_flipped_bit_of_a_record_is_refused_or_without_effect(tmp_path):
  path = tmp_path / "a.json"
  records.write(path, RECORD)
  data, refused, same = path.read_bytes(), 0, 0
  for position in range(8 * len(data)):
    flipped = bytearray(data)
    flipped[position // 8] ^= 1 << position % 8
    path.write_bytes(flipped)
    try:
      found = records.read(path, "")
    except UserError:
      refused += 1
    else:
      # A checksum under another name is an entry that nobody reads.
      assert {key: found[key] for key in RECORD} == RECORD, position
      same += 1
  assert refused > 10 * same > 0


def test_nobody_else_writes_json():
  for folder in ("kdmri_jax", "scripts", "experiments"):
    for path in sorted((ROOT / folder).rglob("*.py")):
      if path.name == "json_text.py":
        continue
      for node in ast.walk(ast.parse(path.read_text())):
        names = [getattr(node, "module", ""), *map(_name, getattr(node, "names", []))]
        assert not {"json", "orjson", "simplejson"} & {*names}, path


def _name(alias):
  return getattr(alias, "name", "")

"""A crop that is larger than the images is told, once, with the sizes."""

import pytest
from absl import logging
from helpers.tiny import make, tiny_config

from kdmri_jax import config as config_lib
from kdmri_jax.data import dataset, padding
from kdmri_jax.data.sources import prepared

SMALL, WIDE = (24, 20), (20, 30)


def record(before, after):
  return {"stored_shape": [3, *before], "shape": [2, *after]}


def test_nothing_is_said_of_images_that_are_kept_or_cropped():
  assert padding.notes([record(WIDE, WIDE), record(WIDE, (10, 12)), {}]) == []


def test_the_sizes_are_told_once():
  records = [record(SMALL, (24, 24))] * 2 + [record(WIDE, (24, 24))]
  records.append({**record((24, 24), (24, 24)), "prepared_from": records[0]})
  (note,) = padding.notes(records)
  assert "from 20x30 to 24x24 (1 volume), from 24x20 to 24x24 (3 volumes)" in note


@pytest.mark.usefixtures("quick_compilation")
@pytest.mark.parametrize("is_prepared", [False, True])
def test_log_and_report_tell_it(tmp_path, caplog, is_prepared):
  config = tiny_config()
  config.data.crop = (28, 20)
  if is_prepared:
    read = dataset.read(config_lib.parse(config).data)
    prepared.write_folder(read, tmp_path / "prepared", {})
    config.data.update(source="prepared", root=str(tmp_path / "prepared"))
  with caplog.at_level(logging.INFO):
    run = make(tmp_path / "run", data=config.data)
  said = "padded with zeros, from 24x20 to 28x20 (8 volumes)"
  assert caplog.text.count(said) == 1
  assert sum(said in note for note in run.dataset.record["notes"]) == 1

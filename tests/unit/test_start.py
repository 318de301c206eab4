"""What a run does before its first step, in imports and traces."""

import collections
import json
import subprocess
import sys

from helpers import tiny

from kdmri_jax import config as config_lib
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.training.experiment import Experiment

NOT_NEEDED = {"jinja2", "matplotlib", "mlflow", "onnxruntime", "scipy.signal"}
NOT_NEEDED |= {"scipy.ndimage", "scipy.stats", "sklearn"}


def test_training_imports_nothing_that_only_reports_need():
  code = "import json, sys, kdmri_jax.run; print(json.dumps(list(sys.modules)))"
  found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
  modules = set(json.loads(found.stdout))
  assert "kdmri_jax.training.seeds" in modules
  assert not modules & NOT_NEEDED


def test_each_network_is_traced_twice_for_the_checks_of_all_stages(
  tmp_path, monkeypatch
):
  """To initialise it, and to apply it; the stages train two networks."""
  counts: dict[DCCNN, int] = collections.Counter()
  call = DCCNN.__call__

  def counting(model, *arguments):
    counts[model.clone(parent=None)] += 1
    return call(model, *arguments)

  monkeypatch.setattr(DCCNN, "__call__", counting)
  config = tiny.tiny_config()
  for model in config.models.values():
    model.features = 7  # a size of this test alone: traces are kept
  Experiment(config_lib.parse(config), tmp_path)
  assert len(config.pipeline) == 4
  assert list(counts.values()) == [2, 2]

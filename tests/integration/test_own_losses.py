"""Losses and methods of the user's own, by import path."""

import sys
import textwrap

import jax.numpy as jnp
import pytest
from helpers.tiny import final, tiny_config, train

from kdmri_jax import config as config_lib
from kdmri_jax.distillation import METHODS
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.training.experiment import Experiment
from kdmri_jax.training.terms import find_loss

pytestmark = pytest.mark.usefixtures("quick_compilation")

MODULE = """
  import jax.numpy as jnp
  from kdmri_jax.distillation.method import Method, identity


  def cubic(prediction, target):
    return (jnp.abs(prediction - target) ** 3).mean((1, 2, 3))


  def one_for_all(prediction, target):
    return jnp.square(prediction - target).mean()


  def fails(prediction, target):
    raise LookupError("no table")


  def distance(student, teacher):
    return jnp.abs(student[0] - teacher[0]).mean()


  METHOD = Method(identity, distance, reads_image=True)
  VARIANTS = {"paper": METHOD}
  BAD = Method(identity, lambda s, t: s[0] - t[0], reads_image=True)
  NUMBER = 3


  class Namespace:
    loss = staticmethod(cubic)
"""


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
  (tmp_path / "own_losses.py").write_text(textwrap.dedent(MODULE))
  (tmp_path / "own_broken.py").write_text("1 / 0\n")
  monkeypatch.syspath_prepend(tmp_path)
  yield
  sys.modules.pop("own_losses", None)


def test_what_a_name_stands_for():
  assert find_loss("fsp", "paper") is METHODS["fsp"]["paper"]
  loss = find_loss("own_losses:cubic", "")
  values = loss(jnp.full((2, 3, 4, 1), 2.0), jnp.zeros((2, 3, 4, 1)))
  assert values.tolist() == [8, 8]
  assert find_loss("own_losses:Namespace.loss", "") is loss
  method = find_loss("own_losses:METHOD", "")
  assert find_loss("own_losses:VARIANTS", "paper") is method
  assert float(method.distance((jnp.ones(3),), (jnp.zeros(3),))) == 1


@pytest.mark.parametrize(
  ("name", "variant", "where", "message"),
  [
    ("l2", "", "loss", r"'l2'; expected one of l1, mse, ssim, perceptual, imitation"),
    ("imitate", "", "loss", r"Did you mean 'imitation'\?"),
    (
      "l1",
      "paper",
      "variant",
      r"'paper', a variant of l1, which has none; expected ''",
    ),
    ("imitation", "papers", "variant", r"one of paper, .*Did you mean 'paper'\?"),
    ("imitation", "", "variant", r"found ''; expected one of paper"),
    ("own_losses:METHOD", "paper", "variant", r"own_losses:METHOD, which has none"),
    (
      "own_losses:NUMBER",
      "",
      "loss",
      r"of type int; expected a function \(prediction, ",
    ),
    ("own_losses:none", "", "loss", r"AttributeError.*package.module:name"),
    ("own_broken:loss", "", "loss", r"ZeroDivisionError: division by zero"),
    ("no_such:loss", "", "loss", r"No module named 'no_such'.*PYTHONPATH"),
  ],
)
def test_names_of_nothing(name, variant, where, message):
  with pytest.raises(ArgumentError, match=message) as caught:
    find_loss(name, variant)
  assert caught.value.where == where


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (
      dict(loss="own_losses:one_for_all"),
      r"\.loss: found one that returns float32\(\)",
    ),
    (dict(loss="own_losses:fails"), r"imitation: found .*LookupError: no table"),
    (dict(loss="own_losses:cubic", hint=("image",)), r"\.hint: .*with the target"),
    (dict(loss="own_losses:none"), r"^config.stages.kd.terms.imitation.loss: found"),
    (dict(loss="own_losses:BAD", hint=("image",)), r"\.loss: .*a scalar, the mean"),
  ],
)
def test_a_loss_is_checked_before_anything_is_trained(tmp_path, changes, message):
  config = tiny_config()
  config.stages.kd.terms.imitation.update({"variant": "", "hint": (), **changes})
  with pytest.raises(UserError, match=message):
    Experiment(config_lib.parse(config), tmp_path / "run")


@pytest.mark.slow
def test_an_imported_loss_trains_like_the_registered_one(tmp_path):
  (tmp_path / "own_losses.py").write_text("from kdmri_jax.losses.pixel import l1\n")
  for name in ("l1", "own_losses:l1"):
    config = tiny_config()
    config.stages.student.terms.reconstruction.loss = name
    folder = tmp_path / name.replace(":", "_")
    train(Experiment(config_lib.parse(config), folder), ["student"])
  one, other = (final(tmp_path / n, "student") for n in ("l1", "own_losses_l1"))
  assert one.progress.best_value == other.progress.best_value > 0

"""Several teachers of one task: the mean of their images is the hint."""

import jax
import numpy as np
import pytest
from helpers.small_step import small_problem
from helpers.tiny import tiny_config

from kdmri_jax import config as config_lib
from kdmri_jax.config import StageConfig, TermConfig
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.models import features as feature_lib
from kdmri_jax.training.objective import TEACHER_ERROR
from kdmri_jax.training.stage_networks import Networks, complete, teach
from kdmri_jax.training.stage_shapes import fit_terms
from kdmri_jax.training.terms import resolve

pytestmark = pytest.mark.usefixtures("quick_compilation")

CASCADES = ("consistency_1", "consistency_2")
LAYERS = ("cascade_1/activation_2", "cascade_2/activation_2")


def term(loss, layers, variant="paper"):
  return TermConfig(loss, variant=variant, guided=layers, hint=layers)


TERMS = {
  "image": term("imitation", ("image",)),
  "cascades": term("imitation", ("consistency_1", "consistency_2")),
  "bounded": term("teacher_bounded", ("image",)),
  "kspace": term("kspace_imitation", ("image",), "l2"),
  "of_images": term("fitnets", ("consistency_1",)),
  "attention": term("attention_transfer", LAYERS),
}


run_teach = jax.jit(teach, static_argnums=0)
run_network = jax.jit(feature_lib.apply, static_argnums=0)


class Case:
  """Two teachers, the second of the student's kind, on random images."""

  def __init__(self, terms=TERMS):
    self.slices, self.acquisition, models, params = small_problem()
    self.models = models["teacher"], models["student"]
    self.params = params["teacher"], params["student"]
    self.batch = jax.jit(complete)(self.slices, self.acquisition)
    stage = StageConfig("student", teacher="a,b", terms=terms)
    networks = Networks(models["student"], resolve(stage), self.models)
    terms = fit_terms(networks, self.slices, self.acquisition, "kd")
    self.networks = networks._replace(terms=terms)

  def teach(self, *group):
    """The hints where this group teaches every image."""
    networks = self.networks._replace(taught_by=(group,))
    return jax.device_get(run_teach(networks, self.params, self.batch))

  def features(self, k):
    """Layers of a teacher, in float64."""
    images = self.batch.zero_filled, self.batch.measurement
    _, found = run_network(self.models[k], self.params[k], *images)
    return {name: np.asarray(value, np.float64) for name, value in found.items()}


@pytest.fixture(scope="module")
def case():
  return Case()


def test_the_mean_of_the_images_is_the_hint(case):
  taught = case.teach(0, 1)
  first, second = case.features(0), case.features(1)
  mean = {name: (first[name] + second[name]) / 2 for name in ("image", *CASCADES)}
  for name in ("image", "kspace", "bounded"):
    np.testing.assert_allclose(taught[name][0], mean["image"], atol=2e-7)
  for k, name in enumerate(CASCADES):
    np.testing.assert_allclose(taught["cascades"][k], mean[name], atol=2e-7)
  np.testing.assert_allclose(taught["of_images"][0], mean["consistency_1"], atol=2e-7)
  error = np.square(mean["image"] - case.slices.target).mean(axis=(1, 2, 3))
  np.testing.assert_allclose(taught[TEACHER_ERROR], error, rtol=1e-5)
  for k, name in enumerate(LAYERS):
    maps = [np.square(each[name]).sum(axis=-1) for each in (first, second)]
    np.testing.assert_allclose(taught["attention"][k], np.mean(maps, 0), rtol=1e-5)


def test_a_teacher_counts_as_often_as_it_is_named(case):
  once, twice = case.teach(0), case.teach(0, 0)
  jax.tree.map(np.testing.assert_array_equal, twice, once)
  a, b = case.features(0)["image"], case.features(1)["image"]
  found = case.teach(0, 1, 0)["image"][0]
  np.testing.assert_allclose(found, (2 * a + b) / 3, atol=2e-7)


def test_each_image_has_the_mean_of_its_own_tasks_teachers(case):
  task = np.array([0, 1, 1, 0, 0, 0, 1, 1], np.int32)
  networks = case.networks._replace(taught_by=((0, 1), (1,)))
  taught = run_teach(networks, case.params, case.batch._replace(task=task))
  for number, group in enumerate([(0, 1), (1,)]):
    alone = case.teach(*group)
    rows = task == number
    jax.tree.map(
      lambda a, b, rows=rows: np.testing.assert_allclose(a[rows], b[rows], atol=1e-6),
      jax.device_get(taught),
      alone,
    )


def test_given_images_stand_for_each_of_their_teachers():
  case = Case({"image": TERMS["image"]})
  given = np.random.default_rng(1).random(case.slices.target.shape, np.float32)
  networks = case.networks._replace(
    teachers=(case.models[0], None, None), taught_by=((0, 1, 2),)
  )
  params = case.params[0], {}, {}
  taught = run_teach(networks, params, case.batch._replace(given={"image": given}))
  expected = (case.features(0)["image"] + 2 * given.astype(np.float64)) / 3
  np.testing.assert_allclose(taught["image"][0], expected, atol=2e-7)


@pytest.mark.parametrize("loss", ["fitnets", "fsp", "feature_affinity", "rkd"])
def test_layers_whose_channels_have_an_order_are_refused(loss):
  variant = "pooled" if loss == "feature_affinity" else "paper"
  with pytest.raises(ArgumentError, match=r"terms\.hints\.hint: found .*several"):
    Case({"hints": term(loss, LAYERS, variant)})


def several(**changes):
  config = tiny_config()
  config.models.second = config.models.teacher.copy_and_resolve_references()
  config.stages.teacher_b = config.stages.teacher.copy_and_resolve_references()
  config.stages.teacher_b.model = "second"
  config.pipeline = ("teacher", "teacher_b", "student", "feature", "kd")
  config.stages.kd.update(teacher="teacher,teacher_b", start_from="")
  config.update_from_flattened_dict(changes)
  return config


def test_the_names_of_several_teachers():
  stage = config_lib.parse(several()).stages["kd"]
  assert stage.all_teachers == stage.sources == ("teacher", "teacher_b")
  assert stage.taught_by("") == ("teacher", "teacher_b")
  tasks = StageConfig("student", teachers={"a": "x,y", "b": "y,z"})
  assert tasks.all_teachers == ("x", "y", "z")
  assert tasks.taught_by("b") == ("y", "z") and tasks.taught_by("c") == ()
  assert StageConfig("student").taught_by("") == StageConfig("student").sources == ()


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"stages.kd.teacher": "teacher,"}, "kd.teacher: found ''"),
    ({"stages.kd.teacher": "teacher, teacher_b"}, "found ' teacher_b'"),
    ({"stages.kd.teacher": "teacher,kd"}, "kd.teacher: found 'kd'"),
    (
      {"stages.teacher_b.model": "teacher"},
      "kd.teacher: found teacher and teacher_b, of equal settings",
    ),
  ],
)
def test_wrong_names_of_teachers_are_told(changes, message):
  with pytest.raises(UserError, match=message):
    config_lib.parse(several(**changes))

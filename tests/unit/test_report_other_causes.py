"""Cautions on causes that a gain has beside distillation, and on shared trainings."""

from helpers.study import NETWORKS, QUALITY, seeded_tables, study_input

from kdmri_jax import report
from kdmri_jax.metrics import METRICS
from kdmri_jax.report import rows as rows_lib
from kdmri_jax.report import wording


def test_a_control_with_another_optimiser_is_told():
  plain = {"optimiser": "adam", "clip": 0.0}
  stages = dict.fromkeys(NETWORKS, plain) | {"fsp": {**plain, "teacher": "teacher"}}
  taught = {"optimiser": "muon", "clip": 1.0, "teacher": "teacher"}
  config = {"stages": {**stages, "kd": taught}}
  found = report.analyse(study_input(config=config))["cautions"]
  told = [text for text in found if "not one of distillation alone" in text]
  assert [text.partition(":")[0] for text in told] == [
    f"kd was trained with another optimiser and clip than {baseline}"
    for baseline in ("student_long", "student")
  ]
  of_its_own = study_input(
    config={"stages": {**stages, "kd": taught, "fsp": plain}},
    distilled=("kd",),
    pairs=(("kd", "fsp"),),
  )
  text = " ".join(report.analyse(of_its_own)["cautions"])
  assert "kd was trained with another optimiser and clip than fsp: " in text


def test_a_control_with_another_start_is_told():
  stages: dict = {name: {} for name in NETWORKS}
  stages |= {
    "fsp": {"teacher": "teacher"},
    "kd": {"start_from": "feature", "teacher": "teacher"},
    "feature": {"start_from": "teacher/layers"},
  }
  found = report.analyse(study_input(config={"stages": stages}))["cautions"]
  told = [text for text in found if "not one of distillation alone" in text]
  assert [text.partition(":")[0] for text in told] == [
    f"kd started from weights of teacher, unlike {baseline}"
    for baseline in ("student_long", "student")
  ]
  for name in ("student_long", "student", "fsp"):
    stages[name]["start_from"] = "teacher/layers"
  found = report.analyse(study_input(config={"stages": stages}))["cautions"]
  assert "distillation alone" not in " ".join(found)


def test_several_teachers_are_told():
  stages = {name: {"teacher": ""} for name in NETWORKS}
  kd = {"teacher": "teacher,other"}
  text = "The mean of the images of teacher, other has taught kd. "
  found = report.analyse(study_input(config={"stages": {**stages, "kd": kd}}))
  assert sum(caution.startswith(text) for caution in found["cautions"]) == 1
  tasks = {"teacher": "", "teachers": {"a": "teacher", "b": "teacher,other"}}
  found = report.analyse(study_input(config={"stages": {**stages, "kd": tasks}}))
  assert sum(caution.startswith(text) for caution in found["cautions"]) == 1
  kd = {"teacher": "teacher"}
  found = report.analyse(study_input(config={"stages": {**stages, "kd": kd}}))
  assert "The mean of the images" not in " ".join(found["cautions"])


def test_a_control_is_a_measure_without_the_plain_student():
  networks = ("teacher", "student_long", "kd", "fsp")
  budgets = dict(study_input().budgets)
  budgets["student_long"] = report.Budget(100, 1000, 60.0)

  def told(**changes):
    found = {"tables": seeded_tables(networks=networks), "budgets": budgets, **changes}
    cautions = report.analyse(study_input(**found))["cautions"]
    return [text for text in cautions if "epochs in all" in text]

  assert told() == [
    "The weights of kd, fsp have been trained for 300 epochs in all, those of "
    "student_long for 100. Train student_long as long "
    "(config.stages.student_long.epochs=300) before calling the whole difference a "
    "gain of distillation."
  ]
  stages: dict = {name: {} for name in networks}
  stages["fsp"] = {"shrink": 0.2, "teacher": "teacher"}
  (text,) = told(config={"stages": stages})
  assert (
    "The epochs of teacher, from whose weights fsp started, do not count here." in text
  )
  budgets["student_long"] = report.Budget(300, 3000, 186.0)
  assert not told()
  budgets["student_long"] = report.Budget(None, None, None, given=True)
  assert not told()  # nothing is known of its training


def one_teacher(**changes):
  """A study of three seeds whose teacher is one training, given for all of them."""
  found = seeded_tables()
  for record in found.records:
    if record["model"] == "teacher":
      record["psnr"] = 31.0 + int(record["volume"][1:])
  stages: dict = {name: {"teacher": ""} for name in NETWORKS}
  stages |= {"kd": {"teacher": "teacher"}, "fsp": {"teacher": "teacher"}}
  config = {"stages": stages}
  given = {"teacher": report.GivenStage("another run")}
  return study_input(**{"tables": found, "config": config, "given": given, **changes})


def test_a_given_teacher_is_one_training():
  inputs = one_teacher()
  found = report.analyse(inputs)
  rows = {row["model"]: row for row in found["rows"]}
  assert rows["teacher"]["n_seeds"] == 1 and rows["teacher"]["once"]
  assert rows["teacher"]["psnr"]["sd_over_seeds"] is None
  header, body = rows_lib.cells(found["rows"], {"psnr": "PSNR"}, METRICS)
  shown = {line[0]: dict(zip(header, line, strict=True)) for line in body}
  both = ("seeds", "PSNR sd over seeds")
  assert [shown["teacher"][key] for key in both] == [wording.ABSENT] * 2
  assert shown["kd"]["seeds"] == "3" and shown["kd"][both[1]] != wording.ABSENT
  told = [text for text in found["cautions"] if "one training" in text]
  assert told == [
    "teacher, which teaches kd, fsp, is one training, the same for all 3 seeds: no "
    "interval covers another teacher."
  ]
  assert not any("of 3 seeds: its row" in text for text in found["cautions"])
  for other in (report.GivenStage("other runs", once=False), None):
    given = {"teacher": other} if other else {}
    again = report.analyse(one_teacher(given=given))
    assert not any("one training" in text for text in again["cautions"])
    assert next(r for r in again["rows"] if r["model"] == "teacher")["n_seeds"] == 3


def test_two_given_networks_are_compared_as_with_one_seed():
  found = seeded_tables()
  for record in found.records:
    if record["model"] in ("teacher", "student"):
      record["psnr"] = QUALITY[record["model"]] + int(record["volume"][1:]) ** 2 / 40
  given = {name: report.GivenStage("a run") for name in ("teacher", "student")}
  pairs = report.analyse(one_teacher(tables=found, given=given))["paired"]
  seeds = {(p["a"], p["b"]): p["n_seeds"] for p in pairs}
  assert seeds["teacher", "student"] == 1
  assert seeds["kd", "teacher"] == seeds["kd", "student"] == 3

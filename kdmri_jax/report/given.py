"""What a report knows of the stages that were not trained in its run."""

from collections.abc import Sequence

from kdmri_jax.config import StageConfig
from kdmri_jax.report.inputs import GivenStage
from kdmri_jax.training import records
from kdmri_jax.training.experiment import Experiment
from kdmri_jax.training.given_stage import GivenImages


def of_run(pipelines: Sequence[Experiment]) -> dict[str, GivenStage]:
  """The given stages by name, and networks that start others by their `start_from`.

  Args:
    pipelines: the experiment, once for each seed.
  """
  return {name: _stage(pipelines, name) for name in pipelines[0].given}


def _stage(pipelines: Sequence[Experiment], name: str) -> GivenStage:
  origins = [pipeline.origin(name) for pipeline in pipelines]
  texts = [f"{each.text} (digest {each.digests['best'][:12]})" for each in origins]
  first = pipelines[0]
  record = origins[0].record and records.completed(dict(origins[0].record))
  return GivenStage(
    origin=", ".join(dict.fromkeys(texts)),
    has_network=not isinstance(first.given[name], GivenImages),
    record=record,
    taught_by=_teachers(first, record) if record else (),
    once=len({each.digests["best"] for each in origins}) == 1,
  )


def _teachers(pipeline: Experiment, record: dict) -> tuple[str, ...]:
  """Its teachers, as stages of this run where they have the same weights."""
  here = {pipeline.workdir.digest(name): name for name in pipeline.config.pipeline}
  stage = StageConfig(**record["stage"])
  found = ((name, record["weights_of"].get(name)) for name in stage.all_teachers)
  return tuple(
    (digest and here.get(digest)) or f"{name} of another run" for name, digest in found
  )

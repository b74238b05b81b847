"""The flow `evaluate-model`: a checkpoint in, its videos made and judged, a table out.

One task is one evaluation job; below it, each batch of videos that is made or judged has a task.
All that is made is kept, so a retry makes and judges only what is missing.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer
from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import Field

from curation.catalog.store import Catalog
from curation.records import EvaluationRow
from evaluation.errors import EvaluationError
from evaluation.metrics.metric import PROXY_BANNER
from evaluation.wording import difference_words, table_words
from flows.batches import TaskEngine
from flows.events import evaluation_finished
from flows.naming import name_of
from flows.progress import FlowProgress
from flows.retrying import JITTER, JOB_DELAYS, JOB_RETRIES, job_can_pass, seconds_of
from flows.running import begin
from pipelines.commands.options import EvaluateSetOption, HomeOption, WorkersOption
from pipelines.engine import LocalEngine
from pipelines.evaluate import Evaluated, evaluate
from pipelines.evaluate_config import EvaluateRequest
from pipelines.recipes.evaluation import evaluation_recipe
from pipelines.settings import Home, home_at, with_overrides
from pipelines.train_begin import checkpoint_at

Recipe = Literal[
    "evaluate_debug_cpu",
    "evaluate_table1",
    "evaluate_table3",
    "evaluate_table4",
    "evaluate_steps",
    "evaluate_figure7",
]


@flow(name="evaluate-model", flow_run_name="evaluate {checkpoint} by {recipe}")
def evaluate_model(
    checkpoint: str,
    recipe: Recipe = "evaluate_debug_cpu",
    suite: str | None = None,
    set: list[str] | None = None,  # noqa: A002 - named as the command's option is
    home: str | None = None,
    workers: Annotated[int, Field(ge=1)] = 2,
    hours: Annotated[float, Field(gt=0)] | None = None,
) -> str:
    """Judge a checkpoint: each prompt by each schedule and seed, made, scored and averaged.

    Args:
        checkpoint: A folder, or RUN or RUN/step-00000100 of the home's checkpoints.
        recipe: Which schedules, lengths, seeds and metrics.
        suite: A manifest of prompts, or NAME@VERSION; default the dataset it was trained on.
        set: Fields of the recipe to override, such as frames=97
        home: Where everything is kept, on the worker; default $TEMPO_HOME or ./tempo-home.
        workers: Processes that work at the same time, each on a GPU of its own.
        hours: End a try after so long; what is made and judged stays. Default: no end.

    Returns:
        The evaluation's id.
    """
    begin()
    where = home_at(Path(home) if home else None)
    config = with_overrides(evaluation_recipe(recipe), set or [])
    folder = Path(checkpoint) if Path(checkpoint).is_dir() else checkpoint_at(where, checkpoint)
    done = evaluated(EvaluateRequest(config, folder, suite), where, workers, hours)
    if not done.complete:
        raise EvaluationError(
            f"{len(done.evaluation.failures)} videos or judgements failed, see {done.page}; run "
            "again: everything else is kept"
        )
    return done.evaluation.id


def evaluated(request: EvaluateRequest, home: Home, workers: int, hours: float | None) -> Evaluated:
    """An evaluation job as a task, with its artifact and its event. Only within a flow run."""
    named = _evaluate.with_options(
        task_run_name=f"evaluate {request.checkpoint.parent.name}/{request.checkpoint.name}",
        timeout_seconds=seconds_of(hours),
    )
    done = named(request, home, workers)
    create_table_artifact(
        key="evaluation-table",
        table=table_words(done.evaluation),
        description="  \n".join([_about(done), *difference_words(done.evaluation)]),
    )
    if done.complete:
        with Catalog.open(home.catalog()) as catalog:
            rows = catalog.rows(EvaluationRow, {"evaluation_id": done.evaluation.id})
        evaluation_finished(rows)
    return done


def _about(done: Evaluated) -> str:
    found = done.evaluation
    banner = f"{PROXY_BANNER}  \n" if found.proxy else ""
    return (
        f"{banner}{found.id}: percent, with {found.level:.0%} intervals of a bootstrap over "
        f"{len(found.prompts)} prompts; {done.page}"
    )


@task(
    name="evaluate",
    retries=JOB_RETRIES,
    retry_delay_seconds=JOB_DELAYS,
    retry_jitter_factor=JITTER,
    retry_condition_fn=job_can_pass,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def _evaluate(request: EvaluateRequest, home: Home, workers: int) -> Evaluated:
    with FlowProgress() as progress:
        return evaluate(request, home, TaskEngine(LocalEngine(workers), name_of), progress)


def main(
    recipe: Annotated[Recipe, typer.Argument(help="Which schedules, lengths and metrics.")],
    checkpoint: Annotated[str, typer.Option(help="A folder, or RUN of the home's checkpoints.")],
    suite: Annotated[str | None, typer.Option(help="A manifest, or NAME@VERSION.")] = None,
    home: HomeOption = None,
    workers: WorkersOption = 2,
    overrides: EvaluateSetOption = None,
) -> None:
    """Run the flow evaluate-model here, without a deployment.

    Example: python -m flows.evaluate evaluate_debug_cpu --checkpoint debug_cpu-demo-1
    """
    where = str(home) if home else None
    typer.echo(evaluate_model(checkpoint, recipe, suite, overrides, where, workers=workers))


if __name__ == "__main__":
    typer.run(main)

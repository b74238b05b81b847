"""The flow `curate-videos`: films in, a published dataset version out.

``python -m flows.curate films/ --dataset nature`` runs it without a server; a deployment runs it on
a worker. The job is `pipelines.curate.curate` itself, under an engine whose batches are tasks.
"""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from pydantic import Field

from curation.shards.manifest import MANIFEST
from flows.artifacts import show_curation
from flows.batches import TaskEngine
from flows.events import dataset_published
from flows.naming import name_of
from flows.progress import FlowProgress
from flows.retrying import JITTER, JOB_DELAYS, JOB_RETRIES, job_can_pass, seconds_of
from flows.running import begin
from pipelines.commands.options import (
    EngineOption,
    HomeOption,
    SetOption,
    WorkersOption,
    engine_named,
)
from pipelines.curate import CurateRequest, curate
from pipelines.inputs import list_films, repeatable
from pipelines.recipes.curation import curation_recipe
from pipelines.settings import home_at, with_overrides
from pipelines.summary import Summary

Recipe = Literal["curate_offline", "curate_production"]


@flow(name="curate-videos", flow_run_name="curate {dataset}")
def curate_videos(
    paths: Annotated[list[str], Field(min_length=1)],
    dataset: str = "films",
    recipe: Recipe = "curate_offline",
    set: list[str] | None = None,  # noqa: A002 - named as the command's option is
    home: str | None = None,
    workers: Annotated[int, Field(ge=1)] = 2,
    engine: str = "local",
    retry: bool = False,
    hours: Annotated[float, Field(gt=0)] | None = None,
) -> str:
    """Curate films into the next version of a dataset.

    Running it again costs only what is new; a run that was killed or cancelled is finished by the
    next one.

    Args:
        paths: Films: files, folders, globs or manifests, as the worker sees them.
        dataset: Name of the dataset.
        recipe: Which policy and captioners: offline needs no weights and no network.
        set: Fields of the recipe to override, such as select.motion.min=0.01
        home: Where everything is kept, on the worker; default $TEMPO_HOME or ./tempo-home.
        workers: Processes that work at the same time.
        engine: Where they work: local, or ray or ray://HOST:PORT for a cluster.
        retry: Also try films again whose quarantine is permanent.
        hours: End a try after so long; what is done stays, the next run goes on. Default: no end.

    Returns:
        ``NAME@VERSION``.
    """
    begin()
    curated = _curated.with_options(timeout_seconds=seconds_of(hours))
    summary = curated(paths, dataset, recipe, set or [], home, engine, workers, retry)
    assert summary.dataset is not None
    show_curation(summary)
    return summary.dataset.reference


@task(
    name="curate",
    task_run_name="curate {dataset}",
    retries=JOB_RETRIES,
    retry_delay_seconds=JOB_DELAYS,
    retry_jitter_factor=JITTER,
    retry_condition_fn=job_can_pass,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def _curated(
    paths: list[str],
    dataset: str,
    recipe: str,
    overrides: list[str],
    home: str | None,
    engine: str,
    workers: int,
    retry: bool,
) -> Summary:
    config = with_overrides(curation_recipe(recipe), overrides)
    request = CurateRequest(list_films(paths), dataset, config, retry, repeatable(paths))
    watched = TaskEngine(engine_named(engine, workers), name_of)
    with FlowProgress() as progress:
        summary = curate(request, home_at(Path(home) if home else None), watched, progress)
    _tell(summary)
    return summary


def _tell(summary: Summary) -> None:
    """Emit the event of the version, also where the run that published it was lost first."""
    dataset = summary.dataset
    assert dataset is not None
    manifest = json.loads((Path(dataset.folder) / MANIFEST).read_bytes())
    dataset_published(dataset, manifest["publish_id"])


def main(
    paths: Annotated[list[str], typer.Argument(help="Files, folders, globs or manifests.")],
    dataset: Annotated[str, typer.Option(help="Name of the dataset.")] = "films",
    recipe: Annotated[Recipe, typer.Option(help="The policy and the captioners.")] = (
        "curate_offline"
    ),
    home: HomeOption = None,
    workers: WorkersOption = 2,
    engine: EngineOption = "local",
    overrides: SetOption = None,
) -> None:
    """Run the flow curate-videos here, without a deployment.

    Example: python -m flows.curate films/ --dataset nature
    """
    where = str(home) if home else None
    typer.echo(curate_videos(paths, dataset, recipe, overrides, where, workers, engine))


if __name__ == "__main__":
    typer.run(main)

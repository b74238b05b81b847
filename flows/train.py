"""The flow `train-model`: a recipe and a dataset version in, checkpoints out.

One task is one training job: its ranks are processes that it starts and that end with it. A retry
goes on from the newest checkpoint, so what a lost machine costs is the steps since then.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from pydantic import Field

from curation.catalog.store import Catalog
from curation.records import CheckpointRow
from flows.curves import show_training
from flows.events import checkpoint_written
from flows.progress import FlowProgress
from flows.retrying import JITTER, JOB_DELAYS, JOB_RETRIES, job_can_pass, seconds_of
from flows.running import begin
from pipelines.commands.options import HomeOption, TrainSetOption
from pipelines.recipes.training import training_recipe
from pipelines.settings import Home, standing_home, with_overrides
from pipelines.train import Trained, TrainRequest, default_name, train
from training.checkpoint_record import complete_steps
from training.versions import published_version

Recipe = Literal[
    "train_debug_cpu",
    "train_debug_cpu_stage2",
    "train_debug_cpu_stage2_fixed_start",
    "train_debug_cpu_lora",
    "train_stage1_shape_1_3b",
    "train_stage1_a14b",
    "train_stage1_a14b_lora",
    "train_stage2_a14b",
    "train_stage2_a14b_fixed_start",
]


@flow(name="train-model", flow_run_name="train {recipe} on {dataset}")
def train_model(
    dataset: str,
    recipe: Recipe = "train_debug_cpu",
    name: str = "",
    start_from: str | None = None,
    ranks: Annotated[int, Field(ge=1)] | None = None,
    set: list[str] | None = None,  # noqa: A002 - named as the command's option is
    home: str | None = None,
    hours: Annotated[float, Field(gt=0)] | None = None,
) -> str:
    """Train on a dataset version, or go on with a run that was begun.

    Args:
        dataset: NAME, NAME@latest or NAME@3, as tempo datasets lists them.
        recipe: Which network, data and optimiser.
        name: Of the run, a folder below checkpoints; default the recipe's and the dataset's.
        start_from: A checkpoint whose averaged weights it begins with: RUN or RUN/step-00000100.
        ranks: Processes, each with a GPU of its own; default one for each GPU of the worker.
        set: Fields of the recipe to override, such as optimiser.lr=2e-5
        home: Where everything is kept, on the worker; default $TEMPO_HOME or ./tempo-home.
        hours: End a try after so long; the next run goes on from the newest checkpoint. Default: no
            end.

    Returns:
        The newest checkpoint's folder.
    """
    begin()
    given = [*(set or [])]
    if start_from is not None:
        given += ["network.init.kind=checkpoint", f"network.init.source={start_from}"]
    config = with_overrides(training_recipe(recipe), given)
    where = standing_home(Path(home) if home else None)
    request = TrainRequest(config, dataset, name, ranks)
    return str(trained(request, where, hours).checkpoint)


def trained(request: TrainRequest, home: Home, hours: float | None) -> Trained:
    """A training job as a task, with its artifact and its events. Only within a flow run."""
    named = _train.with_options(
        task_run_name=f"train {request.config.recipe} on {request.dataset}",
        timeout_seconds=seconds_of(hours),
    )
    done = named(request, home)
    show_training(done)
    return done


@task(
    name="train",
    retries=JOB_RETRIES,
    retry_delay_seconds=JOB_DELAYS,
    retry_jitter_factor=JITTER,
    retry_condition_fn=job_can_pass,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def _train(request: TrainRequest, home: Home) -> Trained:
    with FlowProgress(_Checkpoints(request, home)) as progress:
        return train(request, home, progress)


class _Checkpoints:
    """Emits an event for each checkpoint of a run, soon after it is complete."""

    def __init__(self, request: TrainRequest, home: Home) -> None:
        self._home = home
        self._told: set[int] = set()
        with Catalog.open(home.catalog()) as catalog:
            version = published_version(catalog, request.dataset)
        self._training = request.training or default_name(request.config, version)

    def __call__(self) -> None:
        """Look for new ones; a checkpoint that has no row yet is for the next time."""
        if self._told.issuperset(complete_steps(self._home.checkpoints / self._training)):
            return
        with Catalog.open(self._home.catalog()) as catalog:
            rows = catalog.rows(CheckpointRow, {"training": self._training})
        for row in rows:
            if row.step not in self._told:
                checkpoint_written(row)
                self._told.add(row.step)


def main(
    recipe: Annotated[Recipe, typer.Argument(help="Which network, data and optimiser.")],
    dataset: Annotated[str, typer.Option(help="NAME, NAME@latest or NAME@3.")],
    name: Annotated[str, typer.Option(help="Of the run.")] = "",
    home: HomeOption = None,
    overrides: TrainSetOption = None,
) -> None:
    """Run the flow train-model here, without a deployment.

    Example: python -m flows.train train_debug_cpu --dataset demo --set steps=20
    """
    where = str(home) if home else None
    typer.echo(train_model(dataset, recipe, name, set=overrides, home=where))


if __name__ == "__main__":
    typer.run(main)

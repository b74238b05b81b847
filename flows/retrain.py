"""The flow `retrain`: on a schedule, and whenever a dataset version is published.

Most runs decide that too little is new, say so, and end within seconds. One that trains is three
jobs in a row, each a task; one that is lost goes on where it was.
"""

import functools
from pathlib import Path
from typing import Annotated, Literal

import typer
from prefect import flow
from prefect.artifacts import create_markdown_artifact
from pydantic import Field

from flows.evaluate import evaluated
from flows.progress import FlowProgress
from flows.running import begin
from flows.train import trained
from pipelines.commands.options import HomeOption, RetrainSetOption, WorkersOption
from pipelines.recipes.retraining import retraining_recipe
from pipelines.retrain import RetrainConfig, Retrained, RetrainError, RetrainRequest, retrain
from pipelines.settings import standing_home, with_overrides

Recipe = Literal["retrain_debug_cpu", "retrain_production"]


@flow(name="retrain", flow_run_name="retrain {model} on {dataset}")
def retrain_model(
    dataset: str = "films",
    model: str = "base",
    recipe: Recipe = "retrain_production",
    suite: str | None = None,
    ranks: Annotated[int, Field(ge=1)] | None = None,
    set: list[str] | None = None,  # noqa: A002 - named as the command's option is
    home: str | None = None,
    workers: Annotated[int, Field(ge=1)] = 2,
    hours: Annotated[float, Field(gt=0)] | None = None,
) -> str:
    """Train on a dataset's newest version if enough is new; promote the result if it is better.

    Args:
        dataset: Whose newest version is looked at.
        model: Name under which a checkpoint serves.
        recipe: What is trained, how it is judged, and when it takes over.
        suite: Prompts that both checkpoints are judged by; default the newest validation side.
        ranks: Processes that train, each with a GPU of its own; default one for each GPU.
        set: Fields of the recipe to override, such as min_new_hours=50
        home: Where everything is kept, on the worker; default $TEMPO_HOME or ./tempo-home.
        workers: Processes that make and judge videos at the same time.
        hours: End the training, or an evaluation, after so long; the next run goes on. Default: no
            end.

    Returns:
        What was decided, in words.
    """
    begin()
    where = standing_home(Path(home) if home else None)
    config = with_overrides(retraining_recipe(recipe), set or [])
    request = RetrainRequest(config, model, dataset, suite, ranks)
    try:
        done = retrain(
            request,
            where,
            functools.partial(trained, home=where, hours=hours),
            functools.partial(evaluated, home=where, workers=workers, hours=hours),
            FlowProgress(),
        )
    except RetrainError as error:
        if error.refused is not None:
            _publish(error.refused, request)
        raise
    _publish(done, request)
    return done.verdict.reason if done.verdict else done.decision.reason


def _publish(done: Retrained, request: RetrainRequest) -> None:
    create_markdown_artifact(
        markdown=decision_page(done, request.config),
        key="retrain-decision",
        description=f"{request.model} on {request.dataset}",
    )


def decision_page(done: Retrained, config: RetrainConfig) -> str:
    """A decision in Markdown: what was decided, why, and by which numbers."""
    decision, verdict = done.decision, done.verdict
    untrained = "Refused" if decision.refused else "Not trained"
    lines = [
        f"## {done.model}",
        "",
        f"**{'Trained' if decision.train else untrained}**: {decision.reason}.",
        "",
    ]
    if verdict is not None:
        lines += [
            f"**{'Promoted' if verdict.promote else 'Kept out'}**: {verdict.reason}.",
            "",
            "| percent | candidate | serving | gain |",
            "|---|---:|---:|---:|",
        ]
        for name, numbers in verdict.numbers.items():
            cells = (numbers.get(key) for key in ("candidate", "serving", "gain"))
            shown = " | ".join("" if cell is None else f"{cell:.2f}" for cell in cells)
            lines.append(f"| {name} | {shown} |")
        rule = config.rule
        said = f"{rule.measure} must rise by {rule.min_gain:g}"
        lines += ["", f"Rule: {said}, nothing may fall by more than {rule.max_loss:g}."]
    lines += ["", f"Serving: `{done.serving or 'none yet'}`"]
    if done.generator is not None:
        lines.append(f"in `{done.generator}`")
    return "\n".join(lines)


def main(
    recipe: Annotated[Recipe, typer.Argument(help="What is trained, and when it takes over.")],
    dataset: Annotated[str, typer.Option(help="Whose newest version is looked at.")] = "films",
    model: Annotated[str, typer.Option(help="Name under which a checkpoint serves.")] = "base",
    home: HomeOption = None,
    workers: WorkersOption = 2,
    overrides: RetrainSetOption = None,
) -> None:
    """Run the flow retrain here, without a deployment.

    Example: python -m flows.retrain retrain_debug_cpu --dataset demo
    """
    where = str(home) if home else None
    typer.echo(retrain_model(dataset, model, recipe, set=overrides, home=where, workers=workers))


if __name__ == "__main__":
    typer.run(main)

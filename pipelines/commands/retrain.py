"""`tempo retrain`: train on new films when that is due, and promote what is better."""

import functools
import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from pipelines.commands.options import HomeOption, JsonOption, RetrainSetOption, WorkersOption
from pipelines.console import ConsoleProgress

if TYPE_CHECKING:
    from pipelines.retrain import Retrained


def retrain_command(
    recipe: Annotated[str, typer.Argument(help="retrain_debug_cpu or retrain_production.")],
    model: Annotated[str, typer.Option(help="Name under which a checkpoint serves.")] = "base",
    dataset: Annotated[str, typer.Option(help="Whose newest version is looked at.")] = "films",
    suite: Annotated[
        str | None, typer.Option(help="Prompts to judge by; default: the validation side.")
    ] = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Print the decision; only hash what serves."),
    ] = False,
    gpus: Annotated[int | None, typer.Option(min=1, help="Processes that train.")] = None,
    home: HomeOption = None,
    workers: WorkersOption = 2,
    overrides: RetrainSetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train on a dataset's newest version if enough is new; promote the result if it is better.

    Starts from the checkpoint that serves (refused where the recipe has another codec), judges both
    by the same prompts, and records the decision with its numbers. The same command again goes on
    where it stopped.

    Examples:
      tempo retrain retrain_debug_cpu --dataset demo --explain
      tempo retrain retrain_production --model base --dataset films --set min_new_hours=50
    """
    from pipelines.engine import LocalEngine
    from pipelines.evaluate import evaluate
    from pipelines.recipes.retraining import retraining_recipe
    from pipelines.retrain import RetrainRequest, retrain
    from pipelines.retrain import explain as explained
    from pipelines.settings import standing_home, with_overrides
    from pipelines.train import train

    config = with_overrides(retraining_recipe(recipe), overrides or [])
    request = RetrainRequest(config, model, dataset, suite, gpus)
    where = standing_home(home)
    progress = ConsoleProgress(quiet=as_json)
    if explain:
        done = explained(request, where)
    else:
        with progress:
            done = retrain(
                request,
                where,
                functools.partial(train, home=where, progress=progress),
                functools.partial(
                    evaluate, home=where, engine=LocalEngine(workers), progress=progress
                ),
                progress,
            )
    _show(done, progress, explain)
    if as_json:
        typer.echo(json.dumps(done.document(), sort_keys=True))


def _show(done: "Retrained", progress: ConsoleProgress, explain: bool) -> None:
    out, decision = progress.out, done.decision
    if decision.train:
        verb = "would train" if explain else "trained"
    else:
        verb = "refused" if decision.refused else "nothing to train"
    out.print(f"[bold]{verb}[/bold]: {escape(decision.reason)}")
    if decision.train:
        start = decision.start_from or "the recipe's weights"
        out.print(f"  run {decision.training} on {decision.dataset}, from {start}")
    if done.verdict is not None:
        word = "promoted" if done.verdict.promote else "kept out"
        out.print(f"[bold]{word}[/bold]: {escape(done.verdict.reason)}")
        table = Table(box=None, pad_edge=False)
        for heading in ("percent", "candidate", "serving", "gain"):
            table.add_column(heading, justify="left" if heading == "percent" else "right")
        for name, numbers in done.verdict.numbers.items():
            cells = (numbers.get(key) for key in ("candidate", "serving", "gain"))
            table.add_row(name, *("" if cell is None else f"{cell:.2f}" for cell in cells))
        out.print(table)
    out.print(f"  {done.model} is {done.serving or 'no checkpoint yet'}")
    if done.generator is not None:
        out.print(f"  generator {escape(str(done.generator))}", soft_wrap=True)

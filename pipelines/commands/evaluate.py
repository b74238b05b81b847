"""`tempo evaluate` and `tempo report-eval`: a checkpoint's videos made, judged and shown."""

import dataclasses
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.commands.options import (
    EngineOption,
    EvaluateSetOption,
    HomeOption,
    JsonOption,
    WorkersOption,
    engine_named,
)
from pipelines.console import ConsoleProgress, printable_cell

if TYPE_CHECKING:
    from evaluation.results import Evaluation
    from pipelines.evaluate_config import EvaluateConfig

_SHOWN_FAILURES = 10
_NAME_WIDTH, _COLUMN_WIDTH = 30, 24


def evaluate_command(
    recipe: Annotated[str, typer.Argument(help="evaluate_debug_cpu, evaluate_table3, …")],
    checkpoint: Annotated[
        Path, typer.Option(help="Folder of a generator, or a checkpoint that holds generator/.")
    ],
    more_schedules: Annotated[
        list[str] | None, typer.Argument(metavar="[SCHEDULE]...", help="More of --schedules.")
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option(help="A manifest, or a dataset NAME@VERSION; default: the one trained on."),
    ] = None,
    schedules: Annotated[
        list[str] | None, typer.Option(metavar="SCHEDULE", help="Instead of the recipe's.")
    ] = None,
    frames: Annotated[
        list[int] | None, typer.Option(help="Lengths at 24 fps instead of the recipe's.")
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="Instead of the recipe's, e.g. 0,1,2.")] = None,
    home: HomeOption = None,
    workers: WorkersOption = 2,
    engine: EngineOption = "local",
    overrides: EvaluateSetOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check, say what is missing and its cost, make none.")
    ] = False,
    peak_tflops: Annotated[
        float, typer.Option(min=0.001, help="Of a GPU, from its datasheet, for --dry-run.")
    ] = 989.0,
    mfu: Annotated[
        float, typer.Option(min=0.001, max=1.0, help="Share of that it reaches, for --dry-run.")
    ] = 0.4,
    as_json: JsonOption = False,
) -> None:
    """Judge a checkpoint: each prompt by each schedule and seed, made, scored and averaged.

    Videos and scores are kept, so that a run which was killed is finished by the same command.
    Ends with exit code 1 when a video could not be made or judged; everything else is kept.

    Examples:
      tempo evaluate evaluate_debug_cpu --checkpoint DIR --suite demo@1
      tempo evaluate evaluate_table3 --checkpoint DIR --suite vbench.jsonl --workers 8 --dry-run
      tempo evaluate evaluate_table1 --checkpoint DIR --suite vbench.jsonl --frames 121
        --schedules "f(6,24)m(1,4)" "f(6,12,24)m(1,2,4)" --seeds 0,1
    """
    from pipelines.evaluate import evaluate
    from pipelines.evaluate_config import EvaluateRequest
    from pipelines.evaluate_plan import prepare
    from pipelines.recipes.evaluation import evaluation_recipe
    from pipelines.settings import home_at, with_overrides

    config = with_overrides(evaluation_recipe(recipe), overrides or [])
    config = _varied(config, [*(schedules or []), *(more_schedules or [])], frames, seeds)
    request = EvaluateRequest(config, checkpoint, suite)
    where = home_at(home)
    progress = ConsoleProgress(quiet=as_json)
    if dry_run:
        prepared = prepare(request, where, tolerant=True)
        document = prepared.document(where, peak_tflops * 1e12 * mfu)
        for warning in prepared.warnings:
            progress.out.print(f"[yellow]warning:[/yellow] {escape(warning)}")
        _print_plan(document, progress.out)
        progress.out.print(
            f"GPU hours: the network alone, at {mfu:.0%} of {peak_tflops:g} TFLOP/s (--mfu, "
            "--peak-tflops)"
        )
        if as_json:
            typer.echo(json.dumps(document, sort_keys=True))
        if not prepared.metrics:
            raise typer.Exit(1)
        return
    with progress:
        done = evaluate(request, where, engine_named(engine, workers), progress)
    print_evaluation(done.evaluation, progress.out)
    for what, place in (("numbers", done.numbers), ("report", done.page)):
        progress.out.print(f"  {what:<8} {escape(str(place))}", soft_wrap=True)
    if as_json:
        typer.echo(json.dumps(done.document(), sort_keys=True))
    if not done.complete:
        raise typer.Exit(1)


def report_eval_command(
    run: Annotated[str, typer.Argument(help="An evaluation's id, its beginning, or latest.")],
    against: Annotated[
        str | None, typer.Option(help="Another evaluation that it is held against.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the report of an evaluation: one HTML file, videos side by side.

    Examples:
      tempo report-eval latest
      tempo report-eval evaluate_table4-3f2a --against evaluate_table4-91bc
    """
    from pipelines.report_eval import write_report
    from pipelines.settings import standing_home

    progress = ConsoleProgress(quiet=as_json)
    with progress:
        written = write_report(standing_home(home), run, against)
    progress.out.print(
        f"[bold]{escape(written.evaluation)}[/bold]: {written.videos} videos, "
        f"{'embedded' if written.embedded else 'linked: keep the page where it is'}, "
        f"{written.bytes / 1e6:.1f} MB"
    )
    progress.out.print(f"  {'report':<8} {escape(written.page)}", soft_wrap=True)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(written), sort_keys=True))


def print_evaluation(evaluation: "Evaluation", out: Console) -> None:
    """The table, the differences, and what failed."""
    from evaluation.metrics.metric import PROXY_BANNER
    from evaluation.wording import difference_words

    if evaluation.proxy:
        out.print(f"[yellow]{PROXY_BANNER}[/yellow]")
    _print_table(evaluation, out)
    for words in difference_words(evaluation):
        out.print(escape(words))
    if evaluation.failures:
        out.print(f"[red]{len(evaluation.failures)} failures; ask again to try them again[/red]")
    for failure in evaluation.failures[:_SHOWN_FAILURES]:
        said = printable_cell(
            f"{failure.what} of {failure.prompt}, {failure.label}, seed {failure.seed}: "
            f"{failure.kind}: {failure.message}"
        )
        out.print(f"  [red]{escape(said)}[/red]", soft_wrap=True)
    out.print(f"[bold]{escape(evaluation.id)}[/bold]")


def _print_table(evaluation: "Evaluation", out: Console) -> None:
    """A column for each variant, as many beside each other as the terminal holds."""
    from evaluation.wording import estimate_words, gib, short

    together = max((out.width - _NAME_WIDTH) // _COLUMN_WIDTH, 1)
    results = list(evaluation.variants)
    for start in range(0, len(results), together):
        shown = results[start : start + together]
        table = Table(box=None, pad_edge=False)
        table.add_column(f"{len(evaluation.prompts)} prompts", no_wrap=True)
        for result in shown:
            table.add_column(result.label.replace(", ", "\n"), justify="right")
        for name in evaluation.measures:
            table.add_row(name, *(estimate_words(result.measures.get(name)) for result in shown))
        costs = [result.cost for result in shown]
        table.add_row("videos", *(str(result.videos) for result in shown))
        table.add_row("PFLOPs a video", *(f"{cost.petaflops:.4g}" for cost in costs))
        table.add_row("seconds a video", *(short(cost.seconds) for cost in costs))
        table.add_row("  to its first", *(short(cost.first_segment_seconds) for cost in costs))
        table.add_row("peak GiB", *(gib(cost.peak_bytes) for cost in costs))
        out.print(table)
    out.print(f"percent, with {evaluation.level:.0%} intervals of a bootstrap over prompts")


def _print_plan(document: dict[str, Any], out: Console) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column(escape(f"{document['prompts']} prompts of {document['suite']}"))
    for heading in ("videos", "missing", "PFLOPs/video", "PFLOPs missing", "GPU hours"):
        table.add_column(heading, justify="right")
    for row in document["variants"]:
        costs = (row["petaflops"], row["missing_petaflops"], row["missing_gpu_hours"])
        counts = (f"{row['videos']:,}", f"{row['missing']:,}")
        table.add_row(row["schedule"], *counts, *(f"{cost:,.4g}" for cost in costs))
    out.print(table)
    out.print(f"judged by {', '.join(document['metrics']) or 'nothing'}; nothing was made")
    out.print(f"[bold]{escape(document['evaluation'])}[/bold]")


def _varied(
    config: "EvaluateConfig",
    schedules: list[str],
    frames: Iterable[int] | None,
    seeds: str | None,
) -> "EvaluateConfig":
    changes: dict[str, Any] = {}
    if schedules:
        changes["schedules"] = tuple(schedules)
    if frames:
        changes["frames"] = tuple(frames)
    if seeds is not None:
        if re.fullmatch(r"\d+(,\d+)*", seeds) is None:
            raise ValueError(f"seeds={seeds!r}: write whole numbers, e.g. 0,1,2")
        changes["seeds"] = tuple(int(part) for part in seeds.split(","))
    return dataclasses.replace(config, **changes)

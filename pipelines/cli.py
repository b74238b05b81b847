"""The `tempo` command: thin wrappers that parse, call a job, and print where things are."""

import dataclasses
import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.csv as pacsv
import typer
from rich.table import Table
from rich.text import Text

from curation.catalog.datasets import datasets as published_datasets
from curation.catalog.query import sql as run_sql
from curation.catalog.store import Catalog
from curation.errors import CurationError
from pipelines.console import ConsoleProgress, print_dataset, print_error, printable_cell
from pipelines.curate import CurateRequest, curate, planned
from pipelines.demo.films import FILMS
from pipelines.demo.library import render_library
from pipelines.doctor import examine
from pipelines.engine import LocalEngine
from pipelines.forget import forget
from pipelines.inputs import list_films
from pipelines.preview import preview
from pipelines.recipes.curation import curation_recipe
from pipelines.settings import home_at, with_overrides
from pipelines.summary import Yield

app = typer.Typer(
    name="tempo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Films in, versioned training shards out.",
    rich_markup_mode="rich",
)

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="Where everything is kept; default $TEMPO_HOME or ./tempo-home."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="PATH=VALUE", help="Override a field, e.g. select.motion.min=0.01"
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object as the last line, and nothing else.")
]
WorkersOption = Annotated[int, typer.Option(min=1, help="Processes that work at the same time.")]


class Format(StrEnum):
    """How query results are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def main() -> None:
    """Run the command; a mistake of the user's ends in one line, not in a traceback."""
    try:
        app()
    except (CurationError, ValueError) as error:
        print_error(error)
        raise SystemExit(1) from error


@app.command("demo")
def demo_command(
    folder: Annotated[Path, typer.Argument(help="Where the films go.")],
    workers: WorkersOption = 2,
) -> None:
    """Render the demo library: short films whose cuts are known.

    Example: [bold]tempo demo films/[/bold]
    """
    progress = ConsoleProgress()
    with progress:
        progress.stage("demo", len(FILMS))
        truth = render_library(folder, workers, progress=lambda *_: progress.advance())
    progress.out.print(f"demo library: {len(FILMS)} films in {folder}, their cuts in {truth}")


@app.command("curate")
def curate_command(
    paths: Annotated[list[str], typer.Argument(help="Files, folders, globs or manifests.")],
    dataset: Annotated[str, typer.Option(help="Name of the dataset.")] = "films",
    recipe: Annotated[str, typer.Option(help="curate_offline or curate_production.")] = (
        "curate_offline"
    ),
    home: HomeOption = None,
    workers: WorkersOption = 2,
    overrides: SetOption = None,
    retry: Annotated[bool, typer.Option(help="Try quarantined films again.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Say what would be done, and do nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Curate films into the next version of a dataset.

    Running it again costs only what is new; a run that was killed is finished by the next one.

    Examples:
      tempo curate films/ --dataset nature
      tempo curate 'archive/**/*.mkv' --set select.motion.min=0.01 --workers 8
      tempo curate manifest.csv --recipe curate_production --dry-run
    """
    config = with_overrides(curation_recipe(recipe), overrides or [])
    request = CurateRequest(list_films(paths), dataset, config, retry)
    progress = ConsoleProgress(quiet=as_json)
    where = home_at(home)
    if dry_run:
        _print_plan(planned(request, where), progress, as_json)
        return
    with progress:
        summary = curate(request, where, LocalEngine(workers), progress)
    assert summary.dataset is not None
    print_dataset(progress.out, summary.dataset, summary.report)
    if as_json:
        typer.echo(json.dumps(summary.document(), sort_keys=True))


def _print_plan(plan: dict[str, int], progress: ConsoleProgress, as_json: bool) -> None:
    for what, count in plan.items():
        progress.out.print(f"{count:>8}  {what.replace('_', ' ')}")
    if as_json:
        typer.echo(json.dumps(plan, sort_keys=True))


@app.command("preview")
def preview_command(
    dataset: Annotated[str, typer.Option(help="NAME, NAME@latest or NAME@3.")],
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """What another policy would keep. Nothing is decoded or written.

    Example: [bold]tempo preview --dataset nature --set select.clarity.min=60[/bold]
    """
    outcome = preview(home_at(home), dataset, overrides or [])
    out = ConsoleProgress(quiet=as_json).out
    table = Table(box=None, pad_edge=False)
    for heading in (outcome.reference, "clips", "hours"):
        table.add_column(heading, justify="left" if heading == outcome.reference else "right")
    rows: list[tuple[str, Yield]] = [
        ("all", outcome.clips),
        ("kept by its policy", outcome.kept_now),
    ]
    rows += [(f"  would drop: {rule}", loss) for rule, loss in outcome.dropped.items()]
    for name, part in [*rows, ("would keep", outcome.kept)]:
        table.add_row(name, str(part.clips), f"{part.hours:.4f}")
    out.print(table)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(outcome), sort_keys=True))


@app.command("datasets")
def datasets_command(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the published versions."""
    where = home_at(home)
    with Catalog.open(where.catalog()) as catalog:
        rows = published_datasets(catalog)
    out = ConsoleProgress(quiet=as_json).out
    table = Table(
        "version", "films", "train", "val", "minutes", "MB", "shards", "published", box=None
    )
    for row in rows:
        table.add_row(
            f"{row.name}@{row.version}",
            *map(str, (row.films, row.train_samples, row.val_samples)),
            f"{row.seconds / 60:.1f}",
            f"{row.bytes / 1e6:.1f}",
            str(row.shards),
            f"{row.recorded_at:%Y-%m-%d %H:%M}",
        )
    out.print(table if rows else "no dataset is published yet: tempo curate FOLDER")
    if as_json:
        listed = [dataclasses.asdict(row) | {"recorded_at": str(row.recorded_at)} for row in rows]
        typer.echo(json.dumps({"datasets": listed}, sort_keys=True))


@app.command("sql")
def sql_command(
    query: Annotated[str, typer.Argument(help="One SELECT over the catalog's tables.")],
    home: HomeOption = None,
    form: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TABLE,
) -> None:
    """Query the catalog with DuckDB.

    Tables: sources, videos, shots, clips, captions, samples, shards, datasets, runs, takedowns.

    Example: [bold]tempo sql "select status, count(*) from videos group by 1"[/bold]
    """
    with Catalog.open(home_at(home).catalog()) as catalog:
        result = run_sql(catalog, query)
    if form is Format.CSV:
        typer.echo(_csv(result), nl=False)
    elif form is Format.JSON:
        typer.echo(json.dumps(result.to_pylist(), default=str))
    else:
        _print_rows(result.column_names, result.to_pylist())


def _csv(result: pa.Table) -> str:
    buffer = pa.BufferOutputStream()
    pacsv.write_csv(result, buffer)
    return str(buffer.getvalue().to_pybytes(), "utf-8")


def _print_rows(names: list[str], rows: list[dict[str, Any]]) -> None:
    table = Table(*names, box=None, pad_edge=False)
    for row in rows:
        # Text, not markup: captions and file names are other people's words.
        table.add_row(*(Text(printable_cell(row[name])) for name in names))
    ConsoleProgress().out.print(table)


@app.command("doctor")
def doctor_command(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Say what is present, what is missing, and how to mend it; exit 1 if curation cannot run."""
    findings = examine(home_at(home))
    out = ConsoleProgress(quiet=as_json).out
    mark: dict[str, Callable[[str], str]] = {
        "ok": "[green]ok     [/green] {}".format,
        "note": "[yellow]note   [/yellow] {}".format,
        "missing": "[red]missing[/red] {}".format,
    }
    for finding in findings:
        out.print(mark[finding.state](f"{finding.name:<10} {finding.detail}"), soft_wrap=True)
        if finding.remedy:
            out.print(f"{'':<19}-> {finding.remedy}", soft_wrap=True)
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(finding) for finding in findings]))
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(1)


@app.command("forget")
def forget_command(
    video_id: Annotated[str, typer.Argument(help="The film, as `tempo sql` names it.")],
    reason: Annotated[str, typer.Option(help="Why; it is recorded.")] = "takedown",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a film down: purge its evidence, traces and captions; bar it from future versions.

    Published versions are not rewritten: those that hold the film are listed, to be retired.

    Example: [bold]tempo forget 0a4f… --reason "rights withdrawn"[/bold]
    """
    outcome = forget(home_at(home), video_id, reason)
    out = ConsoleProgress(quiet=as_json).out
    out.print(
        f"{video_id} is taken down: {outcome.captions} captions, {outcome.files} files purged"
    )
    for held in outcome.versions:
        out.print(f"  still holds it: {held}")
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(outcome), sort_keys=True))

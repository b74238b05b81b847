"""`tempo datasets`, `sql`, `doctor` and `forget`: what the home holds, and taking a film out."""

import dataclasses
import json
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from pipelines.commands.options import HomeOption, JsonOption
from pipelines.console import ConsoleProgress, printable_cell

if TYPE_CHECKING:
    import pyarrow as pa


class Format(StrEnum):
    """How query results are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def datasets_command(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the published versions."""
    from curation.catalog.datasets import datasets
    from curation.catalog.store import Catalog
    from pipelines.settings import standing_home

    with Catalog.open(standing_home(home).catalog()) as catalog:
        rows = datasets(catalog)
    out = ConsoleProgress(quiet=as_json).out
    table = Table(
        "version", "films", "train", "val", "single", "multi", "min", "MB", "shards", "published",
        box=None,
    )  # fmt: skip
    for row in rows:
        table.add_row(
            f"{row.name}@{row.version}",
            *map(str, (row.films, row.train_samples, row.val_samples)),
            *map(str, (row.samples - (row.multi_samples or 0), row.multi_samples or 0)),
            f"{row.seconds / 60:.1f}",
            f"{row.bytes / 1e6:.1f}",
            str(row.shards),
            f"{row.recorded_at:%Y-%m-%d}",
        )
    out.print(table if rows else "no dataset is published yet: tempo curate FOLDER")
    if as_json:
        listed = [dataclasses.asdict(row) | {"recorded_at": str(row.recorded_at)} for row in rows]
        typer.echo(json.dumps({"datasets": listed}, sort_keys=True))


def sql_command(
    query: Annotated[str, typer.Argument(help="One SELECT over the catalog's tables.")],
    home: HomeOption = None,
    form: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Query the catalog with DuckDB.

    A table that is wider than the terminal is printed row by row, a line for each column.
    [bold]--format json[/bold] prints the rows as an array, [bold]--json[/bold] as the field rows of
    one object, as all commands have it.

    Tables: sources, videos, shots, clips, scores, refinements, captions, samples, shards,
    datasets, runs, side_shards, checkpoints, evaluations, promotions, takedowns. Of some a row
    stands for each scan or derivation: group by video_id, or select one derive_fingerprint.

    Example: [bold]tempo sql "select status, count(*) from videos group by 1"[/bold]
    """
    from curation.catalog.query import sql
    from curation.catalog.store import Catalog
    from pipelines.settings import standing_home

    with Catalog.open(standing_home(home).catalog()) as catalog:
        result = sql(catalog, query)
    if as_json:
        typer.echo(json.dumps({"rows": result.to_pylist()}, default=str))
    elif form is Format.CSV:
        typer.echo(_csv(result), nl=False)
    elif form is Format.JSON:
        typer.echo(json.dumps(result.to_pylist(), default=str))
    else:
        _print_rows(result.column_names, result.to_pylist())


def _csv(result: "pa.Table") -> str:
    import pyarrow as pa
    import pyarrow.csv

    buffer = pa.BufferOutputStream()
    pyarrow.csv.write_csv(result, buffer)
    return str(buffer.getvalue().to_pybytes(), "utf-8")


def _print_rows(names: list[str], rows: list[dict[str, Any]]) -> None:
    """A table at its full width, or a block of lines for each row where a terminal is narrower."""
    out = ConsoleProgress().out
    # Text, not markup: captions and file names are other people's words.
    shown = [["NULL" if row[name] is None else row[name] for name in names] for row in rows]
    cells = [[Text(printable_cell(value)) for value in row] for row in shown]
    table = Table(*names, box=None, pad_edge=False)
    for row in cells:
        table.add_row(*row)
    unbound = out.options.update(max_width=sys.maxsize)
    width = Measurement.get(out, unbound, table).maximum
    if width <= out.width or not out.is_terminal:
        out.width = max(1, width)
        out.print(table)
        return
    label = max(map(len, names))
    for number, row in enumerate(cells, 1):
        out.print(Text(f"-- row {number} of {len(cells)}", style="bold"))
        for name, cell in zip(names, row, strict=True):
            out.print(Text(f"{name:<{label}}  ").append_text(cell))


def doctor_command(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Say what is present, what is missing, and how to mend it; exit 1 if curation cannot run."""
    from pipelines.doctor import examine
    from pipelines.settings import home_at

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


def forget_command(
    video_id: Annotated[str, typer.Argument(help="The film, as `tempo sql` names it.")],
    reason: Annotated[str, typer.Option(help="Why; it is recorded.")] = "takedown",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a film down: purge its evidence, traces and captions; bar it from future versions.

    Published versions are not rewritten: those that hold the film are listed, to be retired, and
    with them what was precomputed of them or is being precomputed. A run that is just making a
    version in this home is waited for, and that version is listed too if it holds the film; what
    killed runs had built is removed. Runs on other homes of the same catalog are not waited for:
    repeat it there.

    Example: [bold]tempo forget 0a4f… --reason "rights withdrawn"[/bold]
    """
    from pipelines.forget import forget
    from pipelines.settings import standing_home

    progress = ConsoleProgress(quiet=as_json)
    outcome = forget(standing_home(home), video_id, reason, progress)
    out = progress.out
    out.print(
        f"{video_id} is taken down: {outcome.captions} captions, {outcome.files} files purged"
    )
    for held in [*outcome.versions, *outcome.side_shards]:
        out.print(f"  still holds it: {escape(held)}", soft_wrap=True)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(outcome), sort_keys=True))

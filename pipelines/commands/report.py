"""`tempo report`: the page that shows a data team what a version is."""

import dataclasses
import json
from typing import Annotated

import typer
from rich.markup import escape

from pipelines.commands.options import HomeOption, JsonOption
from pipelines.console import ConsoleProgress

_COLOURS = {"good": "green", "warning": "yellow", "error": "red"}


def report_command(
    dataset: Annotated[str, typer.Argument(help="NAME, NAME@latest or NAME@3.")],
    against: Annotated[
        str | None,
        typer.Option(help="A version to compare with; the one before when not named."),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the quality report of a version: one HTML file, and the same numbers as JSON.

    Examples:
      tempo report nature
      tempo report nature@3 --against nature@1
    """
    from pipelines.report import write_report
    from pipelines.settings import standing_home

    progress = ConsoleProgress(quiet=as_json)
    with progress:
        written = write_report(standing_home(home), dataset, against, progress)
    colour = _COLOURS[written.state]
    counts = ", ".join(
        f"{count} {name}{'s' * (count != 1)}" for name, count in written.alerts.items() if count
    )
    progress.out.print(
        f"[bold]{escape(written.reference)}[/bold] [{colour}]{escape(written.headline)}[/{colour}]"
        + (f" ({counts})" if counts else "")
        + (f", compared with {escape(written.against)}" if written.against else "")
    )
    for what, place in (
        ("report", written.page),
        ("numbers", written.numbers),
        ("index", written.index),
    ):
        progress.out.print(f"  {what:<8} {escape(place)}", soft_wrap=True)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(written), sort_keys=True))

"""`tempo verify`: whether a published version still is what was published."""

import dataclasses
import json
from typing import Annotated

import typer

from pipelines.commands.options import (
    EngineOption,
    HomeOption,
    JsonOption,
    WorkersOption,
    engine_named,
)
from pipelines.console import ConsoleProgress, printable_cell


def verify_command(
    dataset: Annotated[str, typer.Argument(help="NAME, NAME@latest or NAME@3.")],
    home: HomeOption = None,
    workers: WorkersOption = 2,
    engine: EngineOption = "local",
    as_json: JsonOption = False,
) -> None:
    """Read a version again, decode every video, and report whatever disagrees.

    Holds hashes, manifest, sample index, tar members, JSON, captions, decoded frames and the
    catalog's rows against each other. Exit code 1 when any of them disagree. Nothing of the version
    is written; what was found is recorded (table runs), and the next report shows it.

    Examples:
      tempo verify nature
      tempo verify nature@3 --workers 8 --json
    """
    from pipelines.settings import standing_home
    from pipelines.verify import verify

    progress = ConsoleProgress(quiet=as_json)
    with progress:
        outcome = verify(standing_home(home), dataset, engine_named(engine, workers), progress)
    for wrong in outcome.disagreements:
        about = " ".join(filter(None, (wrong.where, wrong.sample_id)))
        line = printable_cell(f"  {wrong.what:<16} {about}: {wrong.detail}")
        # No markup, no colours: a damaged file may hold anything.
        progress.out.print(line, soft_wrap=True, markup=False)
    verdict = "[green]sound[/green]"
    if not outcome.sound:
        verdict = f"[red]{len(outcome.disagreements)} disagreements[/red]"
    progress.out.print(
        f"[bold]{outcome.reference}[/bold] {verdict}: {outcome.samples} samples in "
        f"{outcome.shards} shards, {outcome.frames} frames decoded as declared"
    )
    progress.out.print(f"  {'shards':<8} {outcome.folder}", soft_wrap=True, markup=False)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(outcome), sort_keys=True))
    if not outcome.sound:
        raise typer.Exit(1)

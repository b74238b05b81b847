"""`tempo caption`, and below it `import` and `export`: words for clips, also by hand."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from pipelines.commands.options import (
    EngineOption,
    HomeOption,
    JsonOption,
    SetOption,
    WorkersOption,
    engine_named,
)
from pipelines.console import ConsoleProgress

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.caption import CaptionSummary
    from pipelines.curate import CurateConfig
    from pipelines.settings import Home

RecipeOption = Annotated[
    str | None,
    typer.Option(help="curate_offline (the default) or curate_production; not with --dataset."),
]
DatasetOption = Annotated[
    str | None,
    typer.Option(help="NAME or NAME@3: its films, chosen as they were for it; else all films."),
]

app = typer.Typer(rich_markup_mode="rich")


@app.callback(invoke_without_command=True)
def caption_command(
    context: typer.Context,
    dataset: DatasetOption = None,
    recipe: RecipeOption = None,
    home: HomeOption = None,
    workers: WorkersOption = 2,
    engine: EngineOption = "local",
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give words to the clips that the policy keeps, and pack nothing.

    What is answered is stored as it comes: a run that was killed is finished by the next one, and
    `tempo curate` with the same recipe finds it done.

    Examples:
      tempo caption --dataset nature --set captioners=sidecar,endpoint
      tempo caption --recipe curate_production --set caption.endpoint.max_requests=500
      tempo caption export edits.csv --dataset nature
      tempo caption import edits.csv
    """
    if context.invoked_subcommand is not None:
        _refuse_lost_options(context)
        return
    from pipelines.caption import caption_clips
    from pipelines.settings import standing_home

    _refuse_two_recipes(dataset, recipe)
    where = standing_home(home)
    config, films = _asked_for(where, dataset, recipe, overrides)
    progress = ConsoleProgress(quiet=as_json)
    with progress:
        summary = caption_clips(where, config, engine_named(engine, workers), progress, films)
    _print_summary(progress.out, summary)
    progress.out.print(f"  catalog  {escape(str(where.catalog().shown))} (table captions)")
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(summary), sort_keys=True))


@app.command("export")
def export_command(
    file: Annotated[Path, typer.Argument(help="The CSV to write.")],
    dataset: DatasetOption = None,
    recipe: RecipeOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write what is said of each clip as a CSV to edit. Asks nobody.

    Change the column caption, add a column editor if you like, delete the lines that you leave as
    they are, and hand it to [bold]tempo caption import[/bold].

    Example: [bold]tempo caption export edits.csv --dataset nature[/bold]
    """
    from pipelines.caption import export_captions
    from pipelines.settings import standing_home

    _refuse_two_recipes(dataset, recipe)
    where = standing_home(home)
    config, films = _asked_for(where, dataset, recipe, overrides)
    count = export_captions(where, config, file, films)
    ConsoleProgress(quiet=as_json).out.print(f"{count} clips in {escape(str(file))}")
    if as_json:
        typer.echo(json.dumps({"clips": count, "file": str(file)}, sort_keys=True))


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(help="CSV or JSON lines: clip_id, caption, [editor].")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take in captions that a person wrote; they come before every captioner's.

    Lines that cannot be used are listed and left out, and the exit code is then 1; the others are
    in. Importing a file again changes nothing.

    Example: [bold]tempo caption import edits.csv[/bold]
    """
    from pipelines.caption import import_captions
    from pipelines.settings import standing_home

    where = standing_home(home)
    summary = import_captions(where, file)
    out = ConsoleProgress(quiet=as_json).out
    for row in summary.refused:
        out.print(f"[red]line {escape(row.lines)}: {escape(row.why)}[/red]", soft_wrap=True)
    out.print(
        f"{summary.imported} captions imported, {summary.unchanged} as they were, "
        f"{len(summary.refused)} refused"
    )
    out.print(f"  catalog  {escape(str(where.catalog().shown))} (table captions)")
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(summary), sort_keys=True))
    if summary.refused or not summary.imported + summary.unchanged:
        raise typer.Exit(1)


def _asked_for(
    home: "Home", dataset: str | None, recipe: str | None, overrides: list[str] | None
) -> "tuple[CurateConfig, list[str] | None]":
    """The config to work by, and the films where they are not all."""
    from pipelines.caption import recorded_config
    from pipelines.recipes.curation import curation_recipe
    from pipelines.settings import with_overrides

    films: list[str] | None = None
    if dataset is not None:
        config, films = recorded_config(home, dataset)
    else:
        config = curation_recipe(recipe or "curate_offline")
    return with_overrides(config, overrides or []), films


def _refuse_two_recipes(dataset: str | None, recipe: str | None) -> None:
    """What is wrong with the options is said before a home is looked for.

    Raises:
        ValueError: both are given.
    """
    if dataset is not None and recipe is not None:
        raise ValueError("give --dataset or --recipe: a dataset brings its recipe with it")


def _print_summary(out: "Console", summary: "CaptionSummary") -> None:
    out.print(f"{summary.clips} clips of {summary.films} films")
    for captioner, count in summary.captioned.items():
        out.print(f"{count:>8}  captioned: {escape(captioner)}")
    for reason, count in summary.missing.items():
        out.print(f"[red]{count:>8}  without words: {escape(reason)}[/red]")
    for captioner in sorted({*summary.asked, *summary.stored}):
        out.print(
            f"  {escape(captioner)}: asked about {summary.asked.get(captioner, 0)}, "
            f"stored before {summary.stored.get(captioner, 0)}"
        )
    if summary.spent:
        out.print(
            "  cost: "
            + ", ".join(f"{n} {what.replace('_', ' ')}" for what, n in summary.spent.items())
        )


def _refuse_lost_options(context: typer.Context) -> None:
    """An option before `import` would be lost, and with it the home that was meant.

    Raises:
        ValueError: naming it.
    """
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise ValueError(
                f"--{name.replace('_', '-')} stands before {context.invoked_subcommand!r}: put it "
                "after"
            )

"""`tempo demo`, `curate` and `preview`: films in, and what of them is kept."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pipelines.commands.options import (
    EngineOption,
    HomeOption,
    JsonOption,
    SetOption,
    WorkersOption,
    engine_named,
)
from pipelines.console import ConsoleProgress, print_dataset, printable_cell

if TYPE_CHECKING:
    from pipelines.dry_run import Plan
    from pipelines.summary import Yield

_SHOWN_FILES = 10
_NAMED_IF_ANY = ("no_films", "unhashed_files", "films_to_derive_again")


def demo_command(
    folder: Annotated[Path, typer.Argument(help="Where the films go.")],
    workers: WorkersOption = 2,
) -> None:
    """Render the demo library: short films whose cuts are known.

    Example: [bold]tempo demo films/[/bold]
    """
    from pipelines.demo.films import FILMS
    from pipelines.demo.library import MANIFEST_FILE, render_library

    progress = ConsoleProgress()
    with progress:
        progress.stage("demo", len(FILMS))
        truth = render_library(folder, workers, progress=lambda *_: progress.advance())
    progress.out.print(f"demo library: {len(FILMS)} films in {folder}, their cuts in {truth}")
    progress.out.print(f"to curate it with its licence: tempo curate {folder / MANIFEST_FILE}")


def curate_command(
    paths: Annotated[list[str], typer.Argument(help="Files, folders, globs or manifests.")],
    dataset: Annotated[str, typer.Option(help="Name of the dataset.")] = "films",
    recipe: Annotated[str, typer.Option(help="curate_offline or curate_production.")] = (
        "curate_offline"
    ),
    home: HomeOption = None,
    workers: WorkersOption = 2,
    engine: EngineOption = "local",
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
      tempo curate films/ --engine ray --workers 64
    """
    from pipelines.curate import CurateRequest, curate
    from pipelines.inputs import list_films, repeatable
    from pipelines.recipes.curation import curation_recipe
    from pipelines.settings import home_at, with_overrides

    config = with_overrides(curation_recipe(recipe), overrides or [])
    request = CurateRequest(list_films(paths), dataset, config, retry, repeatable(paths))
    progress = ConsoleProgress(quiet=as_json)
    where = home_at(home)
    if dry_run:
        from pipelines.dry_run import planned

        _print_plan(planned(request, where), progress, as_json)
        return
    with progress:
        summary = curate(request, where, engine_named(engine, workers), progress)
    assert summary.dataset is not None
    print_dataset(progress.out, summary.dataset, summary.report, summary.page)
    if as_json:
        typer.echo(json.dumps(summary.document(), sort_keys=True))


def _print_plan(plan: "Plan", progress: ConsoleProgress, as_json: bool) -> None:
    for what, count in plan.counts.items():
        if not count and what in _NAMED_IF_ANY:
            continue
        progress.out.print(f"{count:>8}  {what.replace('_', ' ')}")
    for file in plan.models:
        size = f"{file.bytes / 1000:,.0f} kB" if file.bytes is not None else "absent"
        if file.remedy and file.path:
            size = "no use"
        progress.out.print(f"{size:>14}  {file.what}: {file.remedy or file.path}", markup=False)
    if not plan.models:
        progress.out.print("no model is loaded")
    for refused in plan.no_films[:_SHOWN_FILES]:
        progress.out.print(printable_cell(f"no film: {refused.uri}: {refused.why}"), markup=False)
    if len(plan.no_films) > _SHOWN_FILES:
        progress.out.print(f"and {len(plan.no_films) - _SHOWN_FILES} more that are no films")
    if as_json:
        typer.echo(json.dumps(plan.document(), sort_keys=True))
    if len(plan.no_films) == plan.counts["files"]:
        raise typer.Exit(1)


def preview_command(
    dataset: Annotated[str, typer.Option(help="NAME, NAME@latest or NAME@3.")],
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """What another policy would keep. Nothing is decoded or written.

    Example: [bold]tempo preview --dataset nature --set select.clarity.min=60[/bold]
    """
    from pipelines.preview import preview
    from pipelines.settings import standing_home

    outcome = preview(standing_home(home), dataset, overrides or [])
    out = ConsoleProgress(quiet=as_json).out
    table = Table(box=None, pad_edge=False)
    for heading in (outcome.reference, "clips", "hours"):
        table.add_column(heading, justify="left" if heading == outcome.reference else "right")
    rows: list[tuple[str, Yield]] = [
        ("all", outcome.clips),
        ("kept by its policy", outcome.kept_now),
    ]
    rows += [(f"  would drop: {rule}", loss) for rule, loss in outcome.dropped.items()]
    rows.append(("would keep", outcome.kept))
    if outcome.refined_now.kept != outcome.kept_now or outcome.refined.kept != outcome.kept:
        rows += [
            ("without near-duplicates, balanced: now", outcome.refined_now.kept),
            ("  would drop: near-duplicates", outcome.refined.duplicates),
            ("  would drop: over a cluster's cap", outcome.refined.over_cap),
            ("without near-duplicates, balanced: would keep", outcome.refined.kept),
        ]
    for name, part in rows:
        table.add_row(name, str(part.clips), f"{part.hours:.4f}")
    out.print(table)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(outcome), sort_keys=True))

"""`tempo estimate`: what a library will cost, before it is curated."""

import dataclasses
import json
from collections.abc import Callable
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
from pipelines.console import ConsoleProgress, printable_cell

if TYPE_CHECKING:
    from pipelines.estimate import Estimate, Projection

_PAPER_CLIPS = 3_000_000


def estimate_command(
    paths: Annotated[list[str], typer.Argument(help="Files, folders, globs or manifests.")],
    sample: Annotated[int, typer.Option(min=1, help="Films that are tried.")] = 8,
    clips: Annotated[
        list[int] | None,
        typer.Option(help="Also for so many kept clips; default 3 and 300 million."),
    ] = None,
    cpu_hour: Annotated[float, typer.Option(help="Price of a core for an hour.")] = 0.04,
    gpu_hour: Annotated[float, typer.Option(help="Price of a GPU for an hour.")] = 2.0,
    recipe: Annotated[str, typer.Option(help="curate_offline or curate_production.")] = (
        "curate_offline"
    ),
    home: HomeOption = None,
    scratch: Annotated[
        Path | None, typer.Option(help="Folder for the pilot, which is removed again.")
    ] = None,
    workers: WorkersOption = 2,
    engine: EngineOption = "local",
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Curate a few films for real, throw the result away, and say what the rest will take.

    CPU seconds are measured where they are spent; hours on the wall are for --workers of them. The
    home is looked at for weights alone.

    Examples:
      tempo estimate films/ --sample 20 --workers 64
      tempo estimate s3://films/library --clips 3000000 --cpu-hour 0.035
    """
    from pipelines.estimate import Prices, estimate
    from pipelines.inputs import list_films
    from pipelines.recipes.curation import curation_recipe
    from pipelines.settings import home_at, with_overrides

    progress = ConsoleProgress(quiet=as_json)
    with progress:
        found = estimate(
            list_films(paths),
            with_overrides(curation_recipe(recipe), overrides or []),
            sample=sample,
            clips=clips or [_PAPER_CLIPS, 100 * _PAPER_CLIPS],
            prices=Prices(cpu_hour, gpu_hour),
            workers=workers,
            engine=engine_named(engine, workers),
            scratch=scratch,
            progress=progress,
            weights=home_at(home).weights,
        )
    _print(found, progress)
    if as_json:
        typer.echo(json.dumps(_document(found), sort_keys=True))


def _document(found: "Estimate") -> dict[str, object]:
    document = dataclasses.asdict(found)
    for written, projection in zip(document["projections"], found.projections, strict=True):
        written["slowest"] = projection.slowest
    return document


def _print(found: "Estimate", progress: ConsoleProgress) -> None:
    pilot = found.pilot
    progress.out.print(
        f"[bold]pilot[/bold]: {pilot.films} films of {pilot.film_hours:.3f} h, "
        f"{pilot.clips_kept} clips kept, {pilot.sample_hours:.3f} h published"
    )
    per_stage = Table(box=None, pad_edge=False)
    for heading in ("stage", "items", "CPU s", "GPU s", "s per film hour", "s per kept clip"):
        per_stage.add_column(heading, justify="left" if heading == "stage" else "right")
    for stage in pilot.stages:
        seconds = stage.cpu_seconds + stage.gpu_seconds
        per_stage.add_row(
            stage.name,
            str(stage.items),
            f"{stage.cpu_seconds:.1f}",
            f"{stage.gpu_seconds:.1f}" if stage.gpu_seconds else "",
            f"{seconds / pilot.film_hours:,.0f}",
            f"{seconds / pilot.clips_kept:.2f}",
        )
    progress.out.print(per_stage)
    whole = Table(box=None, pad_edge=False)
    whole.add_column("")
    for projection in found.projections:
        whole.add_column(printable_cell(projection.what), justify="right")
    lines: dict[str, Callable[[Projection], str]] = {
        "film hours": lambda one: f"{one.film_hours:,.1f}",
        "kept clips": lambda one: f"{one.clips:,.0f}",
        "CPU hours": lambda one: f"{sum(one.cpu_hours.values()):,.1f}",
        "GPU hours": lambda one: f"{sum(one.gpu_hours.values()):,.1f}",
        f"hours with {found.workers} workers": lambda one: f"{one.hours:,.1f}",
        "cost": lambda one: f"{one.cost:,.2f}",
        "traces and evidence": lambda one: _bytes(one.traces_bytes),
        "shards": lambda one: _bytes(one.shards_bytes),
        "catalog": lambda one: _bytes(one.catalog_bytes),
        "slowest stage": lambda one: one.slowest,
    }
    for name, cell in lines.items():
        whole.add_row(name, *(cell(projection) for projection in found.projections))
    progress.out.print(whole)
    progress.out.print(
        f"at {found.prices.cpu_hour:g} a CPU hour and {found.prices.gpu_hour:g} a GPU hour; "
        "all in proportion to the pilot"
    )


def _bytes(count: float) -> str:
    for unit, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count / 1e6:,.1f} MB"

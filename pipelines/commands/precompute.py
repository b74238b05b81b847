"""`tempo precompute`: what frozen encoders make of a dataset version, ahead of training."""

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from pipelines.commands.options import HomeOption, JsonOption, TrainSetOption, WorkersOption
from pipelines.console import ConsoleProgress

if TYPE_CHECKING:
    from pipelines.precompute import MadeSet, PlannedSet
    from training.side_shards import Kind

_NAMED = 5
_GIGA = 1_000_000_000


def precompute_command(
    recipe: Annotated[str, typer.Argument(help="Of training, e.g. train_stage1_a14b.")],
    dataset: Annotated[str, typer.Option(help="NAME, NAME@latest or NAME@3.")],
    home: HomeOption = None,
    what: Annotated[str, typer.Option(help="text, latents, or text,latents.")] = "text",
    workers: WorkersOption = 1,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say how large whole sets are; load and write nothing."),
    ] = False,
    overrides: TrainSetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Encode a version's captions, or its windows, once: training then reads what was computed.

    Give the recipe and the --set that you train with. Training finds what fits its encoders, and
    says so. The same command again goes on where it was, and makes damaged shards anew. Each worker
    loads the encoder, onto a GPU of its own where there are any. Latents need windows that begin at
    a few places only and show the whole picture, in training too.

    Examples:
      tempo precompute train_debug_cpu --dataset demo
      tempo precompute train_stage1_a14b --dataset films@3 --workers 8 --dry-run
      tempo precompute train_debug_cpu --dataset demo --what latents --set data.windows.starts=4
        --set data.examples.least_view=1
    """
    from pipelines.devices import threads_each
    from pipelines.engine import LocalEngine
    from pipelines.precompute import PrecomputeRequest, planned, precompute
    from pipelines.recipes.training import training_recipe
    from pipelines.settings import standing_home, with_overrides

    request = PrecomputeRequest(
        with_overrides(training_recipe(recipe), overrides or []),
        dataset,
        _kinds(what),
        # As a rank has of so many on this machine: sums then come out alike.
        threads=threads_each(workers),
    )
    where = standing_home(home)
    progress = ConsoleProgress(quiet=as_json)
    if dry_run:
        with progress:
            plans = planned(request, where, progress)
        _show_planned(plans, progress)
        listed = [dataclasses.asdict(plan) for plan in plans]
    else:
        with progress:
            made = precompute(request, where, LocalEngine(workers), progress)
        _show_made(made, progress)
        listed = [found.document() for found in made]
    if as_json:
        typer.echo(json.dumps({"sets": listed}, sort_keys=True))


def _kinds(text: str) -> "tuple[Kind, ...]":
    kinds: dict[str, Kind] = {"text": "text", "latents": "latents"}
    named = [word.strip() for word in text.split(",")]
    unknown = [word for word in named if word not in kinds]
    if unknown:
        raise ValueError(f"what={text!r}: give some of {', '.join(kinds)}, with commas")
    return tuple(kinds[word] for word in named)


def _size(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= _GIGA else f"{size / 1e6:,.2f} MB"


def _show_planned(plans: "list[PlannedSet]", progress: ConsoleProgress) -> None:
    for plan in plans:
        progress.out.print(
            f"[bold]{plan.kind}[/bold]  {plan.members:,} tensors in {plan.shards:,} shards of at "
            f"most {_size(plan.shard_bytes)} if none of it is there, at most {_size(plan.bytes)} "
            f"in all; {_size(plan.free_bytes)} are free",
            soft_wrap=True,
        )
        if plan.bytes > plan.free_bytes:
            progress.out.print("  [yellow]warning:[/yellow] that may not fit on this disk")
        for before in plan.before:
            progress.out.print(
                f"  there is {plan.kind}-{before}, by this encoder or another: if by this one, it "
                "stays cut as it is, and only what is missing or damaged of it is written",
                soft_wrap=True,
            )


def _show_made(made: "list[MadeSet]", progress: ConsoleProgress) -> None:
    out = progress.out
    for found in made:
        out.print(
            f"[bold]{found.kind}[/bold]  {found.members:,} in {found.shards:,} shards, "
            f"{_size(found.bytes)}, by {found.fingerprint}: {found.written:,} shards "
            f"written, {found.shards - found.written:,} were there ({found.seconds:.0f} s)"
        )
        for sample, why in sorted(found.damaged.items())[:_NAMED]:
            out.print(f"  damaged: {escape(f'{sample}: {why}')}")
        if found.damaged:
            out.print(
                f"  {len(found.damaged)} samples are damaged, and training replaces them; once "
                "their shards are whole again, run this again"
            )
        out.print(f"  {'folder':<8}{escape(str(found.folder))}", soft_wrap=True)

"""`tempo generate`: words and pictures in, a film, its contact sheet and its record out."""

import dataclasses
import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from pipelines.commands.options import JsonOption, per_level, picture_size
from pipelines.console import ConsoleProgress

if TYPE_CHECKING:
    from model.generator_folder import Adapter
    from model.request import Change
    from pipelines.generate import Generated, Planned
    from pipelines.generate_job import GenerateJob

_GIB = 1 << 30


def generate_command(
    checkpoint: Annotated[Path, typer.Option(help="Folder with transformer/ and tempo.json.")],
    prompt: Annotated[str, typer.Option(help="What to show.")],
    out: Annotated[Path, typer.Option(help="NAME.mp4; beside it NAME.png, .json and .nodes.")],
    frames: Annotated[
        int, typer.Option(help="Length at 24 fps; with --video, of what is added.")
    ] = 121,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT, multiples of 16.")] = "832x480",
    schedule: Annotated[
        str, typer.Option(help="Rates and segments of each level.")
    ] = "f(6,12,24)m(1,2,4)",
    negative: Annotated[str, typer.Option(help="What guidance leads away from.")] = "",
    image: Annotated[Path | None, typer.Option(help="Picture of the first frame.")] = None,
    first: Annotated[Path | None, typer.Option(help="The same as --image.")] = None,
    last: Annotated[Path | None, typer.Option(help="Picture of the last frame.")] = None,
    video: Annotated[Path | None, typer.Option(help="Film to continue.")] = None,
    seed: Annotated[int, typer.Option(help="Of all noise.")] = 0,
    steps: Annotated[str | None, typer.Option(help="Of each level, e.g. 50,40,30.")] = None,
    guidance: Annotated[str, typer.Option(help="Scale, one or one a level; 1 is none.")] = "5",
    shift: Annotated[str, typer.Option(help="Towards noise, one or one a level.")] = "3",
    solver: Annotated[str, typer.Option(help="unipc or euler.")] = "unipc",
    paste_given: Annotated[
        bool, typer.Option("--paste-given", help="Show given pictures, not their likeness.")
    ] = False,
    strict: Annotated[
        bool, typer.Option(help="Refuse pictures at frames that a level does not have.")
    ] = False,
    stream: Annotated[
        bool, typer.Option("--stream", help="Finish the first seconds first, in a growing film.")
    ] = False,
    node_prompt: Annotated[
        list[str] | None,
        typer.Option(metavar="ID=TEXT", help="Another prompt for one node; ROUND/ID with --video."),
    ] = None,
    node_seed: Annotated[
        list[str] | None, typer.Option(metavar="ID=SEED", help="Another seed for one node.")
    ] = None,
    lora: Annotated[
        list[str] | None, typer.Option(metavar="FILE[=WEIGHT]", help="Adapter to fuse.")
    ] = None,
    ranks: Annotated[int, typer.Option(min=1, help="Processes, one a device.")] = 1,
    batch: Annotated[int | None, typer.Option(help="Windows at once.")] = None,
    memory: Annotated[float, typer.Option(help="GiB for a batch, without --batch.")] = 4.0,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32 or bfloat16.")] = None,
    offload: Annotated[
        bool, typer.Option("--offload", help="Parts that rest wait in main memory.")
    ] = False,
    tiling: Annotated[
        bool, typer.Option("--tiling", help="Autoencoder in tiles (large pictures).")
    ] = False,
    nodes: Annotated[
        Path | None, typer.Option(help="Folder of finished nodes; default beside the film.")
    ] = None,
    prompt_cache: Annotated[Path | None, typer.Option(help="Folder of embedded prompts.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check, show the plan, generate nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Generate a film by a tree of windows, or continue one.

    Started again after a kill, the same command goes on where it was. With another --node-prompt or
    --node-seed it makes that node and what depends on it anew, and nothing else.

    Examples:
      tempo generate --checkpoint checkpoints/RUN/step-N/generator --prompt "a red ball"
        --size 128x96 --out ball.mp4
      tempo generate --checkpoint DIR --prompt "…" --image first.png --frames 481 --out a.mp4
      tempo generate --checkpoint DIR --prompt "…" --video a.mp4 --frames 480 --out longer.mp4
      tempo generate --checkpoint DIR --prompt "…" --frames 481 --out a.mp4 --node-seed 2.1=7
      tempo generate --checkpoint DIR --prompt "a road" --video a.mp4 --frames 960
        --node-prompt "1/0.0=a harbour" --out b.mp4
    """
    from pipelines.generate import check
    from pipelines.generate_job import GenerateJob

    if image is not None and first is not None:
        raise ValueError("image, first: they are the same picture; give one of them")
    width, height = picture_size(size)
    device = device or _device()
    job = GenerateJob(
        checkpoint=checkpoint,
        out=out,
        prompt=prompt,
        width=width,
        height=height,
        frames=frames,
        schedule=schedule,
        steps=per_level("steps", steps, int) if steps else (),
        guidance=per_level("guidance", guidance, float),
        shift=per_level("shift", shift, float),
        solver=solver,  # type: ignore[arg-type]  # checked by the job
        negative=negative,
        seed=seed,
        first=first or image,
        last=last,
        video=video,
        paste_given=paste_given,
        strict=strict,
        stream=stream,
        batch=batch,
        memory=int(memory * _GIB),
        ranks=ranks,
        device=device,
        dtype=dtype or ("bfloat16" if device == "cuda" else "float32"),
        offload=offload,
        tiling=tiling,
        adapters=tuple(map(_adapter, lora or ())),
        changes=_changes(node_prompt or [], node_seed or []),
        nodes=nodes,
        prompt_cache=prompt_cache,
    )
    progress = ConsoleProgress(quiet=as_json)
    planned = check(job)
    for warning in planned.warnings:
        progress.out.print(f"[yellow]warning:[/yellow] {escape(warning)}")
    if dry_run:
        _show_plan(job, planned, progress, as_json=as_json)
        return
    from pipelines.generate_ranks import generate
    from training.checkpoint_record import check_generator

    with progress:
        check_generator(job.checkpoint)
        made = generate(job, progress)
    _show(made, progress)
    if as_json:
        typer.echo(json.dumps(made.document(), sort_keys=True))


def _show_plan(
    job: "GenerateJob", planned: "Planned", progress: ConsoleProgress, *, as_json: bool
) -> None:
    from model.tree_picture import text_picture

    plans = planned.plans
    numbers = itertools.count()
    for plan, alike in itertools.groupby(plans):
        rounds = [next(numbers) for _ in alike]
        if len(plans) > 1:
            which = f"round {rounds[0]}" + (f" to {rounds[-1]}" if len(rounds) > 1 else "")
            progress.out.print(f"{which} of {len(plans)}, counted from 0:")
        for line in text_picture(plan, min(progress.out.width, 120)):
            progress.out.print(line, markup=False)
    levels = zip(job.tree.rates, job.scales, strict=True)
    guided = ", ".join(str(rate) for rate, scale in levels if scale != 1.0)
    forwards = f"two forwards a step at {guided} fps" if guided else "one forward a step"
    operations = planned.operations(job)
    progress.out.print(f"{operations / 1e15:.4g} PFLOPs, {forwards}; nothing was generated")
    if as_json:
        document = {
            "plans": [plan.document() for plan in plans],
            "operations": operations,
            "warnings": planned.warnings,
        }
        typer.echo(json.dumps(document, sort_keys=True))


def _show(made: "Generated", progress: ConsoleProgress) -> None:
    out = progress.out
    out.print(
        f"[bold]{made.frames} frames[/bold] in {made.seconds:.1f} s, the first new ones after "
        f"{made.first_segment_seconds:.1f} s"
        + (f", {made.peak_bytes / _GIB:.2f} GiB at most" if made.peak_bytes else "")
    )
    for joint in made.joints:
        drift = max(
            abs(after - before)
            for before, after in zip(joint.mean_before, joint.mean_after, strict=True)
        )
        out.print(
            f"  joint at frame {joint.frame}: mean colour moves by {drift:.4f}, "
            f"pixels by {joint.step:.4f} (usually {joint.usual_step:.4f})"
        )
    places = (("film", made.video), ("sheet", made.sheet), ("record", made.record))
    for what, place in (*places, ("nodes", made.nodes)):
        out.print(f"  {what:<8} {escape(str(place))}", soft_wrap=True)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _adapter(text: str) -> "Adapter":
    from model.generator_folder import Adapter

    file, separator, weight = text.rpartition("=")
    if not separator:
        return Adapter(Path(text))
    try:
        number = float(weight)
    except ValueError as error:
        raise ValueError(f"lora={text!r}: write FILE or FILE=WEIGHT, e.g. a.safetensors=0.8") from (
            error
        )
    return Adapter(Path(file), number)


def _changes(prompts: list[str], seeds: list[str]) -> "tuple[tuple[int, str, Change], ...]":
    from model.request import Change

    changes: dict[tuple[int, str], Change] = {}
    for assignment in prompts:
        place, text = _assignment("node-prompt", assignment)
        changes[place] = Change(prompt=text)
    for assignment in seeds:
        place, text = _assignment("node-seed", assignment)
        if not text.isdecimal():
            raise ValueError(f"node-seed={assignment!r}: write ID=SEED, e.g. 2.1=7")
        changes[place] = dataclasses.replace(changes.get(place, Change()), seed=int(text))
    return tuple((*place, change) for place, change in changes.items())


def _assignment(option: str, text: str) -> tuple[tuple[int, str], str]:
    """Round and id of a node, and what is said of it."""
    name, separator, value = text.partition("=")
    number, between, node = name.strip().rpartition("/")
    if not separator or (between and not number.isdecimal()):
        raise ValueError(
            f"{option}={text!r}: write ID=VALUE or ROUND/ID=VALUE, e.g. 1/2.1=…; `tempo plan` "
            "shows the ids"
        )
    return (int(number or 0), node), value

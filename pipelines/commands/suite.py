"""`tempo suite`: manifests of prompts and pictures, made, imported and checked."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from pipelines.commands.options import HomeOption, JsonOption
from pipelines.console import ConsoleProgress

app = typer.Typer(no_args_is_help=True, help="Suites of prompts for `tempo evaluate`.")


@app.command("check")
def check_command(
    file: Annotated[Path, typer.Argument(help="A manifest, .jsonl or .csv.")],
    as_json: JsonOption = False,
) -> None:
    """Check a manifest: every row, and every picture to its last pixel.

    Example: [bold]tempo suite check prompts.csv[/bold]
    """
    from evaluation.suites import read_suite

    suite = read_suite(file)
    pictures = sum(prompt.image is not None for prompt in suite.prompts)
    progress = ConsoleProgress(quiet=as_json)
    progress.out.print(
        f"{len(suite.prompts)} prompts, {pictures} with a picture; sha256 {suite.sha256}"
    )
    if as_json:
        typer.echo(json.dumps({"prompts": len(suite.prompts), "sha256": suite.sha256}))


@app.command("from-dataset")
def from_dataset_command(
    dataset: Annotated[str, typer.Argument(help="NAME, NAME@latest or NAME@3.")],
    home: HomeOption = None,
    prompts: Annotated[int, typer.Option(min=1, help="At most so many.")] = 6,
    every: Annotated[
        int, typer.Option(min=1, help="Frames between moments of one shot that begin a video.")
    ] = 48,
    as_json: JsonOption = False,
) -> None:
    """Make a suite of a version's validation side: first frames and captions of its clips.

    Example: [bold]tempo suite from-dataset demo@1 --prompts 12[/bold]
    """
    from pipelines.settings import standing_home
    from pipelines.suites import FromDataset, dataset_suite

    suite, path = dataset_suite(standing_home(home), dataset, FromDataset(prompts, every))
    _show(path, len(suite.prompts), as_json=as_json)


@app.command("from-vbench")
def from_vbench_command(
    info: Annotated[Path, typer.Argument(help="VBench's vbench2_i2v_full_info.json.")],
    images: Annotated[Path, typer.Argument(help="Its folder crop/16-9, or origin with --boxes.")],
    out: Annotated[Path, typer.Option(help="The manifest to write, .jsonl.")],
    boxes: Annotated[
        Path | None, typer.Option(help="Its i2v-bench-info.json: cut whole pictures.")
    ] = None,
    ratio: Annotated[str, typer.Option(help="Shape to cut to: 1-1, 8-5, 7-4 or 16-9.")] = "16-9",
    as_json: JsonOption = False,
) -> None:
    """Import VBench's image-to-video suite from its own files; none of them comes with tempo.

    Examples:
      tempo suite from-vbench vbench2_i2v_full_info.json crop/16-9 --out vbench.jsonl
      tempo suite from-vbench vbench2_i2v_full_info.json origin --boxes i2v-bench-info.json
        --ratio 7-4 --out vbench.jsonl
    """
    from evaluation.vbench_i2v import import_suite

    count = import_suite(info, images, out, boxes=boxes, ratio=ratio)
    _show(out, count, as_json=as_json)


def _show(path: Path, count: int, *, as_json: bool) -> None:
    progress = ConsoleProgress(quiet=as_json)
    progress.out.print(f"{count} prompts\n  suite    {escape(str(path))}", soft_wrap=True)
    if as_json:
        typer.echo(json.dumps({"prompts": count, "suite": str(path)}))

"""`tempo train`, `tempo export`, `tempo replay`: weights from shards, and out of checkpoints."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from pipelines.commands.options import HomeOption, JsonOption, TrainSetOption
from pipelines.console import ConsoleProgress

if TYPE_CHECKING:
    from pipelines.export import Replayed
    from pipelines.train import Trained
    from pipelines.train_dry_run import DryRun


def train_command(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe, e.g. train_debug_cpu.")],
    dataset: Annotated[str, typer.Option(help="NAME, NAME@latest or NAME@3.")],
    home: HomeOption = None,
    name: Annotated[
        str, typer.Option(help="Of the run; default: the recipe's and the dataset's.")
    ] = "",
    steps: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    start_from: Annotated[
        str | None,
        typer.Option("--from", metavar="CHECKPOINT", help="Begin with its averaged weights."),
    ] = None,
    gpus: Annotated[
        int | None, typer.Option(min=1, help="Processes: one a GPU, or on the processor.")
    ] = None,
    hostfile: Annotated[
        Path | None, typer.Option(help="Machines instead: lines of HOST slots=N, by ssh.")
    ] = None,
    resume: Annotated[str, typer.Option(help="auto or never.")] = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would need; load and start nothing.")
    ] = False,
    gpu_memory: Annotated[
        float, typer.Option(min=0.1, metavar="GIB", help="Of each GPU, for --dry-run.")
    ] = 80.0,
    peak_tflops: Annotated[
        float, typer.Option(min=0.001, help="Of each GPU, from its datasheet, for --dry-run.")
    ] = 989.0,
    mfu: Annotated[
        float, typer.Option(min=0.001, max=1.0, help="Share of that it reaches, for --dry-run.")
    ] = 0.4,
    overrides: TrainSetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train on a dataset version; the same command again goes on where it was.

    Examples:
      tempo train train_debug_cpu --dataset demo
      tempo train train_debug_cpu_stage2 --dataset demo --from debug_cpu-demo-1
      tempo train train_stage1_a14b --dataset films@3 --gpus 8 --set optimiser.lr=2e-5
      tempo train train_stage2_a14b --dataset films --gpus 32 --dry-run --mfu 0.35
    """
    from pipelines.recipes.training import training_recipe
    from pipelines.settings import standing_home, with_overrides
    from pipelines.train import TrainRequest, train
    from pipelines.train_dry_run import dry_run as plan
    from pipelines.train_ranks import read_hostfile
    from training.budget import Machine

    given = [f"steps={steps}"] if steps is not None else []
    if start_from is not None:
        given += ["network.init.kind=checkpoint", f"network.init.source={start_from}"]
    if resume not in ("auto", "never"):
        raise ValueError(f"resume={resume!r}: use auto or never")
    request = TrainRequest(
        config=with_overrides(training_recipe(recipe), [*given, *(overrides or [])]),
        dataset=dataset,
        training=name,
        ranks=gpus,
        hostfile=hostfile,
        resume="never" if resume == "never" else "auto",
    )
    progress = ConsoleProgress(quiet=as_json)
    if dry_run:
        ranks = sum(host.ranks for host in read_hostfile(hostfile)) if hostfile else gpus or 1
        machine = Machine(ranks, round(gpu_memory * 2**30), peak_tflops * 1e12, mfu)
        planned = plan(request.config, dataset, standing_home(home), machine)
        _show_plan(planned, progress)
        if as_json:
            typer.echo(json.dumps(planned.document(), sort_keys=True))
        return
    with progress:
        trained = train(request, standing_home(home), progress)
    _show(trained, progress)
    if as_json:
        typer.echo(json.dumps(trained.document(), sort_keys=True))


def _show_plan(planned: "DryRun", progress: ConsoleProgress) -> None:
    for line in planned.lines():
        progress.out.print(line, soft_wrap=True, highlight=False)
    for warning in planned.warnings:
        progress.say(f"warning: {warning}")
    if planned.remedy:
        changes = " ".join(f"--set {change}" for change in planned.remedy)
        progress.say(f"it would fit with {changes}")


def _show(trained: "Trained", progress: ConsoleProgress) -> None:
    out = progress.out
    figures = [
        f"{what} {value:.4f}"
        for what, value in (("loss", trained.loss), ("validation loss", trained.val_loss))
        if value is not None
    ]
    out.print(
        f"[bold]{escape(trained.training)}[/bold] is at step {trained.steps}"
        + (f": {', '.join(figures)}" if figures else "")
        + f" ({trained.steps - trained.began_at} steps in {trained.seconds:.0f} s)"
    )
    places = {
        "checkpoint": trained.checkpoint,
        "generator": trained.generator or "none: tempo export makes one",
        "logs": trained.folder,
        "samples": trained.samples or "none",
    }
    for what, place in places.items():
        out.print(f"  {what:<11}{escape(str(place))}", soft_wrap=True)


def export_command(
    checkpoint: Annotated[str, typer.Argument(help="RUN, RUN/step-00000100, or its folder.")],
    to: Annotated[Path, typer.Option(help="Folder to write; new or empty.")],
    home: HomeOption = None,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    as_json: JsonOption = False,
) -> None:
    """Write a checkpoint's averaged weights as a folder for `tempo generate` and for diffusers.

    Adapters are stored beside the network in lora/, and fused into it.

    Example: [bold]tempo export debug_cpu-demo-1 --to generator[/bold]
    """
    from pipelines.export import export
    from pipelines.settings import home_at

    if dtype not in ("float32", "bfloat16"):
        raise ValueError(f"dtype={dtype!r}: use float32 or bfloat16")
    made = export(home_at(home), checkpoint, to, "float32" if dtype == "float32" else "bfloat16")
    ConsoleProgress(quiet=as_json).out.print(f"generator  {escape(str(made))}", soft_wrap=True)
    if as_json:
        typer.echo(json.dumps({"generator": str(made)}))


def replay_command(
    training: Annotated[str, typer.Argument(help="Name of the run.")],
    step: Annotated[int, typer.Option(min=0, help="As skipped.jsonl counts them, from 0.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the batch of a step again, sample by sample, to see which makes gradients not finite.

    Example: [bold]tempo replay debug_cpu-demo-1 --step 41[/bold]
    """
    from pipelines.export import replay
    from pipelines.settings import home_at

    replayed = replay(home_at(home), training, step)
    _show_replayed(replayed, ConsoleProgress(quiet=as_json))
    if as_json:
        typer.echo(json.dumps(replayed.document(), sort_keys=True))


def _show_replayed(replayed: "Replayed", progress: ConsoleProgress) -> None:
    out = progress.out
    out.print(f"step {replayed.step} with the weights of {escape(str(replayed.checkpoint))}")
    for batch in replayed.batches:
        norm = batch["grad_norm"]
        out.print(f"micro-batch {batch['slot']} of {batch['bucket']}: gradient {norm:.4g}")
        for sample in batch["samples"]:
            out.print(
                f"  {sample['sample_id']}  {sample['rate']:>2} fps from frame "
                f"{sample['start']:>4}, {sample['mask']:<10}  t {sample['time']:.3f}  "
                f"loss {sample['loss']:.4f}"
            )

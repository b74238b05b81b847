"""The curve of a training run, as an artifact: Markdown with the loss as a row of bars.

Text and not a picture: Prefect's server keeps it, and no other server has to hand out a file.
"""

import json
import statistics
from pathlib import Path

from prefect.artifacts import create_markdown_artifact

from pipelines.train import Trained
from training.journal import METRICS

_POINTS = 24
_BARS = "▁▂▃▄▅▆▇█"


def show_training(trained: Trained) -> None:
    """Publish the curve of a training run's loss."""
    losses = read_losses(trained.folder / METRICS)
    create_markdown_artifact(
        markdown=training_curve(trained, losses),
        key="training-curve",
        description=f"Loss of {trained.training}",
    )


def read_losses(metrics: Path) -> list[tuple[int, float]]:
    """Step and loss of every step whose loss is a number."""
    found = []
    with metrics.open(encoding="utf-8") as lines:
        for line in lines:
            step = json.loads(line)
            if isinstance(step["loss"], float):
                found.append((step["step"], step["loss"]))
    return found


def training_curve(trained: Trained, losses: list[tuple[int, float]]) -> str:
    """A run in Markdown: its figures, and its loss as bars over a table of means."""
    parts = _even_parts(losses, _POINTS)
    values = [statistics.fmean(loss for _, loss in part) for part in parts]
    place = f"`{METRICS}` and TensorBoard's files in `{trained.folder}`"
    validation = "" if trained.val_loss is None else f", validation loss {trained.val_loss:.4f}"
    lines = [
        f"## {trained.training}",
        "",
        f"Step {trained.steps} on {trained.dataset}{validation}.",
        f"Checkpoint `{trained.checkpoint}`; {place}.",
        "",
        f"Loss `{bars(values)}`",
        "",
        "| steps | mean loss |",
        "|---:|---:|",
    ]
    lines += [
        f"| {part[0][0]}-{part[-1][0]} | {value:.4f} |"
        for part, value in zip(parts, values, strict=True)
    ]
    return "\n".join(lines)


def bars(values: list[float]) -> str:
    """Numbers as blocks of eight heights, from the least to the greatest."""
    if not values:
        return ""
    low, high = min(values), max(values)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((value - low) * scale)] for value in values)


def _even_parts(losses: list[tuple[int, float]], count: int) -> list[list[tuple[int, float]]]:
    size = max(-(-len(losses) // count), 1)
    return [losses[start : start + size] for start in range(0, len(losses), size)]

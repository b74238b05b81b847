"""The curve of a training run, as an artifact: Markdown, which Prefect's pages draw as a chart.

An image artifact is an address, and a picture that is its own address stands below itself as pages
of letters. So the chart is words (Mermaid's xychart) that the server keeps and the page draws; the
older pages of Prefect show them as words, beside a row of bars that needs no drawing.
"""

import json
import statistics
from pathlib import Path

from prefect.artifacts import create_markdown_artifact

from pipelines.train import Trained
from training.journal import METRICS

_POINTS, _ROWS = 60, 12
_BARS = "▁▂▃▄▅▆▇█"
# The page's own colour of a line is hardly to be seen in either of its themes.
_COLOUR = '%%{init: {"themeVariables": {"xyChart": {"plotColorPalette": "#2f6fde"}}}}%%'


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
    place = f"`{METRICS}` and TensorBoard's files in `{trained.folder}`"
    validation = "" if trained.val_loss is None else f", validation loss {trained.val_loss:.4f}"
    lines = [
        f"## {trained.training}",
        "",
        f"Step {trained.steps} on {trained.dataset}{validation}.",
        f"Checkpoint `{trained.checkpoint}`; {place}.",
        "",
    ]
    if not losses:
        return "\n".join([*lines, "No step had a loss that is a number."])
    rows = _means(_even_parts(losses, _ROWS))
    lines += [*_chart(_means(_even_parts(losses, _POINTS))), ""]
    lines += [f"Loss `{bars([mean for *_, mean in rows])}`", ""]
    lines += ["| steps | mean loss |", "|---:|---:|"]
    lines += [f"| {first}-{last} | {mean:.4f} |" for first, last, mean in rows]
    return "\n".join(lines)


def _chart(rows: list[tuple[int, int, float]]) -> list[str]:
    """Lines of Markdown that Mermaid draws; its numbers know no exponents."""
    means = [mean for *_, mean in rows]
    room = (max(means) - min(means)) * 0.05 or max(abs(means[0]) * 0.05, 0.01)
    return [
        "```mermaid",
        _COLOUR,
        "xychart-beta",
        f'    x-axis "step" {rows[0][0]} --> {max(rows[-1][1], rows[0][0] + 1)}',
        f'    y-axis "mean loss" {min(means) - room:.5f} --> {max(means) + room:.5f}',
        f"    line [{', '.join(f'{mean:.5f}' for mean in means)}]",
        "```",
    ]


def _means(parts: list[list[tuple[int, float]]]) -> list[tuple[int, int, float]]:
    """Of each part: its first step, its last, and its mean loss."""
    return [(part[0][0], part[-1][0], statistics.fmean(loss for _, loss in part)) for part in parts]


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

"""What a run writes down: a line of JSON for each step, and curves for TensorBoard or W&B.

The lines are the record: complete, exact, and cut back to the checkpoint when a run is resumed, so
that an interrupted run leaves the lines of an undisturbed one, but for the clock. Curves are means
over some steps, for eyes. Only the first rank has a journal.
"""

import contextlib
import dataclasses
import json
import math
import statistics
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from PIL import Image

from curation.unfinished import replacing
from training.meter import StepReport

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS = "metrics.jsonl"
VALIDATION = "validation.jsonl"
SKIPPED = "skipped.jsonl"
_CURVES = "tensorboard"


@dataclasses.dataclass(frozen=True, slots=True)
class LogConfig:
    """What is written down.

    Attributes:
        every: steps that a point of a curve, and a line in the terminal, is the mean of.
        tensorboard: write curves for TensorBoard.
        wandb_project: also send curves to this project of Weights & Biases (the extra `wandb`).
    """

    every: int = 10
    tensorboard: bool = True
    wandb_project: str | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"log.every = {self.every}: give at least 1")


class Journal:
    """Writes a run down. Use it as a context manager.

    Args:
        folder: of the run.
        config: what is written.
        start: steps done already; what was written of later ones is cut off.
        run: name and config of the run, for W&B.
    """

    def __init__(
        self, folder: Path, config: LogConfig, start: int, run: tuple[str, dict[str, Any]]
    ) -> None:
        self._config = config
        self._folder = folder
        self._open = contextlib.ExitStack()
        folder.mkdir(parents=True, exist_ok=True)
        for name, keep in ((METRICS, start), (SKIPPED, start), (VALIDATION, start + 1)):
            cut_back(folder / name, keep)
        self._lines = self._open.enter_context(
            (folder / METRICS).open("a", encoding="utf-8", buffering=1)
        )
        self._curves = self._tensorboard(start) if config.tensorboard else None
        self._wandb = self._wandb_run(*run) if config.wandb_project else None
        self._recent: list[StepReport] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def step(self, report: StepReport, *, last: bool) -> list[StepReport]:
        """Write a step down; with the last of the run, or every few, the curves get a point.

        Returns:
            The steps since the last point of the curves, where these get one; else none.
        """
        self._lines.write(json.dumps(_plain(dataclasses.asdict(report))) + "\n")
        self._recent.append(report)
        if not last and len(self._recent) < self._config.every:
            return []
        recent, self._recent = self._recent, []
        self.scalars(report.step + 1, summary(recent))
        return recent

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Add a point to each of some curves."""
        if self._curves is not None:
            for name, value in values.items():
                self._curves.add_scalar(name, value, step)
        if self._wandb is not None:
            self._wandb.log(values, step=step)

    def validated(self, step: int, loss: float, parts: dict[str, float]) -> None:
        """Write down what the averaged weights did on held-out films after so many steps."""
        with (self._folder / VALIDATION).open("a", encoding="utf-8") as file:
            file.write(json.dumps(_plain({"step": step, "loss": loss, "parts": parts})) + "\n")
        named = {f"validation/{name}": value for name, value in parts.items()}
        self.scalars(step, {"validation/loss": loss, **named})

    def picture(self, step: int, sheet: Path) -> None:
        """Show a contact sheet beside the curves."""
        if self._curves is not None:
            with Image.open(sheet) as opened:
                pixels = np.asarray(opened.convert("RGB"))
            self._curves.add_image("validation/video", pixels, step, dataformats="HWC")
        if self._wandb is not None:
            import wandb

            self._wandb.log({"validation/video": wandb.Image(str(sheet))}, step=step)

    def skipped(self, step: int, batches: list[dict[str, Any]]) -> None:
        """Write down what a step was made of whose gradients were not finite."""
        with (self._folder / SKIPPED).open("a", encoding="utf-8") as file:
            file.write(json.dumps(_plain({"step": step, "batches": batches})) + "\n")

    def _tensorboard(self, start: int) -> "SummaryWriter":
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(str(self._folder / _CURVES), purge_step=start, flush_secs=30)
        self._open.callback(writer.close)
        return writer

    def _wandb_run(self, name: str, config: dict[str, Any]) -> Any:  # noqa: ANN401 - an extra
        try:
            import wandb
        except ModuleNotFoundError as error:
            raise ValueError(
                "log.wandb_project needs the extra `wandb`: pip install 'tempomaster[wandb]'"
            ) from error
        run = wandb.init(
            project=self._config.wandb_project,
            name=name,
            id=name,
            resume="allow",
            dir=str(self._folder),
            config=config,
        )
        self._open.callback(run.finish)
        return run


def summary(reports: list[StepReport]) -> dict[str, float]:
    """Curves' points: means over some steps, rates of the whole of them."""
    seconds = sum(report.seconds for report in reports)
    applied = [report for report in reports if report.applied]
    found = {
        "train/loss": _mean([report.loss for report in reports]),
        "train/grad_norm": _mean([report.grad_norm for report in applied]),
        "train/lr": reports[-1].lr,
        "train/skipped": float(len(reports) - len(applied)),
        "speed/step_seconds": seconds / len(reports),
        "speed/tokens_per_second": sum(report.tokens for report in reports) / seconds,
        "speed/tflops": sum(report.flops for report in reports) / seconds / 1e12,
        "speed/data_wait_share": sum(report.data_wait for report in reports) / seconds,
        "memory/gib": max(report.memory for report in reports) / 2**30,
    }
    shares = [report.mfu for report in reports if report.mfu is not None]
    if shares:
        found["speed/mfu"] = _mean(shares)
    for part in sorted({part for report in reports for part in report.parts}):
        found[f"loss/{part}"] = _mean([r.parts[part] for r in reports if part in r.parts])
    return {name: value for name, value in found.items() if math.isfinite(value)}


def cut_back(path: Path, start: int) -> None:
    """Drop lines of a step and of later ones, and one that a kill has cut short."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError):
            if json.loads(line)["step"] < start:
                kept.append(line + "\n")
    with replacing(path) as unfinished:
        unfinished.write_text("".join(kept), encoding="utf-8")


def _mean(values: list[float]) -> float:
    return statistics.fmean(values) if values else math.nan


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON holds anything
    """As JSON holds it, which knows no infinity: figures that are not finite become null."""
    if isinstance(value, dict):
        return {key: _plain(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(held) for held in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""The loop: next batch, step, log, validate, checkpoint.

Everything it works on is put together before it runs (`training.trainer`), so what is here can be
read on one screen. It remembers nothing that is not in a checkpoint: step k does what it would do
in a run that was never interrupted.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch

from training.batches import Batch
from training.checkpoint import Standing
from training.config import TrainConfig
from training.data import TrainingData
from training.draws import Draws, Purpose
from training.engine import Engine
from training.errors import DivergedError
from training.journal import SKIPPED, Journal
from training.loader import Loader
from training.meter import Meter, StepReport
from training.objective import Losses, Objective, VelocityNetwork
from training.ranks import World


class Validator(Protocol):
    """Judges the averaged weights."""

    def due(self, step: int) -> bool:
        """Whether so many steps call for it."""
        ...

    def run(self, step: int) -> float:
        """Judge them; all ranks call it together, and get the same validation loss."""
        ...

    def look(self, step: int) -> None:
        """Show what they can do, after `run`; all ranks call it together."""
        ...


@dataclasses.dataclass(frozen=True)
class Parts:
    """What the loop works on.

    Attributes:
        config: of the run.
        world: all ranks.
        data: the training side.
        objective: from a batch to its loss.
        engine: the network under training.
        meter: adds up what a step did.
        journal: on the first rank.
        validator: None where nothing is held out.
        save: writes the checkpoint after a step.
        tell: hears of each step, and of the means where a point of the curves is complete.
    """

    config: TrainConfig
    world: World
    data: TrainingData
    objective: Objective
    engine: Engine
    meter: Meter
    journal: Journal | None
    validator: Validator | None
    save: Callable[[Standing], None]
    tell: Callable[[StepReport, list[StepReport]], None]


def fit(parts: Parts, start: int, skipped: int = 0) -> None:
    """Train from a step to the last one.

    Args:
        parts: what is worked on, as it was after the step before.
        start: the first step.
        skipped: steps in a row before it whose gradients were not finite.

    Raises:
        DivergedError: too many steps in a row without finite gradients.
        TrainingDataError: too many samples are damaged, or a shard cannot be read.
    """
    config, world = parts.config, parts.world
    with parts.data.loader(
        rank=world.data_rank, ranks=world.data_ranks, start=start, stop=config.steps
    ) as loader:
        for step in range(start, config.steps):
            report, batches = train_step(parts, loader, step)
            skipped = 0 if report.applied else skipped + 1
            _write_down(parts, report, batches)
            done = step + 1
            diverged = skipped >= config.optimiser.max_skipped
            last = diverged or done == config.steps
            judged = _validate(parts, done, last=last)
            if last or done % config.checkpoint.every == 0:
                parts.save(Standing(done, skipped, judged))
            if diverged:
                raise diverged_at(step, skipped)
            if parts.validator is not None and judged is not None:
                parts.validator.look(done)  # with the checkpoint stored, whatever becomes of it


def train_step(parts: Parts, loader: Loader, step: int) -> tuple[StepReport, list[dict[str, Any]]]:
    """One update: all micro-batches of this rank, then the optimiser.

    Returns:
        What it did, and what it was made of.
    """
    batches: list[dict[str, Any]] = []
    last = False
    while not last:
        batch = next(loader)
        last = batch.last_of_step
        losses = forward(parts, batch, parts.engine.run)
        parts.engine.backward(losses.total, last=last)
        parts.meter.watch(batch, losses)
        batches.append(described(batch, losses))
    lr = parts.config.optimiser.lr_at(step, parts.config.steps)
    update = parts.engine.step(lr)
    return parts.meter.report(step, update, lr, loader.waited), batches


def forward(parts: Parts, batch: Batch, network: VelocityNetwork) -> Losses:
    """The losses of a micro-batch; what dropout draws depends on its place alone."""
    draws = Draws(parts.config.seed, Purpose.DROPOUT, batch.slot)
    torch.manual_seed(draws.word() >> 1)
    inputs = parts.objective.prepare(batch.to(parts.world.device))
    return parts.objective.loss(network, inputs)


def described(batch: Batch, losses: Losses) -> dict[str, Any]:
    """A micro-batch and its losses, as a record names them."""
    return {
        "slot": batch.slot,
        "bucket": str(batch.bucket),
        "samples": [
            {
                "sample_id": sample,
                "rate": rate,
                "start": start,
                "mask": kind,
                "time": t,
                "loss": loss,
            }
            for sample, rate, start, kind, t, loss in zip(
                batch.sample_ids,
                batch.rates.tolist(),
                batch.starts.tolist(),
                batch.mask_kinds,
                batch.times.tolist(),
                losses.per_sample.tolist(),
                strict=True,
            )
        ],
    }


def _write_down(parts: Parts, report: StepReport, batches: list[dict[str, Any]]) -> None:
    gathered = None if report.applied else parts.world.gathered(batches)
    if parts.journal is None:
        return
    if gathered is not None:
        parts.journal.skipped(report.step, [batch for rank in gathered for batch in rank])
    last = report.step + 1 == parts.config.steps
    parts.tell(report, parts.journal.step(report, last=last))


def _validate(parts: Parts, done: int, *, last: bool) -> float | None:
    if parts.validator is None or not (last or parts.validator.due(done)):
        return None
    return parts.validator.run(done)


def diverged_at(step: int, skipped: int) -> DivergedError:
    """The error that stops a run, and keeps it from going on unasked."""
    return DivergedError(
        f"step {step}: gradients were not finite in {skipped} steps in a row "
        f"(optimiser.max_skipped); what they were made of stands in {SKIPPED}, and a checkpoint "
        f"holds the weights: `tempo replay --step {step}` runs one again. Begin another run from "
        "an earlier checkpoint with a lower optimiser.lr, or go on with a higher "
        "optimiser.max_skipped"
    )


def replay(parts: Parts, step: int) -> Iterator[tuple[dict[str, Any], float]]:
    """Run a step again, one micro-batch at a time, and change nothing.

    Yields:
        Each micro-batch as a record names it, and the norm of its own gradients.
    """
    world = parts.world
    with parts.data.loader(
        rank=world.data_rank, ranks=world.data_ranks, start=step, stop=step + 1
    ) as loader:
        for batch in loader:
            losses = forward(parts, batch, parts.engine.network)
            norm = parts.engine.gradient_norm(losses.total * batch.step_samples / len(batch))
            yield described(batch, losses), norm

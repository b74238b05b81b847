"""What a step did, over all ranks: losses by time, rate and mask, tokens, waits, utilisation.

Each rank adds up sums and counts in one small vector, and one all-reduce of it gives every figure;
ranks that share samples (context parallel) count alike, which no mean notices.
"""

import dataclasses
import time
from typing import get_args

import psutil
import torch
from torch import Tensor

from model import flops
from model.presets import DiTConfig
from training.batches import Batch
from training.engine import Update
from training.masks import MaskKind
from training.objective import Losses
from training.ranks import World

TIME_BINS = 10
_PEAK_TFLOPS = (
    ("B200", 2250.0), ("H200", 989.0), ("H100", 989.0), ("H800", 989.0), ("A100", 312.0),
    ("A800", 312.0), ("L40S", 362.0), ("4090", 165.0),
)  # fmt: skip
"""Dense bfloat16 products of a device, from its maker's data sheet, by a part of its name."""


@dataclasses.dataclass(frozen=True, slots=True)
class StepReport:
    """A step, seen from all ranks.

    Attributes:
        step: its number, from 0.
        loss: mean over the samples of the global batch.
        applied: whether weights were updated.
        grad_norm: before clipping.
        lr: learning rate.
        seconds: from the end of the last step to the end of this one, on the first rank.
        data_wait: of those, waiting for batches; the longest wait of any rank.
        tokens: of all ranks.
        samples: of all ranks.
        flops: of forward and backward, all ranks; nothing is counted twice for recomputing.
        mfu: share of the devices' peak; None where the peak is not known.
        memory: greatest bytes in use on a device of any rank (on a CPU: of its process).
        parts: "time/0.3", "rate/24", "mask/first", "latents/given" -> mean loss.
    """

    step: int
    loss: float
    applied: bool
    grad_norm: float
    lr: float
    seconds: float
    data_wait: float
    tokens: int
    samples: int
    flops: float
    mfu: float | None
    memory: int
    parts: dict[str, float]


class Meter:
    """Watches the micro-batches of this rank.

    Args:
        size: of the network.
        text_length: tokens.
        token_side: pixels on the side of a token.
        rates: that windows are shown at.
        world: all ranks.
    """

    def __init__(
        self,
        size: DiTConfig,
        text_length: int,
        token_side: int,
        rates: tuple[int, ...],
        world: World,
    ) -> None:
        self._size, self._text_length, self._token_side = size, text_length, token_side
        self._world = world
        self._peak = _peak_flops(world.device)
        times = [f"time/{bin_ / TIME_BINS:.1f}" for bin_ in range(TIME_BINS)]
        self._parts = [
            *times,
            *(f"rate/{rate}" for rate in sorted(set(rates))),
            *(f"mask/{kind}" for kind in get_args(MaskKind)),
            "latents/given",
            "latents/free",
        ]
        self._places = {part: place for place, part in enumerate(self._parts)}
        self._ended = time.perf_counter()
        self._waited = 0.0
        self._clear()

    def watch(self, batch: Batch, losses: Losses) -> None:
        """Add a micro-batch."""
        bucket, samples = batch.bucket, len(batch)
        self._totals += torch.tensor(
            [
                float(losses.per_sample.sum()),
                samples,
                samples * bucket.tokens(self._token_side),
                flops.training(
                    self._size,
                    bucket.latents,
                    bucket.height,
                    bucket.width,
                    self._text_length,
                    batch=samples,
                ),
            ],
            dtype=torch.float64,
        )
        self._add(losses.given, ["latents/given"] * samples)
        self._add(losses.free, ["latents/free"] * samples)
        bins = (batch.times.cpu() * TIME_BINS).long().clamp(0, TIME_BINS - 1).tolist()
        self._add(losses.per_sample, [f"time/{bin_ / TIME_BINS:.1f}" for bin_ in bins])
        self._add(losses.per_sample, [f"rate/{rate}" for rate in batch.rates.tolist()])
        self._add(losses.per_sample, [f"mask/{kind}" for kind in batch.mask_kinds])

    def report(self, step: int, update: Update, lr: float, waited: float) -> StepReport:
        """The step, over all ranks, which call this together; a new step begins.

        Args:
            step: its number.
            update: what came of it.
            lr: learning rate.
            waited: seconds that this rank has waited for batches since it began.
        """
        world = self._world
        sums = world.summed(torch.cat([self._totals, self._sums, self._counts]))
        ends = [len(self._totals), len(self._totals) + len(self._parts)]
        totals, parts, counts = sums[: ends[0]], sums[ends[0] : ends[1]], sums[ends[1] :]
        now = time.perf_counter()
        slowest = [max(column) for column in zip(*world.gathered(self._local(waited)), strict=True)]
        seconds, sharing = now - self._ended, world.context_parallel
        total, samples, tokens, operations = (float(value) for value in totals)
        self._ended, self._waited = now, waited
        self._clear()
        peak = self._peak * world.size if self._peak is not None else None
        return StepReport(
            step=step,
            loss=total / samples,
            applied=update.applied,
            grad_norm=update.grad_norm,
            lr=lr,
            seconds=seconds,
            data_wait=slowest[0],
            tokens=int(tokens) // sharing,
            samples=int(samples) // sharing,
            flops=operations / sharing,
            mfu=operations / sharing / seconds / peak if peak else None,
            memory=int(slowest[1]),
            parts={
                part: float(parts[place] / counts[place])
                for part, place in self._places.items()
                if counts[place]
            },
        )

    def _local(self, waited: float) -> tuple[float, float]:
        if self._world.device.type == "cuda":
            memory = torch.cuda.max_memory_allocated(self._world.device)
        else:
            memory = psutil.Process().memory_info().rss
        return waited - self._waited, float(memory)

    def _add(self, losses: Tensor, parts: list[str]) -> None:
        for loss, part in zip(losses.tolist(), parts, strict=True):
            if loss == loss:  # NaN: a sample has no such latents, or the step will be skipped
                self._sums[self._places[part]] += loss
                self._counts[self._places[part]] += 1

    def _clear(self) -> None:
        self._totals = torch.zeros(4, dtype=torch.float64)
        self._sums = torch.zeros(len(self._parts), dtype=torch.float64)
        self._counts = torch.zeros(len(self._parts), dtype=torch.float64)


def _peak_flops(device: torch.device) -> float | None:
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((1e12 * peak for part, peak in _PEAK_TFLOPS if part in name), None)

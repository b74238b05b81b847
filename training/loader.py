"""Batches ahead of time: worker threads decode while the network works.

Threads, because what takes time (reading, hashing, decoding, resizing) runs outside Python's lock,
and because batches of hundreds of megabytes need then never cross a process border or fit a
container's shared memory. The trade-off: a decoder that crashes takes the run with it; bytes are
held against their hash first, so it sees only what it decoded when the shard was verified.

Nothing here decides anything: the plan says what each batch holds, and a loader that starts at step
k gives what one that came from step 0 would give there.
"""

import collections
import dataclasses
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from training.batches import Batch, collate
from training.errors import too_many_damaged
from training.examples import Example, ExampleMaker
from training.plan import BatchPlan, MicroBatch, check_ranks


@dataclasses.dataclass(frozen=True, slots=True)
class LoaderConfig:
    """How batches are made; none of this changes what is in them.

    Attributes:
        workers: threads that decode, on each rank.
        prefetch: micro-batches that are made ahead of the one in use. All workers are busy when
            these hold at least as many samples as there are workers.
        max_damaged: a rank that has met more damaged samples than this stops.
        pin_memory: put pictures into page-locked memory, for copies to a GPU that wait for nothing.
    """

    workers: int = 2
    prefetch: int = 4
    max_damaged: int = 16
    pin_memory: bool = False

    def __post_init__(self) -> None:
        for name, least in (("workers", 1), ("prefetch", 1), ("max_damaged", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"loader.{name} = {getattr(self, name)}: give at least {least}")


@dataclasses.dataclass(slots=True)
class _Making:
    """A micro-batch under way."""

    plan: MicroBatch
    last_of_step: bool
    pixels: Tensor
    examples: list[Future[Example]]

    def finished(self) -> Batch:
        examples = [future.result() for future in self.examples]
        return collate(self.plan, self.pixels, examples, last_of_step=self.last_of_step)


class Loader:
    """One rank's micro-batches, step by step. Iterate it, inside a ``with`` block.

    Args:
        plan: the global batches.
        maker: makes examples.
        config: workers and prefetch.
        rank: whose share; ranks that work on one sample together (context parallel) count as one.
        ranks: how many share a step.
        start: first step.
        stop: step before which to end; None to go on for ever.

    Raises:
        ValueError: so many ranks cannot share a step evenly.
    """

    def __init__(
        self,
        plan: BatchPlan,
        maker: ExampleMaker,
        config: LoaderConfig,
        *,
        rank: int = 0,
        ranks: int = 1,
        start: int = 0,
        stop: int | None = None,
    ) -> None:
        check_ranks(plan.config, rank, ranks)
        self._plan, self._maker, self._config = plan, maker, config
        self._todo = self._shares(rank, ranks, start, stop)
        self._making: collections.deque[_Making] = collections.deque()
        self._workers = ThreadPoolExecutor(config.workers, "loader")
        self.damaged: dict[str, str] = {}
        """sample_id -> reason, of all samples that were replaced so far."""
        self.waited = 0.0
        """Seconds that the caller has waited for batches."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        """The next micro-batch.

        Raises:
            TrainingDataError: too many samples are damaged, or a shard cannot be read.
        """
        began = time.perf_counter()
        self._start_making()
        if not self._making:
            raise StopIteration
        batch = self._making.popleft().finished()
        self._start_making()
        self.waited += time.perf_counter() - began
        self.damaged |= batch.damaged
        if len(self.damaged) > self._config.max_damaged:
            raise too_many_damaged(self.damaged, self._config.max_damaged)
        return batch

    def close(self) -> None:
        """Stop all workers; each ends the sample that it is at."""
        self._workers.shutdown(wait=True, cancel_futures=True)
        self._making.clear()

    def _shares(
        self, rank: int, ranks: int, start: int, stop: int | None
    ) -> Iterator[tuple[MicroBatch, bool]]:
        step = start
        while stop is None or step < stop:
            share = self._plan.of_rank(step, rank, ranks)
            yield from ((batch, batch is share[-1]) for batch in share)
            step += 1

    def _start_making(self) -> None:
        while len(self._making) < self._config.prefetch:
            following = next(self._todo, None)
            if following is None:
                return
            plan, last_of_step = following
            bucket = plan.bucket
            pixels = torch.empty(
                (len(plan.visits), bucket.frames, bucket.height, bucket.width, 3),
                dtype=torch.uint8,
                pin_memory=self._config.pin_memory,
            )
            examples = [
                self._workers.submit(self._maker.make, plan, row, pixels[row].numpy())
                for row in range(len(plan.visits))
            ]
            self._making.append(_Making(plan, last_of_step, pixels, examples))

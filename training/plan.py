"""Which samples make which batch: the global batch of any step, looked up and not run.

An epoch holds every visit (a sample at a rate) once. Within each bucket the visits stand in an
order of their own and are cut into micro-batches; the micro-batches of all buckets are shuffled; a
step takes the next few of them, whatever epoch they are of. Both orders are computed permutations,
so any step is found in microseconds from (seed, step) alone: nothing is replayed on resume, and
ranks take slices of one and the same global batch, however many there are. The trade-off: the last
micro-batch of a bucket in an epoch may be smaller than the others, so that no visit is repeated or
dropped.
"""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from training.draws import Draws, Permutation, Purpose
from training.windows import Bucket, Visit, Visits


@dataclasses.dataclass(frozen=True, slots=True)
class BatchConfig:
    """How a step's global batch is made up.

    Attributes:
        microbatches: of a step, over all ranks and their accumulation; ranks must divide it.
        samples: at most so many samples in a micro-batch. `microbatches = 32, samples = 1` is the
            paper's batch of 32.
        tokens: at most so many tokens in a micro-batch (one sample at least), so that ranks have
            alike work whatever their windows; None for no limit. With this set, `samples` can be
            generous: short windows then come in larger micro-batches.
    """

    microbatches: int = 32
    samples: int = 1
    tokens: int | None = None

    def __post_init__(self) -> None:
        for name in ("microbatches", "samples", "tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"batch.{name} = {value}: give at least 1")

    def samples_of(self, tokens: int) -> int:
        """Samples in a micro-batch of windows of so many tokens each."""
        fit = self.samples if self.tokens is None else self.tokens // tokens
        return min(self.samples, max(1, fit))


@dataclasses.dataclass(frozen=True, slots=True)
class MicroBatch:
    """What one forward of one rank sees: visits of one bucket.

    Attributes:
        step: of the run.
        slot: number of this micro-batch in the run; with a row it is the place that everything
            about a sample is drawn for.
        epoch: that the visits are of.
        bucket: of all visits.
        visits: one for each row.
        step_samples: samples in the whole global batch, for a mean over them.
    """

    step: int
    slot: int
    epoch: int
    bucket: Bucket
    visits: tuple[Visit, ...]
    step_samples: int = 0


class BatchPlan:
    """The global batch of every step.

    Args:
        visits: of an epoch.
        config: the make-up of a step.
        token_side: pixels on the side of a token.
        seed: of the run.
    """

    def __init__(self, visits: Visits, config: BatchConfig, token_side: int, seed: int) -> None:
        self.config = config
        self.seed = seed
        self._visits = visits
        self._token_side = token_side
        self._buckets = tuple(visits.codes)
        self._sizes = [config.samples_of(bucket.tokens(token_side)) for bucket in self._buckets]
        counts = [
            math.ceil(len(visits.codes[bucket]) / size)
            for bucket, size in zip(self._buckets, self._sizes, strict=True)
        ]
        self._ends = np.cumsum(counts)

    @property
    def buckets(self) -> dict[Bucket, int]:
        """Bucket -> samples in a (full) micro-batch of it."""
        return dict(zip(self._buckets, self._sizes, strict=True))

    @property
    def epoch_microbatches(self) -> int:
        """Micro-batches of an epoch."""
        return int(self._ends[-1])

    @property
    def epoch_visits(self) -> int:
        """Samples that are shown in an epoch, each at each rate."""
        return sum(len(codes) for codes in self._visits.codes.values())

    @property
    def left_out(self) -> dict[str, int]:
        """Reason -> samples that are never shown."""
        return self._visits.left_out

    def step(self, step: int) -> tuple[MicroBatch, ...]:
        """The global batch of a step, the most tokens first.

        What ranks work on at the same time stands side by side, and so is of alike cost.
        """
        assert step >= 0
        first = step * self.config.microbatches
        found = [self._microbatch(first + k) for k in range(self.config.microbatches)]
        samples = sum(len(batch.visits) for batch in found)
        found.sort(key=self._tokens, reverse=True)
        return tuple(dataclasses.replace(batch, step_samples=samples) for batch in found)

    def of_rank(self, step: int, rank: int, ranks: int) -> tuple[MicroBatch, ...]:
        """What a rank works on in a step, in order: micro-batch k of rank r is the (k·ranks + r)th.

        Raises:
            ValueError: the step cannot be shared out evenly.
        """
        check_ranks(self.config, rank, ranks)
        return self.step(step)[rank::ranks]

    def replacements(self, batch: MicroBatch, row: int) -> Iterator[Visit]:
        """Visits to take, one after the other, instead of one whose sample is damaged."""
        members = len(self._visits.codes[batch.bucket])
        draws = Draws(self.seed, Purpose.REPLACEMENT, batch.slot, row)
        while True:
            yield self._visits.visit(batch.bucket, draws.below(members))

    def _tokens(self, batch: MicroBatch) -> int:
        return len(batch.visits) * batch.bucket.tokens(self._token_side)

    def _microbatch(self, slot: int) -> MicroBatch:
        epoch, place = divmod(slot, self.epoch_microbatches)
        order = Permutation(self.epoch_microbatches, Draws(self.seed, Purpose.BATCH_ORDER, epoch))
        turn = order[place]
        which = int(np.searchsorted(self._ends, turn, side="right"))
        bucket, size = self._buckets[which], self._sizes[which]
        first = size * (turn - (int(self._ends[which - 1]) if which else 0))
        members = len(self._visits.codes[bucket])
        within = Permutation(members, Draws(self.seed, Purpose.SAMPLE_ORDER, epoch, which))
        visits = tuple(
            self._visits.visit(bucket, within[k]) for k in range(first, min(first + size, members))
        )
        return MicroBatch(step_of(slot, self.config), slot, epoch, bucket, visits)


def step_of(slot: int, config: BatchConfig) -> int:
    """The step that a micro-batch is of."""
    return slot // config.microbatches


def check_ranks(config: BatchConfig, rank: int, ranks: int) -> None:
    """Raise `ValueError` unless so many ranks can share a step evenly."""
    if ranks < 1 or config.microbatches % ranks:
        raise ValueError(
            f"{ranks} ranks cannot share batch.microbatches = {config.microbatches} evenly: use a "
            f"number of ranks that divides it, or a multiple of {ranks} micro-batches"
        )
    if not 0 <= rank < ranks:
        raise ValueError(f"rank = {rank}: of {ranks} ranks the numbers are 0 to {ranks - 1}")

"""Digests of batches; as a process of its own, a run that is killed and two that go on.

``python -m tests.training.print_batches MANIFEST`` prints what a run gave before it was killed
(SIGKILL), and then what two ranks gave that took over. Each run is a fork of this process, which
has imported everything and done nothing yet.
"""

import hashlib
import itertools
import os
import signal
import sys

import torch

from training.batches import Batch, noise_like
from training.data import DataConfig, TrainingData
from training.examples import ExampleConfig
from training.loader import LoaderConfig
from training.masks import MaskConfig, MaskMixture
from training.plan import BatchConfig
from training.windows import WindowConfig

MICROBATCHES = 6


def config(workers: int = 2, prefetch: int = 3, max_damaged: int = 16) -> DataConfig:
    """Everything is drawn: rates, windows, kinds of masks, shots, captions, positions."""
    mixture = MaskMixture(1, 1, 1, 1, 1, 1, 1)
    return DataConfig(
        windows=WindowConfig(
            sizes=((96, 64), (64, 96)), lengths=(9, 17, 33, 61), min_seconds=0, max_crop=0.6
        ),
        examples=ExampleConfig(masks=MaskConfig(mixture), text_dropout=0.2),
        batch=BatchConfig(MICROBATCHES, samples=3, tokens=200),
        loader=LoaderConfig(workers, prefetch, max_damaged),
        seed=11,
    )


def digest(batch: Batch) -> str:
    """Step, slot and a hash of all that the network would see, noise included."""
    hasher = hashlib.sha256()
    noise = noise_like(torch.empty(len(batch), 4, 2, 3), batch.noise_seeds)
    for tensor in (batch.pixels, batch.frame_mask, batch.positions, batch.times, noise):
        hasher.update(tensor.numpy().tobytes())
    told = (batch.rates.tolist(), batch.captions, batch.mask_kinds, batch.sample_ids)
    hasher.update(repr((told, batch.step_samples)).encode())
    return f"{batch.step} {batch.slot} {hasher.hexdigest()}"


def digests(
    manifest: str,
    made: DataConfig,
    *,
    start: int = 0,
    stop: int | None = None,
    rank: int = 0,
    ranks: int = 1,
) -> list[str]:
    """Digests of some of a rank's micro-batches, in this process."""
    with (
        TrainingData.open(manifest, made) as data,
        data.loader(rank=rank, ranks=ranks, start=start, stop=stop) as loader,
    ):
        return [digest(batch) for batch in loader]


def forked(manifest: str, made: DataConfig, rank: int, ranks: int, start: int) -> tuple[int, int]:
    """Start a process that writes digests line by line; returns its id, and where it says them."""
    said, say = os.pipe()
    pid = os.fork()
    if pid:
        os.close(say)
        return pid, said
    with TrainingData.open(manifest, made) as data:
        for batch in data.loader(rank=rank, ranks=ranks, start=start):
            os.write(say, f"{digest(batch)}\n".encode())
    os._exit(1)


def first_lines(pid: int, said: int, lines: int) -> list[str]:
    """What a process says until it is killed, in the midst of its work."""
    with os.fdopen(said) as pipe:
        found = [pipe.readline().strip() for _ in range(lines)]
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    return found


def main(manifest: str) -> None:
    """Kill a run in its third step; two ranks begin that step again on other workers."""
    run = forked(manifest, config(workers=3), 0, 1, 0)
    killed = first_lines(*run, 2 * MICROBATCHES + 3)
    ranks = [forked(manifest, config(workers=1 + rank), rank, 2, 2) for rank in range(2)]
    halves = [first_lines(*rank, MICROBATCHES) for rank in ranks]
    sys.stdout.write("\n".join([*killed, *itertools.chain.from_iterable(halves)]))


if __name__ == "__main__":
    main(sys.argv[1])

"""What can go wrong in training, each raised where its cause is known."""

from collections.abc import Mapping
from pathlib import Path

_NAMED = 20
"""So many damaged samples are listed; the others are counted."""


class TrainingError(Exception):
    """Anything that training refuses to do; the message names the thing and the remedy."""


class TrainingDataError(TrainingError):
    """A dataset version that cannot be trained from."""


class DamagedSampleError(TrainingDataError):
    """One sample whose bytes are not what was packed; it is replaced, and the run goes on.

    Attributes:
        sample_id: the sample.
        reason: what is wrong with it.
    """

    def __init__(self, sample_id: str, reason: str) -> None:
        super().__init__(f"sample {sample_id}: {reason}")
        self.sample_id = sample_id
        self.reason = reason


def too_many_damaged(damaged: Mapping[str, str], allowed: int) -> TrainingDataError:
    """The error that stops a run, with the samples that are to be seen to.

    Args:
        damaged: sample_id -> what is wrong with it.
        allowed: how many the run may replace.
    """
    listed = [f"\n  {sample}: {reason}" for sample, reason in sorted(damaged.items())]
    more = f"\n  and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return TrainingDataError(
        f"{len(damaged)} samples are damaged, and {allowed} may be (loader.max_damaged): copy "
        f"their shards again, or curate a new version{''.join(listed[:_NAMED])}{more}"
    )


class SideShardError(TrainingError):
    """Precomputed tensors that are not there, not whole, or of something else."""


class CheckpointError(TrainingError):
    """A checkpoint that is not there, not whole, or of something else."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint that is not what was written: cut short, changed, or parts of it are gone.

    Attributes:
        folder: of the checkpoint.
        reason: what is wrong with it.
    """

    def __init__(self, folder: Path, reason: str, remedy: str | None = None) -> None:
        remedy = remedy or "name another one, or put a copy back"
        super().__init__(f"checkpoint {folder} is damaged: {reason}; {remedy}")
        self.folder = folder
        self.reason = reason


class DivergedError(TrainingError):
    """Gradients are not finite any more; the message says where the batches are recorded."""


class RankError(TrainingError):
    """A rank has failed; the others were ended.

    Attributes:
        lost: it was ended by a signal, and the same may go well another time.
    """

    def __init__(self, message: str, *, lost: bool = False) -> None:
        super().__init__(message)
        self.lost = lost

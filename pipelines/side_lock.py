"""Who may change a precomputed set: one process at a time, be it to make it or to remove it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import filelock

from training.errors import SideShardError

_LOCK = ".lock"


@contextlib.contextmanager
def held_set(folder: Path) -> Iterator[None]:
    """Hold the lock of a set.

    Raises:
        SideShardError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise SideShardError(
            f"{folder.name} is being made already by another process: wait for it"
        ) from error
    try:
        yield
    finally:
        lock.release()

"""Locks of a home: who comes second waits, and is told for whom.

A lock is the system's, on an open file: it ends with its process, however that ends, so none is
ever left to be removed by hand. The price is that a file system shared by machines has to pass
locks between them, as NFS 4 does. Beside it lies who holds it: for messages only.
"""

import contextlib
import datetime as dt
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from curation.errors import CurationError


@contextlib.contextmanager
def held(path: Path, what: str, say: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock file of a home; another process that holds it is waited for.

    Args:
        path: the file; the home is made if need be.
        what: what others do while they hold it, such as "another run on this home".
        say: told once that it is waited for, and who holds it.

    Raises:
        CurationError: the home cannot be written to.
    """
    lock = filelock.FileLock(path)
    holder = path.with_name(f"{path.name}.holder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _acquire(lock, holder, what, say)
    except OSError as error:
        lock.release()
        raise CurationError(
            f"home {path.parent} cannot be written to ({error}); choose another with --home"
        ) from error
    try:
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _acquire(lock: filelock.FileLock, holder: Path, what: str, say: Callable[[str], None]) -> None:
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        say(f"waiting for {what} ({_held_by(holder)})")
        lock.acquire(poll_interval=0.2)
    me = {"pid": os.getpid(), "host": socket.gethostname(), "since": _stamp()}
    holder.write_text(json.dumps(me), encoding="utf-8")


def _held_by(holder: Path) -> str:
    try:
        held = json.loads(holder.read_text(encoding="utf-8"))
        return f"process {held['pid']} on {held['host']}, since {held['since']}"
    except (OSError, ValueError, KeyError):
        return "it has just begun"


def _stamp() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")

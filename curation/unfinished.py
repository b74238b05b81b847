"""Files that are there whole or not at all: written under another name, synced, renamed.

The other name is each writer's own, so that two processes may write the same file; who ends last
stays. A writer holds a lock on what it writes, and locks end with their process, however that ends:
so the next writer of the file can tell what a killed one left from what is being written, and
removes it. The price is one look at the folder for each file.
"""

import contextlib
import errno
import fcntl
import glob
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Lend a temporary file that becomes `path` once it is whole, on the disk, and not before.

    Of an attempt that fails nothing stays, which matters most where the disk is full.

    Raises:
        OSError: the file cannot be written, or its file system refuses locks.
    """
    discard_abandoned(path)
    partial, held = _own(path)
    with held:
        try:
            yield partial
            sync_file(partial)
            partial.rename(path)
        finally:
            partial.unlink(missing_ok=True)
    sync_folder(path.parent)


def discard_abandoned(path: Path) -> None:
    """Remove what writers of a file left that were killed; what is being written stays."""
    for partial in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        # Gone meanwhile, locked by its writer, or another user's.
        with (
            contextlib.suppress(FileNotFoundError, BlockingIOError, PermissionError),
            partial.open("rb+") as file,
        ):
            _lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            partial.unlink()


def sync_file(path: Path) -> None:
    """Have what was written to a file on the disk before returning."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Have a folder's entries (a rename) on the disk before returning."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _own(path: Path) -> tuple[Path, BinaryIO]:
    """An empty file of a new name, and the handle that locks it."""
    while True:
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
        held = partial.open("xb")
        try:
            _lock(held, fcntl.LOCK_EX)
        except BaseException:
            held.close()
            partial.unlink(missing_ok=True)
            raise
        if partial.exists():  # else somebody took it for abandoned before it was locked
            return partial, held
        held.close()


def _lock(file: BinaryIO, how: int) -> None:
    """Take a lock, or say why none can be had here."""
    try:
        fcntl.flock(file, how)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise OSError(
            error.errno,
            f"{os.strerror(error.errno)}: the file system there refuses locks (flock); mount it "
            "with them (NFS: its lock service up, without nolock) or use another",
            file.name,
        ) from error

"""A stage whose items fail in their several ways; workers find it by this module's name."""

import errno
import os
import signal
from pathlib import Path

from curation.errors import FilmError

ITEMS = ("sound", "flaky", "felled", "bad", "cursed")


def try_item(folder: Path, item: str) -> int:
    """In a worker: fail as the item's name says; returns how often it was tried."""
    with (folder / item).open("a") as file:
        file.write("tried\n")
    tries = len((folder / item).read_text().splitlines())
    match item:
        case "flaky" if tries == 1:
            raise OSError(errno.EIO, "Input/output error")
        case "felled" if tries == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        case "bad":
            raise FilmError("no_video_stream", "sound only")
        case "cursed":
            os.kill(os.getpid(), signal.SIGKILL)
    return tries

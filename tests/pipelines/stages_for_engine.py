"""What workers run in the tests of the engine: they import it by this file's name."""

import os
import signal
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from curation.errors import FilmError


class UnportableError(Exception):
    """Pickles, but cannot be made again from its `args`."""

    def __init__(self, film: str, frame: int) -> None:
        super().__init__(f"{film} is broken at frame {frame}")


def nothing() -> None:
    """The setup of a stage that needs none."""


def square(_: None, number: int) -> int:
    return number * number


def square_in_a_second(_: None, number: int) -> int:
    time.sleep(1.0)
    return number * number


def square_or_segfault(_: None, number: int) -> int:
    if number == 77:
        os.kill(os.getpid(), signal.SIGSEGV)
    return number * number


def misbehave(_: None, how: str) -> object:
    """One way of going wrong per name; anything else is returned upside down."""
    ways = {
        "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
        "sigkill": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "exit 0": lambda: os._exit(0),
        "exit 3": lambda: os._exit(3),
        "sys.exit": lambda: sys.exit(4),
        "hang": lambda: time.sleep(3600),
        "eat": lambda: _eat(3600.0),
        "film error": lambda: _raise(FilmError("no_frames", "nothing decodes", transient=True)),
        "unportable": lambda: _raise(UnportableError("a.mp4", 7)),
        "memory error": lambda: bytearray(1 << 60),
        "unpicklable": threading.Lock,
        "die while answering": _die_while_answering,
    }
    return ways.get(how, lambda: how[::-1])()


def _raise(error: Exception) -> None:
    raise error


def _eat(seconds: float) -> None:
    blocks = []
    for _ in range(60):  # 1.2 GB at most, should nobody stop it
        blocks.append(bytearray(os.urandom(1)) * 20_000_000)
        time.sleep(0.02)
    time.sleep(seconds)


def _die_while_answering() -> None:
    """A message that announces 1000 bytes, ten of them, and a death."""
    descriptor = int(sys.argv[1])
    os.write(descriptor, struct.pack("!i", 1000) + bytes(10))
    os.kill(os.getpid(), signal.SIGKILL)


def note_setup(folder: Path) -> int:
    """Leave a mark for each call; the state is the process it was made in."""
    with (folder / f"{os.getpid()}").open("a") as marks:
        marks.write("setup\n")
    return os.getpid()


def compare_state(state: int, _: object) -> tuple[int, int]:
    time.sleep(0.02)
    return state, os.getpid()


def broken_setup() -> None:
    raise FilmError("no_weights", "the model's weights are missing")


def dying_setup() -> None:
    os._exit(9)


def hanging_setup() -> None:
    time.sleep(3600)


def environment(_: None, name: str) -> str | None:
    return os.environ.get(name)


def interrupt_handling(_: None, __: object) -> tuple[bool, bool]:
    """Whether Ctrl-C is ignored, and whether it is still blocked for children to inherit."""
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    return ignored, signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def print_and_return(_: None, word: str) -> str:
    sys.stdout.write(word)
    return word


def cupboard() -> list[bytes]:
    """Setup: what `hoard` fills, so that memory stays in use between items."""
    return []


def hoard(shelf: list[bytes], megabytes: int) -> int:
    shelf.append(b"x" * (megabytes * 1_000_000))
    return os.getpid()


def kill_foreman(_: None, word: str) -> str:
    """On 'poison', kill the process that leads this worker; else turn the word upside down."""
    if word == "poison":
        os.kill(os.getppid(), signal.SIGKILL)
    return word[::-1]


def slowly_somewhere(_: None, __: int) -> list[int]:
    """Take a while; the processes above this one, up to the one that leads the node."""
    time.sleep(0.3)
    return [process.pid for process in psutil.Process().parents()]


def hang_on(film: str, run: Any, state: Any, work: Any) -> Any:
    """Do the stage's own work, but for one film: on that, wait for ever."""
    if work.film.uri.endswith(film):
        time.sleep(3600)
    return run(state, work)

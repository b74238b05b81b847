"""Files that are there whole or not at all, whoever writes them beside us and however they end."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from curation.unfinished import replacing
from tests.conftest import REPOSITORY

WRITER = """
import sys, time
from pathlib import Path
from curation.unfinished import replacing

with replacing(Path(sys.argv[1])) as partial:
    partial.write_text("half of it")
    time.sleep(60)
"""


def writer(path: Path) -> "subprocess.Popen[bytes]":
    """A process in the middle of writing a file."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], cwd=REPOSITORY)
    while not any(partial.stat().st_size for partial in path.parent.glob(".*.partial")):
        assert process.poll() is None
        time.sleep(0.01)
    return process


def test_a_killed_writer_leaves_nothing_for_long_and_a_living_one_keeps_its_own(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a [1].json"
    process = writer(path)
    with replacing(path) as partial:
        partial.write_text("ours")
    assert path.read_text() == "ours"
    assert len(list(tmp_path.iterdir())) == 2  # the other is still writing
    process.send_signal(signal.SIGKILL)
    process.wait()
    with replacing(path) as partial:
        partial.write_text("again")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "again"


def test_many_writers_of_one_file_leave_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "numbers"

    def write(number: int) -> None:
        with replacing(path) as partial:
            for _ in range(50):
                with partial.open("a") as file:
                    file.write(f"{number}\n")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(64)))
    assert len(set(path.read_text().split())) == 1
    assert len(path.read_text().split()) == 50
    assert list(tmp_path.iterdir()) == [path]


def test_where_locks_are_refused_it_says_so_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:  # as a network's file system does that we do not have here
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match=r"refuses locks .*numbers"), replacing(tmp_path / "numbers"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_text("before")

    def fail() -> None:
        with replacing(path) as partial:
            partial.write_text("after")
            raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        fail()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]

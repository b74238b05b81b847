"""Answers that are on the disk as they come."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from curation.captioning.spool import Spool, spooled, spools
from curation.captioning.words import Answer
from tests.conftest import REPOSITORY

WRITE = """
import sys
from pathlib import Path
from curation.captioning.spool import Spool
from tests.curation.captioning.test_spool import answer
with Spool(Path(sys.argv[1]), "run") as spool:
    for number in range(10**6):
        spool.add(answer(number))
        print(number, flush=True)
"""


def answer(number: int) -> Answer:
    words = f'a "caption"\u2028 of\nclip {number} \U0001f98a' if number % 2 else None
    return Answer(f"{number:032x}", "endpoint", "f" * 32, words, "refused", "model at host")


def test_what_was_added_is_there_after_a_kill(tmp_path: Path) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", WRITE, str(tmp_path)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    added = [int(run.stdout.readline()) for _ in range(20)]
    os.kill(run.pid, signal.SIGKILL)
    added += [int(line) for line in run.stdout if line.endswith("\n")]
    run.wait()
    run.stdout.close()
    (path,) = spools(tmp_path)
    kept, _ = spooled(path)
    assert kept[: len(added)] == [answer(number) for number in added]


def test_line_is_synced_before_add_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    sync = os.fsync

    def noted(descriptor: int) -> None:
        sync(descriptor)
        synced.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(os, "fsync", noted)
    with Spool(tmp_path, "run") as spool:
        for number in range(3):
            spool.add(answer(number))
            assert synced[-1] == spools(tmp_path)[0].stat().st_size


def test_torn_line_is_one_answer_less(tmp_path: Path) -> None:
    with Spool(tmp_path, "run") as spool:
        spool.add(answer(1), answer(2))
        spool.add(answer(3))
    (path,) = spools(tmp_path)
    path.write_bytes(path.read_bytes()[:-9])
    assert spooled(path) == ([answer(1), answer(2)], 1)
    path.write_bytes(path.read_bytes() + b"\xff\x00\n")
    assert spooled(path)[0] == [answer(1), answer(2)]


def test_threads_share_a_spool(tmp_path: Path) -> None:
    with Spool(tmp_path, "run") as spool:

        def add(first: int) -> None:
            for number in range(first, first + 40):
                spool.add(answer(number))

        threads = [threading.Thread(target=add, args=[first]) for first in (0, 40, 80)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    (path,) = spools(tmp_path)
    kept, torn = spooled(path)
    assert torn == 0
    assert sorted(one.clip_id for one in kept) == [answer(n).clip_id for n in range(120)]


def test_no_answer_leaves_no_file(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool", "run"):
        pass
    assert spools(tmp_path / "spool") == []

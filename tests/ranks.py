"""Start the ranks of one job, and wait for them: a module's, or forks of a process."""

import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from pipelines.worker import die_with, leave
from tests.conftest import REPOSITORY
from tests.servers import dying_with_us


def run_ranks(module: str, world: int, *arguments: str | Path, timeout: float = 900) -> None:
    """Run ``python -m MODULE RANK WORLD ARGUMENTS…`` for each rank; none outlives the call.

    Raises:
        AssertionError: a rank failed; with what all of them said.
    """
    words = [str(world), *map(str, arguments)]
    with tempfile.TemporaryFile("w+") as log:
        ranks = [
            subprocess.Popen(
                dying_with_us([sys.executable, "-m", module, str(rank), *words]),
                cwd=REPOSITORY,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            for rank in range(world)
        ]
        try:
            ended = [rank.wait(timeout=timeout) for rank in ranks]
        finally:
            for rank in ranks:
                rank.kill()
                rank.wait()
        log.seek(0)
        assert ended == [0] * world, log.read()[-6000:]


def fork_ranks(world: int, work: Callable[[int], None]) -> None:
    """Call ``work(RANK)`` for each rank in a fork of this process.

    What they import takes longer than many of their runs, so this process has imported it, and must
    have done nothing else yet. A rank that fails ends the others, which would wait for it.

    Raises:
        AssertionError: a rank failed; its traceback is in standard error.
    """
    parent = os.getpid()
    ranks = {_forked(parent, work, rank) for rank in range(world)}
    try:
        while ranks:
            process, status = os.wait()
            ranks.discard(process)
            assert status == 0, f"a rank ended with status {status}"
    finally:
        for rank in ranks:
            os.kill(rank, signal.SIGKILL)
            os.waitpid(rank, 0)


def _forked(parent: int, work: Callable[[int], None], rank: int) -> int:
    process = os.fork()
    if process == 0:
        status = 1
        try:
            die_with(parent)
            work(rank)
            status = 0
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            leave(status)
    return process

"""Start a module as the ranks of one job, and wait for them."""

import subprocess
import sys
import tempfile
from pathlib import Path

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

"""Two processes that share a video's tokens predict what one does (Ulysses, over gloo)."""

import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY

WORLD = 2


def test_two_processes_are_one(tmp_path: Path) -> None:
    module = "tests.model.process_for_context_parallel"
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", module, str(rank), str(WORLD), str(tmp_path / "store")],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(WORLD)
    ]
    try:
        output = [rank.communicate(timeout=300)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    assert [rank.returncode for rank in ranks] == [0] * WORLD, "\n".join(output)

"""Curate at the same time into one catalog: started as a process of its own by a test.

``python -m tests.pipelines.eight_runs HOMES FILMS`` forks eight runs, each with a home of its own
below HOMES; ``$TEMPO_CATALOG_URI`` and ``$TEMPO_WAREHOUSE`` name the catalog that they share. Half
of them pack the films at one size, half at another. Prints the exit codes.
"""

import os
import sys
import traceback
from pathlib import Path

from pipelines.curate import curate
from pipelines.engine import SerialEngine
from pipelines.job import Silence
from pipelines.settings import Home
from tests.pipelines.tiny_library import request

RUNS = 8
SIZES = ("none", "64")


def main(homes: Path, films: Path) -> int:
    """Run all, wait for all; returns how many failed."""
    runs = []
    for number in range(RUNS):
        pid = os.fork()
        if pid == 0:
            asked = request(films, f"pack.short_side={SIZES[number % 2]}")
            try:
                curate(asked, Home(homes / f"{number}"), SerialEngine(), Silence())
            except BaseException:  # noqa: BLE001 - a fork must not go on as its parent
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        runs.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in runs]
    sys.stdout.write(f"{codes}\n")
    return sum(code != 0 for code in codes)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))

"""Run curations that are killed at their commit points: started as a process of its own by a test.

``python -m tests.pipelines.killed_runs HOME FILMS`` runs curation again and again on one home. Each
run is killed (SIGKILL) right after the first lasting step (a rename or a commit to the catalog) at
which no run was killed before; the last one is not killed. Prints the steps.

Each run is a fork of this process, which has imported everything and done nothing yet.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from curation.catalog.store import Catalog
from pipelines.curate import curate
from pipelines.engine import SerialEngine
from pipelines.job import Silence
from pipelines.settings import Home
from tests.pipelines.tiny_library import request


def die_after_new_step(seen: set[str], report: int) -> None:
    """Patch everything that makes a step lasting, so that the first new one is the last."""
    rename, commit = Path.rename, Catalog.commit

    def dying_rename(self: Path, target: Any) -> Path:
        moved = rename(self, target)
        die(f"rename {Path(target).name}")
        return moved

    def dying_commit(self: Catalog, name: str, change: Any) -> int:
        changed = commit(self, name, change)
        if changed:
            die(f"commit {name}")
        return changed

    def die(step: str) -> None:
        if step not in seen:
            os.write(report, step.encode())
            os.kill(os.getpid(), signal.SIGKILL)

    Path.rename = dying_rename  # type: ignore[method-assign,assignment]  # what this is for
    Catalog.commit = dying_commit  # type: ignore[method-assign]  # as above


def main(home: Path, films: Path) -> int:
    """Curate until a run ends by itself; returns its exit code."""
    seen: set[str] = set()
    while True:
        said, say = os.pipe()
        pid = os.fork()
        if pid == 0:
            die_after_new_step(seen, say)
            curate(request(films), Home(home), SerialEngine(), Silence())
            os._exit(0)
        os.close(say)
        with os.fdopen(said) as pipe:
            step = pipe.read()
        _, status = os.waitpid(pid, 0)
        if not step:
            return os.waitstatus_to_exitcode(status)
        sys.stdout.write(f"{step}\n")
        seen.add(step)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))

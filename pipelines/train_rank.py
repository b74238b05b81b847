"""A rank of a training run, as a process: what `pipelines.train_ranks` starts, here or by ssh.

The first line on its standard input says what to do; after that the pipe only has to stay open, for
a rank ends when it closes: a parent that is killed on another machine can say nothing else. What it
tells its parent are lines of JSON on its standard output, and whatever libraries print goes to its
log instead.
"""

import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from typing import Any, TextIO

from pipelines.imports import lasting_imports
from pipelines.worker import die_with, leave


def main() -> None:
    """Read the job, train, and say how it ended."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    order: dict[str, Any] = json.loads(sys.stdin.readline())
    os.environ.update(order["environment"])
    if order["parent"] is not None:
        die_with(order["parent"])
    # Ctrl-C reaches the whole process group; the parent decides what it means for the ranks.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch_parent, name="parent", daemon=True).start()
    status = _work(order, events)
    events.flush()
    leave(status)


def _watch_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


def _work(order: dict[str, Any], events: TextIO) -> int:
    """Train; what a person can mend is told as a message, all else also as a traceback."""
    with lasting_imports():
        import torch

        from curation.errors import CurationError
        from model.errors import ModelError
        from pipelines.settings import typed_config
        from pipelines.train_samples import sampler_of
        from training.errors import TrainingError
        from training.ranks import RankPlace
        from training.trainer import RunJob, train

        # Every rank comes to need these, and they import more than all that stands above.
        for name in ("model.dit", "deepspeed"):
            importlib.import_module(name)

    def tell(kind: str, value: dict[str, Any]) -> None:
        events.write(json.dumps({"kind": kind, "at": time.time(), **value}) + "\n")

    torch.set_num_threads(order["threads"])
    place = RankPlace(**order["place"])
    try:
        job = typed_config(RunJob, order["job"])
        train(job, place, tell, sampler_of(job, tell if place.rank == 0 else None))
    except (TrainingError, CurationError, ModelError, ValueError) as error:
        tell("failed", {"type": type(error).__name__, "message": str(error), "known": True})
        return 1
    except Exception as error:  # noqa: BLE001 - the runner's duty: how a rank ends is its outcome
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}"
        tell("failed", {"type": type(error).__name__, "message": message, "known": False})
        return 1
    torch.distributed.destroy_process_group()
    return 0


if __name__ == "__main__":
    main()

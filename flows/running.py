"""What every flow does before its work when a Prefect worker has started it.

A flow run is a process of its own. It dies with its worker, however that dies: a run that nobody
watches could be neither cancelled nor seen to end. And a run that was started again and again after
crashes ends as failed at last: something about it fells its process.
"""

import os

from prefect.runtime import flow_run

from flows.options import WORKER_PID
from pipelines.worker import die_with

MAX_STARTS = 5
"""Crashed runs are scheduled again (`flows.deployments`) until they were started so often."""


class FelledTooOftenError(RuntimeError):
    """The run's process has died each time it was started."""


def begin() -> None:
    """Tie this process to the worker that started it, if one has; ends it where that one is gone.

    Raises:
        FelledTooOftenError: it was started `MAX_STARTS` times and never came to its end.
    """
    if "PREFECT__FLOW_RUN_ID" not in os.environ:
        return
    die_with(int(os.environ.get(WORKER_PID, os.getppid())))
    starts = flow_run.run_count
    if starts > MAX_STARTS:
        raise FelledTooOftenError(
            f"this run's process died {starts - 1} times; read the worker's log before it is "
            "started again"
        )

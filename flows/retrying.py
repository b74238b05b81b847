"""What may pass when it is tried again, and what never will.

Asked twice: about one item of a stage (a film, a shard) and about a whole job. The line is the
same: a disk, a network, a database or a process that was lost may be back in a minute; a film's
bytes, a recipe and a full disk will not have changed by then.
"""

from typing import Any

import httpx
from prefect.client.schemas.objects import State, TaskRun
from prefect.task_engine import TaskRunTimeoutError
from prefect.tasks import Task, exponential_backoff
from sqlalchemy.exc import DBAPIError

from curation.errors import FULL_OR_READ_ONLY, EndpointAwayError, FilmError
from pipelines.engine import Failed
from training.errors import RankError

ITEM_RETRIES = 2
ITEM_DELAYS = exponential_backoff(backoff_factor=5)
"""5 and 10 seconds, with jitter."""
JOB_RETRIES = 3
JOB_DELAYS = exponential_backoff(backoff_factor=15)
"""15, 30 and 60 seconds, with jitter: long enough for a server to come back."""
JITTER = 0.5


def item_can_pass(failure: Failed[Any]) -> bool:
    """Whether an item's failure may be its surroundings' doing.

    A worker that died may have been killed for another's memory; one that is felled by its film is
    felled again, and then the film is quarantined. A timeout and a memory limit are the item's own.
    """
    if failure.kind == "crash":
        return True
    return failure.kind == "error" and failure.error is not None and error_can_pass(failure.error)


def error_can_pass(error: BaseException) -> bool:
    """Whether an error, or what caused it, may be over in a minute."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in FULL_OR_READ_ONLY:
            return False
        if _passes(cause):
            return True
        cause = cause.__cause__
    return False


def seconds_of(hours: float | None) -> float | None:
    """The limit of time of each try of a job, as Prefect wants it. None: as long as its items may.

    What may hang has limits of its own, item by item. So a job has none unless it is asked for: a
    library or a training may rightly take weeks, and what is cut short goes on with the next run.
    """
    return None if hours is None else hours * 3600


def _passes(error: BaseException) -> bool:
    if isinstance(error, TaskRunTimeoutError):
        return False  # an OSError by descent; it would take as long again
    if isinstance(error, FilmError):
        return error.transient
    if isinstance(error, RankError):
        return error.lost
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or type(error).__name__ == "OperationalError"
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
        return False  # an answer of the system, not a failure of it
    return isinstance(error, EndpointAwayError | OSError | httpx.TransportError)


def job_can_pass(_task: Task[..., object], _run: TaskRun, state: State[object]) -> bool:
    """`error_can_pass` as Prefect asks it of a task that failed."""
    return isinstance(state.data, BaseException) and error_can_pass(state.data)

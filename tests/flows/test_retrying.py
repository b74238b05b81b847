"""What is tried again: surroundings that failed, never films, recipes or full disks."""

import errno

import httpx
import pytest
from prefect.task_engine import TaskRunTimeoutError
from sqlalchemy.exc import IntegrityError, OperationalError

from curation.errors import CatalogError, CurationError, EndpointAwayError, FilmError
from flows.retrying import error_can_pass, item_can_pass
from pipelines.engine import Failed
from training.errors import RankError


def caused_by(cause: BaseException) -> CatalogError:
    error = CatalogError("cannot write")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "Input/output error"),
        ConnectionResetError("peer is gone"),
        httpx.ConnectError("refused"),
        EndpointAwayError("20 clips in a row got no answer"),
        FilmError("io_error", "stale handle", transient=True),
        RankError("rank 1 of 8 failed first: it was ended by SIGKILL", lost=True),
        caused_by(OperationalError("INSERT", {}, Exception("server closed the connection"))),
    ],
)
def test_what_may_pass(error: Exception) -> None:
    assert error_can_pass(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no recipe 'nosuch'"),
        FilmError("no_video_stream", "sound only"),
        RankError("rank 0 of 8 failed first: it exited with status 1"),
        CurationError("none of 5 clips is kept"),
        FileNotFoundError(errno.ENOENT, "No such file"),
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.ENOSPC, "No space left on device"),
        caused_by(OSError(errno.ENOSPC, "No space left on device")),
        caused_by(IntegrityError("INSERT", {}, Exception("duplicate key"))),
        TaskRunTimeoutError("the job's own limit of time"),
    ],
)
def test_what_never_will(error: Exception) -> None:
    assert not error_can_pass(error)


def test_a_lost_worker_is_tried_again_and_a_hanging_film_is_not() -> None:
    assert item_can_pass(Failed("film", "crash", "the worker was ended by SIGKILL", 1.0))
    assert not item_can_pass(Failed("film", "timeout", "no answer after 10 s", 10.0))
    assert not item_can_pass(Failed("film", "memory", "5000 MiB resident", 1.0))
    assert not item_can_pass(Failed("film", "error", "KeyError: 'x'", 1.0, KeyError("x")))

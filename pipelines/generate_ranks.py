"""A generation by several processes of this machine, one for each rank.

All ranks are children, and this process only watches: when one ends badly, the others, who would
wait for it for ever, are ended too, and its error is raised here.
"""

import datetime as dt
import multiprocessing
import multiprocessing.connection
import os
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from model.errors import RankError
from pipelines.devices import threads_each
from pipelines.generate import Generated, produce
from pipelines.generate_job import GenerateJob
from pipelines.job import Progress, Silence
from pipelines.worker import die_with, leave

_LONGEST_WINDOW = dt.timedelta(days=1)
"""How long a rank waits for another; a window of a large network takes an hour on one device."""


def generate(job: GenerateJob, progress: Progress, threads: int | None = None) -> Generated:
    """Run a job on as many ranks as it names.

    Args:
        job: what.
        progress: who watches.
        threads: of each of several ranks; None: as `threads_each` has it.

    Raises:
        RankError: a rank was killed.
        ModelError, CurationError, ValueError: what a rank raised.
    """
    if job.ranks == 1:
        made = produce(job, progress)
        assert made is not None
        return made
    context = multiprocessing.get_context("spawn")
    crew: list[multiprocessing.context.SpawnProcess] = []
    heard: list[Connection] = []
    with tempfile.TemporaryDirectory(prefix="tempo-ranks-") as folder:
        try:
            for rank in range(job.ranks):
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(
                    target=_rank,
                    args=(job, rank, threads, os.getpid(), folder, theirs),
                    daemon=True,
                )
                process.start()
                theirs.close()  # so that the pipe ends when the process does
                crew.append(process)
                heard.append(ours)
            return _listen(heard, crew, progress)
        finally:
            for process in crew:
                process.kill()
                process.join()


def _listen(
    heard: list[Connection], crew: list[multiprocessing.context.SpawnProcess], progress: Progress
) -> Generated:
    """Pass on what ranks say, until rank 0 has made the film or one has failed."""
    speaking = list(heard)
    while True:
        for connection in multiprocessing.connection.wait(speaking):
            assert isinstance(connection, Connection)
            try:
                kind, value = connection.recv()
            except EOFError:
                speaking.remove(connection)
                _check_ended(heard.index(connection), crew)
                continue
            if kind == "made":
                assert isinstance(value, Generated)
                return value
            if kind == "failed":
                raise value
            _pass_on(kind, value, progress)


def _pass_on(kind: str, value: tuple[Any, ...], progress: Progress) -> None:
    match kind, value:
        case "stage", (name, total):
            progress.stage(name, total)
        case "advance", ():
            progress.advance()
        case "say", (message,):
            progress.say(message)
        case _:
            raise AssertionError(f"no rank says {kind}")


def _check_ended(rank: int, crew: list[multiprocessing.context.SpawnProcess]) -> None:
    """A rank has ended; rank 0 says so before, and the others end well."""
    crew[rank].join()
    code = crew[rank].exitcode
    if code or rank == 0:
        raise RankError(f"rank {rank} ended with exit code {code}; its last words stand above")


class _Messages(Silence):
    """A `Progress` that is watched in another process."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def stage(self, name: str, total: int) -> None:
        self._connection.send(("stage", (name, total)))

    def advance(self) -> None:
        self._connection.send(("advance", ()))

    def say(self, message: str) -> None:
        self._connection.send(("say", (message,)))


def _rank(
    job: GenerateJob,
    rank: int,
    threads: int | None,
    parent: int,
    folder: str,
    connection: Connection,
) -> None:
    die_with(parent)
    import torch
    import torch.distributed as dist

    from curation.errors import CurationError
    from model.errors import ModelError
    from model.ranks import Ranks

    torch.set_num_threads(threads or threads_each(job.ranks))
    dist.init_process_group(
        "gloo",
        init_method=f"file://{Path(folder) / 'store'}",
        rank=rank,
        world_size=job.ranks,
        timeout=_LONGEST_WINDOW,
    )
    try:
        made = produce(job, _Messages(connection), Ranks.joined())
    except (ModelError, CurationError, ValueError) as error:
        connection.send(("failed", error))
        leave()
    if made is not None:
        connection.send(("made", made))
    leave()

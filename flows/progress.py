"""How far a job is, as a progress artifact of its flow run and in its log.

A thread of its own tells the server, every few seconds and only what is new: a server that is slow
or gone must not hold up a job, so what it misses is not told again. How the job ended is told once
more, and waited for a little.
"""

import contextvars
import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.exceptions import PrefectException
from prefect.logging import get_run_logger

from curation.errors import CurationError
from pipelines.summary import Summary

_SECONDS = 3.0
_LAST_SECONDS = 10.0


class FlowProgress:
    """A job's `Progress` within a flow run; use it as a context manager.

    Args:
        watch: called every few seconds from another thread, and once when the job is over.
    """

    def __init__(self, watch: Callable[[], None] | None = None) -> None:
        self._watch = watch
        self._log: logging.Logger | logging.LoggerAdapter[logging.Logger] = get_run_logger()
        self._stage = ""
        self._done = self._total = 0
        self._end = ""
        """How it ended; empty while it is under way."""
        self._over = threading.Event()
        context = contextvars.copy_context()  # the artifact belongs to this run
        self._teller = threading.Thread(target=context.run, args=(self._tell,), daemon=True)

    def __enter__(self) -> Self:
        self._teller.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        where = f"{self._stage}: {self._done} of {self._total}"
        self._end = "finished" if error is None else f"ended by {type(error).__name__} in {where}"
        self._over.set()
        self._look()
        self._teller.join(_LAST_SECONDS)

    def stage(self, name: str, total: int) -> None:
        """A stage begins."""
        self._log.info("%s: %d to do", name, total)
        self._stage, self._done, self._total = name, 0, total

    def advance(self) -> None:
        """One more item is done."""
        self._done += 1

    def say(self, message: str) -> None:
        """A message in the run's log."""
        self._log.warning("%s", message)

    def report(self, summary: Summary) -> None:
        """The funnel in one line."""
        self._log.info(
            "%d films, %d clips of %.4f h; kept %d of %.4f h",
            summary.films,
            summary.clips.clips,
            summary.clips.hours,
            summary.refined.kept.clips,
            summary.refined.kept.hours,
        )

    def _look(self) -> None:
        if self._watch is None:
            return
        try:
            self._watch()
        except CurationError as error:  # the catalog is away; the job itself will say so
            self._log.warning("%s", error)

    def _tell(self) -> None:
        told, artifact = "", None
        while not self._over.wait(_SECONDS):
            self._look()
            words = f"{self._stage}: {self._done} of {self._total}"
            if words == told or not self._stage:
                continue
            artifact = self._told_if_possible(artifact, words)
            told = words
        self._told_if_possible(artifact, self._end)

    def _told_if_possible(self, artifact: UUID | None, words: str) -> UUID | None:
        try:
            return self._told(artifact, words)
        except (httpx.HTTPError, PrefectException) as error:
            self._log.debug("progress could not be told: %s", error)
            return artifact

    def _told(self, artifact: UUID | None, words: str) -> UUID:
        share = 100.0 * self._done / self._total if self._total else 0.0
        share = 100.0 if self._end == "finished" else share
        if artifact is None:
            told = create_progress_artifact(share, description=words)
        else:
            told = update_progress_artifact(artifact, share, words)
        assert isinstance(told, UUID)  # a coroutine only where an event loop runs
        return told

"""What every step of a job is given: where things are, who does the work, whom to tell.

A job holds its home's lock, so two runs on one home follow each other. The catalog would take both;
what they would trample on is each other's half-built shards. Workers import this module for its
names alone, so what only the main process needs is imported where it is used.
"""

import contextlib
import dataclasses
import datetime as dt
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from curation.errors import refuse_if_full
from pipelines.engine import Engine

if TYPE_CHECKING:
    from curation.catalog.store import Catalog
    from pipelines.settings import Home
    from pipelines.summary import Summary


class Progress(Protocol):
    """Somebody who watches a job."""

    def stage(self, name: str, total: int) -> None:
        """A stage of `total` items begins; the one before it is over."""

    def advance(self) -> None:
        """One more item of the stage is done."""

    def say(self, message: str) -> None:
        """Something that a person should know while it runs."""

    def report(self, summary: "Summary") -> None:
        """What has been read and chosen, before it is packed."""


class Silence:
    """A `Progress` that nobody watches."""

    def stage(self, name: str, total: int) -> None:
        """Say nothing."""

    def advance(self) -> None:
        """Say nothing."""

    def say(self, message: str) -> None:
        """Say nothing."""

    def report(self, summary: "Summary") -> None:
        """Say nothing."""


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """A running job."""

    home: "Home"
    catalog: "Catalog"
    engine: Engine
    progress: Progress
    run_id: str


@contextlib.contextmanager
def started(home: "Home", engine: Engine, progress: Progress) -> Iterator[Job]:
    """Take the home's lock and open its catalog.

    Another run on this home is waited for, and named.

    Raises:
        CurationError: the home cannot be written to.
    """
    from curation.catalog.store import Catalog
    from pipelines.locks import held

    with held(home.lock, "another run on this home", progress.say):
        try:
            with Catalog.open(home.catalog()) as catalog:
                yield Job(home, catalog, engine, progress, run_id=new_run_id())
        except OSError as error:
            refuse_if_full(error)
            raise


def new_run_id() -> str:
    """An id that sorts by time and is nobody else's."""
    return f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}"

"""What every job leaves in the catalog's `runs`: what was asked for, and how it ended.

A job that fails is recorded and its error raised again. Where the catalog cannot take that row, as
it may not when the catalog is what failed, the job's own error goes on and the lack of a row is
said: it is the error that a person, and whoever decides on a retry, has to see.
"""

import contextlib
import dataclasses
import datetime as dt
import socket
from collections.abc import Callable, Iterator

from curation.catalog.connection import CatalogSettings
from curation.catalog.store import Catalog
from curation.errors import CatalogError
from curation.identities import canonical_json
from curation.records import RunRow, no_earlier_than, now
from pipelines.version import code_version


@dataclasses.dataclass(frozen=True, slots=True)
class RunRecord:
    """A job under way, as its row will tell of it.

    Attributes:
        run_id: see `pipelines.job.new_run_id`.
        kind: which job.
        recipe: its name.
        config: complete, anything that JSON can hold or a dataclass.
        begun: when.
        inputs: what it was given to read, where a row should say so.
    """

    run_id: str
    kind: str
    recipe: str
    config: object
    begun: dt.datetime
    inputs: tuple[str, ...] = ()

    def row(self, status: str, summary: object, after: dt.datetime | None = None) -> RunRow:
        """The row of a job that ends now.

        Args:
            status: 'ok' or 'failed'.
            summary: what came of it.
            after: the end of an earlier run that this one outdates.
        """
        return RunRow(
            run_id=self.run_id,
            kind=self.kind,
            status=status,
            recipe=self.recipe,
            config=canonical_json(self.config),
            summary=canonical_json(summary),
            code_version=code_version(),
            host=socket.gethostname(),
            started_at=self.begun,
            finished_at=no_earlier_than(now(), after),
            inputs=canonical_json(self.inputs) if self.inputs else None,
        )


@contextlib.contextmanager
def failure_recorded(
    run: RunRecord, settings: CatalogSettings, say: Callable[[str], None]
) -> Iterator[None]:
    """Record the run as failed when what is done within raises; the error goes on.

    Args:
        run: which.
        settings: of the catalog, which is opened anew: days may have passed.
        say: tells a person that even this could not be recorded.
    """
    try:
        yield
    except BaseException as error:
        try:
            with Catalog.open(settings) as catalog:
                failed = run.row("failed", {"error": f"{type(error).__name__}: {error}"})
                catalog.append("runs", [failed])
        except CatalogError as unrecorded:
            say(f"the failed run could not be recorded either: {unrecorded}")
        raise

"""What `tempo verify` found, as rows of `runs`: who read a version again, when, and how it stood.

The newest one counts, whatever came before it: a shard that was put back is sound again. It speaks
of the bytes as they lay there then; what has changed since, only the next one can say.
"""

import datetime as dt
import json

from curation.catalog.store import Catalog
from curation.records import DatasetRow, RunRow
from curation.report.document import Verified
from curation.shards.checking import Disagreement
from pipelines.job import new_run_id
from pipelines.run_record import RunRecord

VERIFY = "verify"


def record_verification(
    catalog: Catalog,
    version: DatasetRow,
    frames: int,
    disagreements: list[Disagreement],
    begun: dt.datetime,
) -> None:
    """Add a verification to the catalog.

    Raises:
        CatalogError: the catalog cannot be written to.
    """
    places = [wrong.where for wrong in disagreements]
    run = RunRecord(
        run_id=new_run_id(),
        kind=VERIFY,
        recipe=version.recipe,
        config={"publish_id": version.publish_id, "manifest_sha256": version.manifest_sha256},
        begun=begun,
        inputs=(f"{version.name}@{version.version}",),
    )
    found = {"frames": frames, "wrong": {place: places.count(place) for place in set(places)}}
    status, before = "failed" if disagreements else "ok", _newest(catalog, version)
    catalog.append("runs", [run.row(status, found, before.finished_at if before else None)])


def newest_verification(catalog: Catalog, version: DatasetRow) -> Verified | None:
    """The last verification of a version; None when there was none."""
    newest = _newest(catalog, version)
    if newest is None:
        return None
    found = json.loads(newest.summary)
    return Verified(
        when=newest.finished_at.strftime("%Y-%m-%d %H:%M UTC"),
        host=newest.host,
        code_version=newest.code_version,
        run_id=newest.run_id,
        frames=found["frames"],
        wrong=found["wrong"],
    )


def _newest(catalog: Catalog, version: DatasetRow) -> RunRow | None:
    runs = [
        run
        for run in catalog.rows(RunRow, {"kind": VERIFY})
        if json.loads(run.config)["publish_id"] == version.publish_id
    ]
    return max(runs, key=lambda run: run.finished_at, default=None)

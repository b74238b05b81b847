"""What `tempo verify` found, as rows of `runs`: who read a version again, when, and how it stood.

The newest one counts, whatever came before it: a shard that was put back is sound again. It speaks
of the bytes as they lay there then; what has changed since, only the next one can say.
"""

import datetime as dt
import json
import socket

from curation.catalog.store import Catalog
from curation.records import DatasetRow, RunRow, canonical_json, now
from curation.report.document import Verified
from curation.shards.checking import Disagreement
from pipelines.job import new_run_id
from pipelines.version import code_version

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
    row = RunRow(
        run_id=new_run_id(),
        kind=VERIFY,
        status="failed" if disagreements else "ok",
        recipe=version.recipe,
        config=canonical_json(
            {"publish_id": version.publish_id, "manifest_sha256": version.manifest_sha256}
        ),
        summary=canonical_json(
            {"frames": frames, "wrong": {place: places.count(place) for place in set(places)}}
        ),
        code_version=code_version(),
        host=socket.gethostname(),
        started_at=begun,
        finished_at=now(),
        inputs=canonical_json([f"{version.name}@{version.version}"]),
    )
    catalog.append("runs", [row])


def newest_verification(catalog: Catalog, version: DatasetRow) -> Verified | None:
    """The last verification of a version; None when there was none."""
    runs = [
        run
        for run in catalog.rows(RunRow, {"kind": VERIFY})
        if json.loads(run.config)["publish_id"] == version.publish_id
    ]
    if not runs:
        return None
    newest = max(runs, key=lambda run: run.finished_at)
    found = json.loads(newest.summary)
    return Verified(
        when=newest.finished_at.strftime("%Y-%m-%d %H:%M UTC"),
        host=newest.host,
        code_version=newest.code_version,
        run_id=newest.run_id,
        frames=found["frames"],
        wrong=found["wrong"],
    )

"""What a curation leaves in Prefect for people to look at: tables, and their publishing.

Small on purpose: Prefect keeps artifacts in its database. The full record is where they point to.
"""

import json
from pathlib import Path
from typing import Any

from prefect.artifacts import create_link_artifact, create_table_artifact

from curation.shards.manifest import MANIFEST
from pipelines.summary import DatasetSummary, Summary, Yield

_SHOWN_SHARDS = 200

Table = list[dict[str, Any]]


def show_curation(summary: Summary) -> None:
    """Publish the funnel, the shards, and where the report is."""
    dataset = summary.dataset
    assert dataset is not None
    assert summary.page is not None
    create_table_artifact(
        key="curation-funnel", table=funnel(summary), description=f"Funnel of {dataset.reference}"
    )
    create_table_artifact(
        key="curation-shards", table=shards(dataset), description=_shards_described(dataset)
    )
    create_link_artifact(
        link=Path(summary.page).as_uri(),
        link_text=summary.page,
        key="curation-report",
        description=f"Quality report of {dataset.reference}, on the worker's disk",
    )


def funnel(summary: Summary) -> Table:
    """What each rule costs: clips and hours, from all of them to those kept."""
    rows = [_row("all clips", summary.clips)]
    rows += [_row(f"dropped: {rule}", loss) for rule, loss in summary.dropped.items()]
    rows.append(_row("kept by the policy", summary.kept))
    rows.append(_row("dropped: near-duplicates", summary.refined.duplicates))
    rows.append(_row("dropped: over a cluster's cap", summary.refined.over_cap))
    rows.append(_row("kept", summary.refined.kept))
    return rows


def shards(dataset: DatasetSummary) -> Table:
    """The version's first shards, as its manifest lists them."""
    manifest: dict[str, Any] = json.loads((Path(dataset.folder) / MANIFEST).read_bytes())
    return [
        {
            "shard": row["shard"],
            "split": row["split"],
            "samples": row["samples"],
            "seconds": round(row["seconds"], 2),
            "MB": round(row["bytes"] / 1e6, 2),
            "sha256": row["sha256"],
        }
        for row in manifest["shards"][:_SHOWN_SHARDS]
    ]


def _shards_described(dataset: DatasetSummary) -> str:
    where = f"Shards of {dataset.reference} in {dataset.folder}"
    if dataset.shards > _SHOWN_SHARDS:
        return f"{where}: the first {_SHOWN_SHARDS} of {dataset.shards}"
    return where


def _row(name: str, part: Yield) -> dict[str, Any]:
    return {"step": name, "clips": part.clips, "hours": round(part.hours, 4)}

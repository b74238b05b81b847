"""What another policy would keep of a dataset's films. Nothing is decoded or written."""

import dataclasses
import json
from typing import Any

from curation.catalog.datasets import resolve
from curation.catalog.store import Catalog
from curation.derive import DeriveConfig
from curation.records import DatasetRow, SourceRow
from curation.scan import ScanConfig
from curation.selection import SelectionPolicy
from curation.shards.manifest import MANIFEST
from pipelines.curate import CurateConfig
from pipelines.settings import Home, typed_config, with_overrides
from pipelines.steps.choose import choose
from pipelines.summary import Yield, dropped_by_rule, yield_of


@dataclasses.dataclass(frozen=True, slots=True)
class Preview:
    """The yield of a policy, beside that of the version's own."""

    reference: str
    clips: Yield
    kept_now: Yield
    kept: Yield
    dropped: dict[str, Yield]
    settings: list[str]


def preview(home: Home, reference: str, assignments: list[str]) -> Preview:
    """Select the clips of a version's films again, with other thresholds.

    Args:
        home: where the dataset is.
        reference: ``NAME``, ``NAME@latest`` or ``NAME@3``.
        assignments: ``select.…=…``.

    Raises:
        ValueError: an assignment that is not of the policy, or no such field.
        DatasetError: no such version.
    """
    for assignment in assignments:
        if not assignment.startswith("select."):
            raise ValueError(f"--set {assignment}: preview moves thresholds only (select.…)")
    with Catalog.open(home.catalog()) as catalog:
        version = resolve(catalog, reference)
        manifest = _manifest(home, version)
        config = manifest["config"]
        scan = typed_config(ScanConfig, config["scan"])
        derive = typed_config(DeriveConfig, config["derive"])
        policy = typed_config(SelectionPolicy, config["select"])
        moved = with_overrides(CurateConfig("preview", ("sidecar",), select=policy), assignments)
        licences = _licences(catalog, manifest["films"])
        now = choose(catalog, licences, scan, derive, policy)
        then = choose(catalog, licences, scan, derive, moved.select)
    return Preview(
        reference=f"{version.name}@{version.version}",
        clips=yield_of(now.clips, None),
        kept_now=yield_of(now.clips, now.selection.kept),
        kept=yield_of(then.clips, then.selection.kept),
        dropped=dropped_by_rule(then.clips, then.selection),
        settings=assignments,
    )


def _manifest(home: Home, version: DatasetRow) -> dict[str, Any]:
    path = home.datasets / version.name / str(version.version) / MANIFEST
    document: dict[str, Any] = json.loads(path.read_bytes())
    return document


def _licences(catalog: Catalog, films: list[str]) -> dict[str, str | None]:
    """The licence of each film, from whichever of its files was offered with one."""
    found: dict[str, str | None] = dict.fromkeys(films)
    for row in catalog.rows(SourceRow):
        if row.video_id in found and row.licence:
            found[row.video_id] = row.licence
    return found

"""What another policy would keep of a dataset's films. Nothing is decoded or written.

Films that were taken down since are left out of both yields: no future version may hold them.
"""

import dataclasses
import json
from typing import Any

from curation.balance import BalanceConfig
from curation.catalog.datasets import resolve
from curation.catalog.store import Catalog
from curation.derive import DeriveConfig
from curation.duplicates import DuplicateConfig
from curation.records import DatasetRow
from curation.scan import ScanConfig
from curation.scoring.film import ScoreConfig
from curation.selection import SelectionPolicy
from curation.shards.manifest import MANIFEST
from pipelines.curate import CurateConfig
from pipelines.settings import Home, typed_config, with_overrides
from pipelines.steps.choose import choose, made_scores
from pipelines.steps.identify import recorded_films, taken_down
from pipelines.steps.refine import refine
from pipelines.summary import SetLevel, Yield, dropped_by_rule, yield_of

_MOVABLE = ("select.", "duplicates.", "balance.")


@dataclasses.dataclass(frozen=True, slots=True)
class Preview:
    """The yield of a policy, beside that of the version's own."""

    reference: str
    clips: Yield
    kept_now: Yield
    kept: Yield
    dropped: dict[str, Yield]
    refined_now: SetLevel
    """What the set-level steps leave of `kept_now`."""
    refined: SetLevel
    """What they would leave of `kept`."""
    settings: list[str]


def preview(home: Home, reference: str, assignments: list[str]) -> Preview:
    """Select and refine the clips of a version's films again, with other settings.

    Args:
        home: where the dataset is.
        reference: ``NAME``, ``NAME@latest`` or ``NAME@3``.
        assignments: ``select.…=…``, ``duplicates.…=…`` or ``balance.…=…``.

    Raises:
        ValueError: an assignment of another kind, no such field, or one that asks for a score
            that the version was made without.
        DatasetError: no such version.
    """
    for assignment in assignments:
        if not assignment.startswith(_MOVABLE):
            raise ValueError(
                f"--set {assignment}: preview moves only thresholds and set-level steps "
                "(select.…, duplicates.…, balance.…)"
            )
    with Catalog.open(home.catalog()) as catalog:
        version = resolve(catalog, reference)
        manifest = _manifest(home, version)
        config = manifest["config"]
        scan = typed_config(ScanConfig, config["scan"])
        derive = typed_config(DeriveConfig, config["derive"])
        made_by = made_scores(manifest["fingerprints"])
        settled = CurateConfig(
            "preview",
            ("sidecar",),
            score=ScoreConfig(tuple(made_by)),
            select=typed_config(SelectionPolicy, config["select"]),
            duplicates=typed_config(DuplicateConfig, config["duplicates"]),
            balance=typed_config(BalanceConfig, config["balance"]),
        )
        moved = with_overrides(settled, assignments)
        moved.check_scorers()
        barred = taken_down(catalog)
        usable = [film for film in manifest["films"] if film not in barred]
        licences = licences_of(catalog, usable)
        now, then = (
            choose(catalog, licences, scan, derive, of.select, made_by) for of in (settled, moved)
        )
        refined_now, refined = (
            refine(catalog, chosen, made_by, of.duplicates, of.balance).outcome
            for chosen, of in ((now, settled), (then, moved))
        )
    return Preview(
        reference=f"{version.name}@{version.version}",
        clips=yield_of(now.clips, None),
        kept_now=yield_of(now.clips, now.selection.kept),
        kept=yield_of(then.clips, then.selection.kept),
        dropped=dropped_by_rule(then.clips, then.selection),
        refined_now=refined_now,
        refined=refined,
        settings=assignments,
    )


def _manifest(home: Home, version: DatasetRow) -> dict[str, Any]:
    path = home.datasets / version.name / str(version.version) / MANIFEST
    document: dict[str, Any] = json.loads(path.read_bytes())
    return document


def licences_of(catalog: Catalog, films: list[str]) -> dict[str, str | None]:
    """The licence of each film, by the rule of `pipelines.steps.identify.once`."""
    known = recorded_films(catalog)
    return {film: known[film].licence if film in known else None for film in films}

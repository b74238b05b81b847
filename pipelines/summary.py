"""What a curation run has to say: counts and hours by stage, and every reason for a loss."""

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.records import DatasetRow, VideoRow
from curation.selection import Selection
from curation.unfinished import replacing
from pipelines.settings import Home

PAGE = "report.html"
"""The quality report of a version, in a folder of the version's name."""


@dataclasses.dataclass(frozen=True, slots=True)
class Yield:
    """A number of clips, and how long they are together."""

    clips: int
    hours: float


@dataclasses.dataclass(frozen=True, slots=True)
class SetLevel:
    """What the steps that look at all kept clips together left, and dropped."""

    duplicates: Yield
    """Clips that another clip represents; the table `refinements` says which."""
    over_cap: Yield
    """Clips that their cluster has no room for."""
    kept: Yield
    film_groups: list[list[str]]
    """video_ids of films that are copies of one another, and so on one side of the split."""
    clusters: list[int]
    """Clips of each cluster before its cap, the largest first; empty where nothing is clustered."""


@dataclasses.dataclass(frozen=True, slots=True)
class DatasetSummary:
    """The version that a run published, or found published already."""

    reference: str
    """``NAME@VERSION``."""
    fresh: bool
    samples: int
    train_samples: int
    val_samples: int
    multi_samples: int
    """Multi-shot ones among the samples."""
    shards: int
    hours: float
    bytes: int
    encoded: int
    copied: int
    lost: dict[str, int]
    """Samples that could not be packed, by reason."""
    uncaptioned: dict[str, int]
    """Kept clips that no captioner had words for, by reason."""
    folder: str
    catalog: str


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """Films that are partial or quarantined for the same reason."""

    status: str
    reason: str
    films: int
    example: str
    """The uri of one of them."""
    message: str
    """The decoder's words, or ours, about that one."""


@dataclasses.dataclass(frozen=True, slots=True)
class Summary:
    """A curation run in numbers."""

    files: int
    films: int
    duplicates: int
    taken_down: int
    scanned: int
    derived: int
    scored: int
    decodes: int
    film_hours: float
    status: dict[str, int]
    """Films by 'ok', 'partial', 'quarantined'."""
    problems: list[Problem]
    """Partial and quarantined films, by reason."""
    clips: Yield
    kept: Yield
    dropped: dict[str, Yield]
    """Clips by each rule that they break; one that breaks several counts in each."""
    refined: SetLevel
    dataset: DatasetSummary | None = None
    report: str | None = None
    """Where this summary is."""
    page: str | None = None
    """Where the version's quality report is, once the run is over."""

    @property
    def readable(self) -> int:
        """Films that gave at least one frame."""
        return self.films - self.status.get("quarantined", 0)

    def document(self) -> dict[str, Any]:
        """As JSON holds it."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, slots=True)
class WorkDone:
    """What a run did itself, and did not find done."""

    files: int
    duplicates: int
    taken_down: int
    scanned: int
    derived: int
    scored: int
    """Films that at least one scorer judged."""
    decodes: int


def summarise(
    work: WorkDone,
    videos: list[VideoRow],
    clips: pa.Table,
    selection: Selection,
    refined: SetLevel,
) -> Summary:
    """Count what was read and chosen."""
    hours = sum(row.duration_seconds or 0.0 for row in videos) / 3600
    return Summary(
        **dataclasses.asdict(work),
        films=len(videos),
        film_hours=hours,
        status=dict(sorted(Counter(row.status for row in videos).items())),
        problems=_problems(videos),
        clips=yield_of(clips, None),
        kept=yield_of(clips, selection.kept),
        dropped=dropped_by_rule(clips, selection),
        refined=refined,
    )


def dropped_by_rule(clips: pa.Table, selection: Selection) -> dict[str, Yield]:
    """What each rule costs, the costliest first; rules that nothing breaks are left out."""
    losses = {
        rule: yield_of(clips, selection.broken_by(number))
        for number, rule in enumerate(selection.rules)
    }
    broken = {rule: loss for rule, loss in losses.items() if loss.clips}
    return dict(sorted(broken.items(), key=lambda item: (-item[1].clips, item[0])))


def yield_of(clips: pa.Table, mask: npt.NDArray[np.bool_] | None) -> Yield:
    """How many clips, and how long, of those that the mask marks."""
    seconds = clips["seconds"] if mask is None else clips["seconds"].filter(pa.array(mask))
    return Yield(len(seconds), (pc.sum(seconds).as_py() or 0.0) / 3600)


def _problems(videos: list[VideoRow]) -> list[Problem]:
    of_reason: dict[tuple[str, str], list[VideoRow]] = {}
    for row in sorted(videos, key=lambda row: row.uri):
        if row.status != "ok":
            of_reason.setdefault((row.status, row.reason or "unknown"), []).append(row)
    return [
        Problem(status, reason, len(rows), rows[0].uri, rows[0].message or "")
        for (status, reason), rows in sorted(of_reason.items())
    ]


def with_dataset(
    summary: Summary,
    version: DatasetRow,
    folder: Path,
    catalog: str,
    *,
    fresh: bool,
    encoded: int,
    copied: int,
    lost: list[dict[str, Any]],
    uncaptioned: Counter[str],
) -> Summary:
    """The summary with what was published."""
    dataset = DatasetSummary(
        reference=f"{version.name}@{version.version}",
        fresh=fresh,
        samples=version.samples,
        train_samples=version.train_samples,
        val_samples=version.val_samples,
        multi_samples=version.multi_samples or 0,
        shards=version.shards,
        hours=version.seconds / 3600,
        bytes=version.bytes,
        encoded=encoded,
        copied=copied,
        lost=dict(Counter(row["reason"] for row in lost)),
        uncaptioned=dict(uncaptioned),
        folder=str(folder),
        catalog=catalog,
    )
    return dataclasses.replace(summary, dataset=dataset)


def write_summary(home: Home, summary: Summary) -> Summary:
    """Write the summary under the home's reports; returns it with its own place."""
    assert summary.dataset is not None
    home.reports.mkdir(parents=True, exist_ok=True)
    path = home.reports / f"{summary.dataset.reference}.json"
    page = home.reports / summary.dataset.reference / PAGE
    placed = dataclasses.replace(summary, report=str(path), page=str(page))
    with replacing(path) as partial:
        partial.write_bytes(json.dumps(placed.document(), indent=1, sort_keys=True).encode())
    return placed

"""Which clips are kept: every clip of the library held against the policy."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.catalog.store import Catalog
from curation.derive import DeriveConfig
from curation.errors import CurationError
from curation.records import ClipRow
from curation.scan import ScanConfig
from curation.selection import Selection, SelectionPolicy, select
from pipelines.summary import dropped_by_rule

_PLANNED = (
    "clip_id", "video_id", "shot_index", "start_frame", "end_frame", "start_seconds", "seconds",
    "frame_count", "width", "height",
)  # fmt: skip
"""What planning needs of a clip; its measurements are read again when they are wanted."""

SCORE = "score:"
"""Before the name of a scorer among the fingerprints of a version."""


@dataclasses.dataclass(frozen=True, slots=True)
class Chosen:
    """The verdict on every clip of the library."""

    clips: pa.Table
    """All clips: what planning needs of each, and its licence."""
    selection: Selection

    def kept(self) -> pa.Table:
        """The clips that the policy keeps."""
        return self.clips.filter(pa.array(self.selection.kept))


def choose(
    catalog: Catalog,
    licences: dict[str, str | None],
    scan: ScanConfig,
    derive: DeriveConfig,
    policy: SelectionPolicy,
    made_by: Mapping[str, str] | None = None,
) -> Chosen:
    """Hold every clip of some films against a policy. Nothing is decoded or written.

    Of films that are quarantined no clip counts, though an earlier derivation be stored. Clips are
    read a data file at a time, and only the columns that the policy asks about.

    Args:
        catalog: where the clips are.
        licences: the films (video_id) and their licences.
        scan: which scan's clips.
        derive: which derivation's clips.
        policy: the thresholds.
        made_by: scorer -> fingerprint of its scores, for a policy that asks about scores.

    Raises:
        ValueError: the policy asks about a score that no scorer has made.
    """
    scores = _asked_scores(catalog, policy, made_by or {})
    usable = _usable_films(catalog, scan)
    licences = {film: licence for film, licence in licences.items() if film in usable}
    derived_by = derive.fingerprint(scan.fingerprint)
    columns = list(dict.fromkeys([*_PLANNED, *policy.columns()]))
    pieces: list[pa.Table] = []
    verdicts: list[Selection] = []
    for clips in measured_clips(catalog, licences, derived_by, columns, scores):
        verdicts.append(select(clips, policy))
        pieces.append(clips.select([*_PLANNED, "licence"]))
    if not pieces:
        where = {"derive_fingerprint": derived_by}
        empty = catalog.read("clips", where, columns).append_column(
            "licence", pa.array([], pa.string())
        )
        return Chosen(empty, select(_with_scores(empty, scores), policy))
    failed = np.concatenate([verdict.failed for verdict in verdicts])
    return Chosen(pa.concat_tables(pieces), Selection(verdicts[0].rules, failed))


def measured_clips(
    catalog: Catalog,
    licences: Mapping[str, str | None],
    derived_by: str,
    columns: Sequence[str],
    scores: Mapping[str, pa.Table],
) -> Iterator[pa.Table]:
    """What a policy is held against, a data file at a time: clips, scores, licence.

    Args:
        catalog: where the clips are.
        licences: the films (video_id) and their licences.
        derived_by: the derivation's fingerprint.
        columns: columns of `clips`; `clip_id` and `video_id` among them.
        scores: threshold -> `stored_scores`.
    """
    films = pa.array(list(licences), pa.string())
    licence = pa.array(list(licences.values()), pa.string())
    for stored in catalog.batches("clips", {"derive_fingerprint": derived_by}, columns):
        position = pc.index_in(stored["video_id"], value_set=films)
        clips = stored.append_column("licence", licence.take(position))
        yield _with_scores(clips.filter(pc.is_valid(position)), scores)


def _usable_films(catalog: Catalog, scan: ScanConfig) -> set[str]:
    """video_ids of the films that their newest row calls ok or partial."""
    films = catalog.read(
        "videos", {"scan_fingerprint": scan.fingerprint}, ["video_id", "status"]
    ).filter(pc.field("status") != "quarantined")
    return set(films["video_id"].to_pylist())


def stored_scores(catalog: Catalog, made_by: str) -> pa.Table:
    """clip_id and score of every clip that was scored under a fingerprint."""
    return catalog.read("scores", {"fingerprint": made_by}, ["clip_id", "score"]).combine_chunks()


def made_scores(fingerprints: Mapping[str, str]) -> dict[str, str]:
    """Scorer -> fingerprint of its scores, of all that a version's manifest names."""
    return {
        name.removeprefix(SCORE): made_by
        for name, made_by in fingerprints.items()
        if name.startswith(SCORE)
    }


def _asked_scores(
    catalog: Catalog, policy: SelectionPolicy, made_by: Mapping[str, str]
) -> dict[str, pa.Table]:
    """clip_id and score, for each threshold that is held against one."""
    scores = {}
    for name, scorer in policy.scores().items():
        if scorer not in made_by:
            raise ValueError(
                f"select.{name} asks for the score of {scorer!r}, which was not made: name it in "
                f"score.scorers, or open the threshold (select.{name}.min=none)"
            )
        scores[name] = stored_scores(catalog, made_by[scorer])
    return scores


def _with_scores(clips: pa.Table, scores: Mapping[str, pa.Table]) -> pa.Table:
    """Clips with a column for each score; null where a clip has none."""
    for name, scored in scores.items():
        place = pc.index_in(clips["clip_id"], value_set=scored["clip_id"].combine_chunks())
        clips = clips.append_column(name, scored["score"].take(place))
    return clips


def clip_rows(catalog: Catalog, made_by: str, wanted: pa.ChunkedArray) -> dict[str, ClipRow]:
    """The whole rows of some clips, by clip_id.

    Args:
        catalog: where the clips are.
        made_by: the derivation's fingerprint.
        wanted: clip_ids.
    """
    found = {}
    for piece in catalog.batches("clips", {"derive_fingerprint": made_by}):
        rows = piece.filter(pc.is_in(piece["clip_id"], value_set=wanted)).to_pylist()
        found.update({row["clip_id"]: ClipRow(**row) for row in rows})
    return found


def refuse_if_nothing(chosen: Chosen, readable: int) -> None:
    """A dataset of nothing is an error, with the reasons.

    Raises:
        CurationError: no film could be read, or no clip is kept.
    """
    if not readable:
        raise CurationError("no film could be read: every file was quarantined (reasons above)")
    if not chosen.selection.kept.any():
        losses = dropped_by_rule(chosen.clips, chosen.selection)
        listed = ", ".join(f"{rule} {loss.clips}" for rule, loss in list(losses.items())[:5])
        raise CurationError(
            f"none of {chosen.clips.num_rows} clips is kept ({listed}); loosen the policy with "
            "--set select.NAME.min=… or max=…"
        )

"""Which clips are kept: every clip of the library held against the policy."""

import dataclasses

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

_PLANNED = ("clip_id", "video_id", "seconds", "frame_count", "width", "height")
"""What planning needs of a clip; its measurements are read again when they are wanted."""


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
) -> Chosen:
    """Hold every clip of some films against a policy. Nothing is decoded or written.

    Clips are read a data file at a time, and only the columns that the policy asks about.

    Args:
        catalog: where the clips are.
        licences: the films (video_id) and their licences.
        scan: which scan's clips.
        derive: which derivation's clips.
        policy: the thresholds.
    """
    where = {"derive_fingerprint": derive.fingerprint(scan.fingerprint)}
    columns = list(dict.fromkeys([*_PLANNED, *policy.columns()]))
    films = pa.array(list(licences), pa.string())
    licence = pa.array(list(licences.values()), pa.string())
    pieces: list[pa.Table] = []
    verdicts: list[Selection] = []
    for stored in catalog.batches("clips", where, columns):
        position = pc.index_in(stored["video_id"], value_set=films)
        clips = stored.append_column("licence", licence.take(position))
        clips = clips.filter(pc.is_valid(position))
        verdicts.append(select(clips, policy))
        pieces.append(clips.select([*_PLANNED, "licence"]))
    if not pieces:
        empty = catalog.read("clips", where, columns).append_column(
            "licence", pa.array([], pa.string())
        )
        return Chosen(empty, select(empty, policy))
    failed = np.concatenate([verdict.failed for verdict in verdicts])
    return Chosen(pa.concat_tables(pieces), Selection(verdicts[0].rules, failed))


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

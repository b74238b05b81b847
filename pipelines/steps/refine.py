"""The set-level steps: near-duplicates, then balance, on what the policy keeps.

Selection judges each clip by itself; these look at all of them together, so they come after it and
in this order: select, deduplicate, balance. What scoring left in the catalog is all they need. They
decide nothing about a clip that the policy drops, but which films are copies of one another is seen
from all clips, so that moving a threshold moves no film to the other side of the split.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.balance import BalanceConfig, cluster, over_cap
from curation.catalog.store import Catalog
from curation.components import fingerprint
from curation.duplicates import (
    EMBEDDING,
    HASHES,
    DuplicateConfig,
    FrameHashes,
    Standing,
    film_groups,
    representatives,
    similar_by_embedding,
    similar_by_hashes,
)
from curation.identities import digest
from curation.records import RefinementRow, now
from curation.scoring.film import LAION, TECHNICAL
from pipelines.steps.choose import Chosen
from pipelines.summary import SetLevel, yield_of

Mask = npt.NDArray[np.bool_]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]

SCORER_OF_LOOK = {HASHES: TECHNICAL, EMBEDDING: LAION}
DUPLICATE, BALANCE = "duplicate", "balance"


@dataclasses.dataclass(frozen=True, slots=True)
class Refined:
    """What is left of the kept clips, and why."""

    kept: pa.Table
    group_of_film: dict[str, str]
    """video_id -> the lowest video_id of its duplicate group."""
    dropped: list[RefinementRow]
    fingerprint: str | None
    """Of these rows; None where no set-level step was asked for."""
    outcome: SetLevel


def refine(
    catalog: Catalog,
    chosen: Chosen,
    made_by: Mapping[str, str],
    duplicates: DuplicateConfig,
    balance: BalanceConfig,
) -> Refined:
    """Drop near-duplicates, then what is over a cluster's cap. Nothing is written.

    Args:
        catalog: where the scores are.
        chosen: the verdict on every clip.
        made_by: scorer -> fingerprint of its scores; those that the steps need.
        duplicates: what a near-duplicate is.
        balance: the clusters and their cap.
    """
    order = pc.sort_indices(chosen.clips["clip_id"])
    clips = chosen.clips.take(order)
    kept = chosen.selection.kept[order.to_numpy()]
    ids = clips["clip_id"].combine_chunks()
    films, film = np.unique(clips["video_id"].to_numpy(), return_inverse=True)
    film = film.astype(np.int64)
    group = np.arange(len(films))
    stands_for = np.full(len(ids), -1)
    if duplicates.look is not None:
        scorer = made_by[SCORER_OF_LOOK[duplicates.look]]
        scores = _scores(catalog, scorer, ids)
        if duplicates.look == EMBEDDING:
            embeddings = _embeddings(catalog, scorer, ids)
            comparable: Mask = np.any(embeddings, axis=1)
            similar = similar_by_embedding(embeddings, film, duplicates)
        else:
            hashes = _hashes(scores)
            told = np.bincount(hashes.clip, minlength=len(film))
            comparable = (told > 0) & (told >= duplicates.frame_share * hashes.frames)
            similar = similar_by_hashes(hashes, film, duplicates)
        group = film_groups(similar, film, comparable, duplicates)
        if duplicates.remove:
            standing = _standing(clips, film, scores)
            stands_for = representatives(similar, kept, standing, duplicates)
    unique = kept & (stands_for < 0)
    labels = np.full(len(ids), -1)
    over = np.zeros(len(ids), np.bool_)
    if balance.clusters:
        scores = _scores(catalog, made_by[LAION], ids)
        embeddings = _embeddings(catalog, made_by[LAION], ids)
        labels[unique] = cluster(embeddings[unique], balance)
        over[unique] = over_cap(labels[unique], _float32(scores["score"])[unique], balance)
    stays = unique & ~over
    made = _fingerprint(ids, kept, made_by, duplicates, balance)
    return Refined(
        kept=clips.filter(pa.array(stays)),
        group_of_film=dict(zip(films.tolist(), films[group].tolist(), strict=True)),
        dropped=_rows(ids, stands_for, over, labels, made),
        fingerprint=made,
        outcome=SetLevel(
            duplicates=yield_of(clips, stands_for >= 0),
            over_cap=yield_of(clips, over),
            kept=yield_of(clips, stays),
            film_groups=_groups(films, group),
            clusters=np.bincount(labels[labels >= 0]).tolist(),
        ),
    )


def _scores(catalog: Catalog, made_by: str, ids: pa.Array) -> pa.Table:
    """The scores of clips, in the order of the ids; nulls for a clip without any."""
    columns = ["clip_id", "score", "frame_hashes"]
    pieces = [
        piece.filter(pc.is_in(piece["clip_id"], value_set=ids))
        for piece in catalog.batches("scores", {"fingerprint": made_by}, columns)
    ]
    if not pieces:
        pieces = [catalog.read("scores", {"fingerprint": made_by}, columns)]
    stored = pa.concat_tables(pieces).combine_chunks()
    return stored.take(pc.index_in(ids, value_set=stored["clip_id"].combine_chunks()))


def _hashes(scores: pa.Table) -> FrameHashes:
    column = scores["frame_hashes"].combine_chunks()
    frames = pc.fill_null(pc.list_value_length(column), 0).to_numpy().astype(np.int64)
    flat = column.flatten()
    telling = pc.not_equal(flat, "").to_numpy(zero_copy_only=False)
    hexes = flat.filter(pa.array(telling)).to_pylist()
    bits = np.frombuffer(bytes.fromhex("".join(hexes)), np.uint8)
    return FrameHashes(
        clip=np.repeat(np.arange(len(frames)), frames)[telling],
        bits=bits.reshape(len(hexes), -1) if hexes else np.empty((0, 1), np.uint8),
        frames=frames,
    )


def _embeddings(catalog: Catalog, made_by: str, ids: pa.Array) -> F32:
    """[n, d] in the order of the ids; zeros for a clip without one.

    Filled a data file at a time: 3 million embeddings are more than one Arrow list column can hold.
    """
    embeddings: F32 | None = None
    for piece in catalog.batches("scores", {"fingerprint": made_by}, ["clip_id", "embedding"]):
        place = pc.index_in(piece["clip_id"], value_set=ids).combine_chunks()
        wanted = pc.and_(pc.is_valid(place), pc.is_valid(piece["embedding"]))
        for batch in piece.append_column("place", place).filter(wanted).to_batches():
            values = batch["embedding"].flatten().to_numpy()
            if embeddings is None:
                embeddings = np.zeros((len(ids), len(values) // batch.num_rows), np.float32)
            embeddings[batch["place"].to_numpy()] = values.reshape(batch.num_rows, -1)
    return np.zeros((len(ids), 1), np.float32) if embeddings is None else embeddings


def _standing(clips: pa.Table, film: I64, scores: pa.Table) -> Standing:
    width, height = (clips[name].to_numpy() for name in ("width", "height"))
    return Standing(
        films=film,
        short_side=np.minimum(width, height),
        score=_float32(scores["score"]),
        seconds=clips["seconds"].to_numpy(),
    )


def _float32(column: pa.ChunkedArray) -> F32:
    """NaN where there is none."""
    values: F32 = column.to_numpy().astype(np.float32)
    return values


def _groups(films: npt.NDArray[np.object_], group: I64) -> list[list[str]]:
    """Groups of two films and more."""
    shared = np.flatnonzero(np.bincount(group, minlength=len(films)) > 1)
    return [films[group == lowest].tolist() for lowest in shared]


def _fingerprint(
    ids: pa.Array,
    kept: Mask,
    made_by: Mapping[str, str],
    duplicates: DuplicateConfig,
    balance: BalanceConfig,
) -> str | None:
    if duplicates.look is None and not balance.clusters:
        return None
    clips = ids.filter(pa.array(kept)).to_pylist()
    steps = {"duplicates": duplicates, "balance": balance}
    return fingerprint("refine", steps | {"scores": dict(made_by), "clips": digest(*clips)})


def _rows(
    ids: pa.Array, stands_for: I64, over: Mask, labels: I64, made: str | None
) -> list[RefinementRow]:
    dropped = np.flatnonzero((stands_for >= 0) | over)
    rows = []
    for at in dropped.tolist():
        duplicate = stands_for[at] >= 0
        assert made is not None
        rows.append(
            RefinementRow(
                clip_id=ids[at].as_py(),
                fingerprint=made,
                step=DUPLICATE if duplicate else BALANCE,
                representative=ids[int(stands_for[at])].as_py() if duplicate else None,
                cluster=None if duplicate else int(labels[at]),
                recorded_at=now(),
            )
        )
    return rows

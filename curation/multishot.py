"""Training samples from kept clips: each clip alone, and clips of one film in a row (section 3.3).

A multi-shot sample is a run of neighbouring clips whose frames will stand one after the other, so
every join must be a true cut. Two clips may meet when they are of one film and of one packed size,
stand in order and at most a given gap apart, and come from different shots: pieces of one long shot
never meet, for a cut between them would be a lie. The trade-off: what may meet is decided from the
rows alone, so shots that a wrong cut was found between can still meet, and two takes of the same
set-up make a jump cut.

Everything is a function of the clips, the policy and the seed. Draws are hashes of ids, so films
that join the library leave the candidates of all others as they were.
"""

import dataclasses
import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.identities import digest, sample_id_of
from curation.video.retime import PACKED_RATE

I64 = npt.NDArray[np.int64]

SINGLE, MULTI = "single", "multi"
_ROUNDING = 1e-9
"""A share that is met exactly must not fail by its float's last digit."""


@dataclasses.dataclass(frozen=True, slots=True)
class MultiShotConfig:
    """Which clips meet in one sample, and how many such samples a dataset holds.

    Attributes:
        share: multi-shot samples are at most this share of the samples of each side (train, val);
            0 for none, 1 for every one that can be made. The paper's data has more than 300 000
            videos with a cut beside about 3 million clips.
        min_shots: fewest clips of a sample.
        max_shots: most clips of a sample.
        min_seconds: shortest sample; stage 2 of training takes 5 to 60 seconds.
        max_seconds: longest sample.
        max_gap_seconds: most of the film that may be missing between two clips that meet.
        max_uses: a clip is in at most this many multi-shot samples.
        stand_alone: whether a clip of a multi-shot sample is a sample of its own as well.
        seed: another seed draws other sequences.
    """

    share: float = 0.1
    min_shots: int = 2
    max_shots: int = 8
    min_seconds: float = 5.0
    max_seconds: float = 60.0
    max_gap_seconds: float = 5.0
    max_uses: int = 1
    stand_alone: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            raise ValueError(f"multishot.share = {self.share}: give a share from 0 to 1")
        if self.min_shots < 2:
            raise ValueError(
                f"multishot.min_shots = {self.min_shots}: a sequence has at least 2 shots"
            )
        if self.max_shots < self.min_shots:
            raise ValueError(
                f"multishot.max_shots = {self.max_shots}: give at least min_shots "
                f"({self.min_shots})"
            )
        if not 0.0 < self.min_seconds <= self.max_seconds < math.inf:
            raise ValueError(
                f"multishot.min_seconds = {self.min_seconds}, max_seconds = {self.max_seconds}: "
                "give a positive minimum and a maximum that is not below it"
            )
        if not self.max_gap_seconds >= 0.0:
            raise ValueError(
                f"multishot.max_gap_seconds = {self.max_gap_seconds}: give 0 or more seconds"
            )
        if self.max_uses < 1:
            raise ValueError(
                f"multishot.max_uses = {self.max_uses}: give at least 1; share = 0 makes none"
            )

    @property
    def frames(self) -> tuple[int, int]:
        """Fewest and most frames of a packed sample."""
        return (
            math.ceil(self.min_seconds * PACKED_RATE),
            math.floor(self.max_seconds * PACKED_RATE),
        )


def assemble(clips: pa.Table, sides: dict[str, str], config: MultiShotConfig) -> pa.Table:
    """All samples that kept clips make, single-shot and multi-shot.

    Takes time in proportion to the number of clips, but for sorting them.

    Args:
        clips: kept clips of one derivation: clip_id, video_id, shot_index, start_frame, end_frame,
            start_seconds, seconds, frame_count (packed), width and height (as they will be packed).
        sides: film -> 'train' or 'val'.
        config: which clips may meet.

    Returns:
        Columns sample_id, kind ('single' or 'multi'), clip_ids, video_id, split, frame_count,
        width, height; in no particular order.
    """
    films = pa.array(list(sides), pa.string())
    split = pa.array(list(sides.values()), pa.string())
    clips = clips.append_column("split", split.take(pc.index_in(clips["video_id"], films)))
    clips = clips.sort_by([("video_id", "ascending"), ("start_frame", "ascending")])
    spans = _candidates(clips, config) if config.share else np.empty((0, 2), np.int64)
    multi = _samples(clips, spans, MULTI)
    taken = _within_share(clips, spans, multi, config)
    alone = np.ones(clips.num_rows, bool)
    if not config.stand_alone:
        alone[_members(spans[taken])] = False
    at = np.flatnonzero(alone)
    single = _samples(clips, np.stack([at, at + 1], axis=1), SINGLE)
    return pa.concat_tables([single, multi.filter(pa.array(taken))])


def _candidates(clips: pa.Table, config: MultiShotConfig) -> I64:
    """Half-open ranges of sorted clips that make a sequence, [n, 2], in order, none twice.

    Each of `max_uses` rounds walks through the clips once, and a clip is in one range of a round at
    most. Where a sequence can begin, one does; its end is drawn evenly from those that are allowed.
    """
    first, last = (ends.tolist() for ends in _allowed_ends(clips, config))
    ids = clips["clip_id"].to_pylist()
    found: set[tuple[int, int]] = set()
    for turn in range(config.max_uses):
        at = 0
        while at < len(ids):
            end = at + 1
            if first[at] <= last[at]:
                choices = last[at] - first[at] + 1
                end = first[at] + _draw(config.seed, f"length {turn}", ids[at]) % choices
                found.add((at, end))
            at = end
    return np.array(sorted(found), np.int64).reshape(-1, 2)


def _allowed_ends(clips: pa.Table, config: MultiShotConfig) -> tuple[I64, I64]:
    """For a sequence that begins with clip i, its first and last allowed (exclusive) end.

    There is none where the first is greater than the last.
    """
    count = clips.num_rows
    at = np.arange(count)
    joined = np.append(_may_meet(clips, config.max_gap_seconds), False)[:count]
    # The end of the run that clip i is in: the first clip from i on that does not meet its next.
    breaks = np.flatnonzero(~joined)
    run_end = breaks[np.searchsorted(breaks, at)] + 1
    elapsed = np.concatenate([[0], np.cumsum(clips["frame_count"].to_numpy())])
    fewest, most = config.frames
    long_enough = np.searchsorted(elapsed, elapsed[:-1] + fewest, side="left")
    still_short = np.searchsorted(elapsed, elapsed[:-1] + most, side="right") - 1
    first = np.maximum(at + config.min_shots, long_enough)
    last = np.minimum(np.minimum(at + config.max_shots, still_short), run_end)
    return first, last


def _may_meet(clips: pa.Table, max_gap_seconds: float) -> npt.NDArray[np.bool_]:
    """[n - 1] whether a clip may be followed by the next one of the sorted table."""
    same = [
        pc.equal(clips[name].slice(1), clips[name].slice(0, max(0, clips.num_rows - 1)))
        for name in ("video_id", "width", "height", "shot_index")
    ]
    film, width, height, shot = (column.to_numpy() for column in same)
    starts, ends = clips["start_frame"].to_numpy(), clips["end_frame"].to_numpy()
    begins = clips["start_seconds"].to_numpy()
    gaps = begins[1:] - (begins + clips["seconds"].to_numpy())[:-1]
    in_order = (starts[1:] >= ends[:-1]) & (gaps <= max_gap_seconds + _ROUNDING)
    allowed: npt.NDArray[np.bool_] = film & width & height & ~shot & in_order
    return allowed


def _within_share(
    clips: pa.Table, spans: I64, multi: pa.Table, config: MultiShotConfig
) -> npt.NDArray[np.bool_]:
    """[n] which candidates are taken: of each side as many as its share allows, drawn by their ids.

    A clip that loses its own sample to the first sequence that takes it makes the single-shot
    samples fewer.
    """
    ids = multi["sample_id"].to_pylist()
    drawn = np.array([_draw(config.seed, "share", sample) for sample in ids], np.uint64)
    side_of_clip = clips["split"].to_numpy()
    side_of_span = multi["split"].to_numpy()
    taken = np.zeros(len(spans), bool)
    for side in sorted(set(side_of_span)):
        of_side = np.flatnonzero(side_of_span == side)
        of_side = of_side[np.argsort(drawn[of_side], kind="stable")]
        singles = np.full(len(of_side), np.count_nonzero(side_of_clip == side))
        if not config.stand_alone:
            singles -= _clips_used(spans[of_side])
        number = np.arange(1, len(of_side) + 1)
        taken[of_side[number <= config.share * (number + singles) + _ROUNDING]] = True
    return taken


def _clips_used(spans: I64) -> I64:
    """[n] how many different clips the first spans, up to and with each, hold together."""
    owner = np.repeat(np.arange(len(spans)), spans[:, 1] - spans[:, 0])
    first_seen = np.unique(_members(spans), return_index=True)[1]
    used: I64 = np.cumsum(np.bincount(owner[first_seen], minlength=len(spans)))
    return used


def _members(spans: I64) -> I64:
    """Positions of the clips of all spans, one span after the other."""
    lengths = spans[:, 1] - spans[:, 0]
    begins = np.cumsum(lengths) - lengths
    return np.repeat(spans[:, 0] - begins, lengths) + np.arange(int(lengths.sum()))


def _samples(clips: pa.Table, spans: I64, kind: str) -> pa.Table:
    """The sample of each span of sorted clips."""
    members = _members(spans)
    offsets = np.append(0, np.cumsum(spans[:, 1] - spans[:, 0]))
    ids = clips["clip_id"].combine_chunks().take(pa.array(members))
    elapsed = np.append(0, np.cumsum(clips["frame_count"].to_numpy()))
    clip_ids = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), ids)
    first = clips.select(["video_id", "split", "width", "height"]).take(pa.array(spans[:, 0]))
    return pa.table(
        {
            "sample_id": pa.array(
                [sample_id_of(of_sample, kind) for of_sample in clip_ids.to_pylist()], pa.string()
            ),
            "kind": pa.repeat(kind, len(spans)),
            "clip_ids": clip_ids,
            "video_id": first["video_id"],
            "split": first["split"],
            "frame_count": elapsed[spans[:, 1]] - elapsed[spans[:, 0]],
            "width": first["width"],
            "height": first["height"],
        }
    )


def _draw(seed: int, purpose: str, identity: str) -> int:
    """A number in [0, 2^64) that belongs to an id."""
    return int(digest("multishot", str(seed), purpose, identity)[:16], 16)

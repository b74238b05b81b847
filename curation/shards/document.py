"""A sample's JSON member: all that a trainer or an auditor asks about it, with nothing to look up.

Keys are sorted and no time or host is in it, so the same sample gives the same bytes.
"""

import dataclasses
from typing import Any

from curation.identities import canonical_json
from curation.records import ClipRow
from curation.shards.encoding import ClipSource, EncodedSample
from curation.video.retime import PACKED_RATE

SCHEMA_VERSION = 1
_IDENTITY = frozenset(
    {
        "clip_id", "video_id", "derive_fingerprint", "stream_index", "shot_index", "start_frame",
        "end_frame", "start_seconds", "seconds", "frame_count", "width", "height", "recorded_at",
        "missing",
    }
)  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class SampleClip:
    """A clip of a sample, with all that is known of it."""

    source: ClipSource
    row: ClipRow
    caption: str
    captioner: str


@dataclasses.dataclass(frozen=True, slots=True)
class SamplePlan:
    """A sample that is to be packed."""

    sample_id: str
    kind: str
    """'single' or 'multi'."""
    split: str
    clips: tuple[SampleClip, ...]
    caption: str
    size: tuple[int, int]
    """Width and height of the packed video."""
    licence: str | None
    fingerprints: dict[str, str]
    """Component -> fingerprint."""


def sample_document(plan: SamplePlan, encoded: EncodedSample) -> bytes:
    """The JSON member of a sample."""
    width, height = plan.size
    document = {
        "schema_version": SCHEMA_VERSION,
        "sample_id": plan.sample_id,
        "kind": plan.kind,
        "split": plan.split,
        "caption": plan.caption,
        "frame_count": encoded.frame_count,
        "fps": PACKED_RATE,
        "width": width,
        "height": height,
        "licence": plan.licence,
        "fingerprints": plan.fingerprints,
        "shots": _shots(plan, encoded),
    }
    return canonical_json(document).encode()


def _shots(plan: SamplePlan, encoded: EncodedSample) -> list[dict[str, Any]]:
    shots = []
    start = 0
    for clip, source_frames in zip(plan.clips, encoded.source_frames, strict=True):
        row = clip.row
        end = start + len(source_frames)
        shots.append(
            {
                "start_frame": start,
                "end_frame": end,
                "clip_id": row.clip_id,
                "caption": clip.caption,
                "captioner": clip.captioner,
                "measurements": _measurements(row),
                "source": {
                    "uri": clip.source.video.uri,
                    "video_id": row.video_id,
                    "stream_index": row.stream_index,
                    "shot_index": row.shot_index,
                    "start_frame": row.start_frame,
                    "end_frame": row.end_frame,
                    "start_seconds": row.start_seconds,
                    "seconds": row.seconds,
                    "frames": source_frames,
                },
            }
        )
        start = end
    return shots


def _measurements(row: ClipRow) -> dict[str, float | None]:
    values = dataclasses.asdict(row)
    return {name: value for name, value in values.items() if name not in _IDENTITY}

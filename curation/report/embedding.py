"""What the page computes with: measurements as typed columns, clips and pictures for the gallery.

Numbers travel as little-endian bytes in base64: half of what JSON takes, and float32 stays the
float32 that `curation.selection` compares. Beyond `collect.MAX_EMBEDDED` clips a random draw stands
for all, and the page shows how sure it is.
"""

import base64
import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.report.composition import film_name, spoken
from curation.report.document import Report
from curation.report.funnel import left_out
from curation.report.gallery import Shown
from curation.report.meanings import limit_words, reason_words
from curation.report.strips import Strip
from curation.report.tables import IDENTITY, VersionTables
from curation.report.yields import size_names, size_order

MAX_SEQUENCES = 24
"""Multi-shot samples that are drawn."""


@dataclasses.dataclass(frozen=True, slots=True)
class PageData:
    """What is embedded besides the report."""

    whatif: dict[str, Any]
    gallery: dict[str, Any]
    strips: dict[str, Any]


def packed_bytes(values: npt.NDArray[Any], kind: str) -> str:
    """An array as base64 of its little-endian bytes."""
    return base64.b64encode(values.astype(np.dtype(kind).newbyteorder("<")).tobytes()).decode()


def whatif_data(version: VersionTables, report: Report, command: dict[str, Any]) -> dict[str, Any]:
    """The measurements that thresholds are moved over.

    Args:
        version: the version.
        report: its report.
        command: words of the commands that make a policy real (`pipelines.report`).
    """
    rows = drawn_rows(version, report.whatif.embedded)
    sizes = np.asarray(size_names(*version.sizes), dtype=object)
    names = size_order(set(sizes))
    number = {name: place for place, name in enumerate(names)}
    return {
        "population": report.whatif.population,
        "embedded": len(rows),
        "buckets": names,
        "bucket": packed_bytes(np.asarray([number[size] for size in sizes[rows]], np.uint8), "u1"),
        "seconds": packed_bytes(version.seconds[rows], "f8"),
        "frames": packed_bytes(version.frame_count[rows], "i4"),
        "barred": packed_bytes(_barred(version)[rows], "u1"),
        "columns": {
            name: packed_bytes(version.measured(column)[rows], "f4")
            for name, column in version.thresholds.items()
        },
        "command": command,
    }


def drawn_rows(version: VersionTables, count: int) -> npt.NDArray[np.int64]:
    """Rows that stand for all clips: all of them, or a draw that is the same each time."""
    clips = version.clips.num_rows
    if count >= clips:
        return np.arange(clips, dtype=np.int64)
    seed = int(version.row.publish_id[:16], 16)
    drawn: npt.NDArray[np.int64] = np.random.default_rng(seed).choice(clips, count, replace=False)
    return np.sort(drawn)


def _barred(version: VersionTables) -> npt.NDArray[np.uint8]:
    """[n] 1 for clips that no threshold brings back: other rules (licences), films taken down."""
    ranges = {
        f"{name}_{kind}" for name in version.thresholds for kind in ("low", "high", "missing")
    }
    barred = ~version.available
    for number, rule in enumerate(version.selection.rules):
        if rule not in ranges:
            barred |= version.selection.broken_by(number)
    return barred.astype(np.uint8)


def gallery_data(version: VersionTables, report: Report, shown: list[Shown]) -> dict[str, Any]:
    """The clips of the gallery, the multi-shot samples that are drawn, and the look-alikes."""
    clips = _clips(version, shown)
    there = {clip["id"] for clip in clips}
    return {
        "clips": clips,
        "measurements": [
            {"name": entry.name, "label": entry.label, "unit": entry.unit}
            for entry in report.measurements
        ],
        "sequences": [
            sequence
            for sequence in sequences(version)
            if all(shot["clip"] in there for shot in sequence["shots"])
        ],
        "pairs": [
            {"train": pair.train, "val": pair.val, "distance": pair.distance}
            for pair in report.leakage.pairs
            if pair.train in there and pair.val in there
        ],
        "total": version.clips.num_rows,
    }


def sequences(version: VersionTables) -> list[dict[str, Any]]:
    """Multi-shot samples to draw: shots in order, with their frames and captions.

    Sample ids are hashes, so the first of them are a random draw.
    """
    rows = [
        row
        for row in version.samples.select(
            ["sample_id", "kind", "clip_ids", "split", "shard", "frame_count", "caption"]
        ).to_pylist()
        if len(row["clip_ids"]) > 1
    ]
    rows = sorted(rows, key=lambda row: str(row["sample_id"]))[:MAX_SEQUENCES]
    ids = version.clips["clip_id"].to_pylist()
    wanted = {clip for row in rows for clip in row["clip_ids"]}
    frames = {
        clip: int(count)
        for clip, count in zip(ids, version.frame_count, strict=True)
        if clip in wanted
    }
    return [_sequence(row, frames) for row in rows]


def _sequence(row: dict[str, Any], frames: dict[str, int]) -> dict[str, Any]:
    said = spoken(row["caption"])
    if len(said) != len(row["clip_ids"]):
        said = [row["caption"]] + [""] * (len(row["clip_ids"]) - 1)
    shots, start = [], 0
    for clip, caption in zip(row["clip_ids"], said, strict=True):
        end = start + frames.get(clip, 0)
        shots.append({"clip": clip, "start": start, "end": end, "caption": caption})
        start = end
    return {
        "id": row["sample_id"],
        "split": row["split"],
        "shard": row["shard"],
        "frames": row["frame_count"],
        "shots": shots,
    }


def strip_data(strips: dict[str, Strip]) -> dict[str, Any]:
    """Pictures by clip_id."""
    return {
        clip: {
            "jpeg": base64.b64encode(strip.jpeg).decode(),
            "frames": strip.frames,
            "width": strip.width,
            "height": strip.height,
        }
        for clip, strip in sorted(strips.items())
    }


def _clips(version: VersionTables, shown: list[Shown]) -> list[dict[str, Any]]:
    rows = np.asarray([clip.index for clip in shown], np.int64)
    identity = version.clips.select([*IDENTITY, "licence"]).take(rows).to_pylist()
    values = {
        name: version.measured(column)[rows] for name, column in version.measurements().items()
    }
    aside = {name: mask[rows] for name, mask in left_out(version).items()}
    samples = _samples_by_clip(version, {row["clip_id"] for row in identity})
    words = {
        row["clip_id"]: row for row in version.captions.to_pylist() if row["caption"] is not None
    }
    films = {video.video_id: video.uri for video in version.videos}
    found = []
    for place, (clip, row) in enumerate(zip(shown, identity, strict=True)):
        reasons = version.selection.reasons(clip.index)
        reasons += [name for name, mask in aside.items() if mask[place]]
        said = words.get(row["clip_id"])
        found.append(
            {
                "id": row["clip_id"],
                "film": film_name(films[row["video_id"]]),
                "uri": films[row["video_id"]],
                "video": row["video_id"],
                "licence": row["licence"],
                "shot": row["shot_index"],
                "span": [row["start_frame"], row["end_frame"]],
                "start": row["start_seconds"],
                "seconds": row["seconds"],
                "frames": row["frame_count"],
                "size": [row["width"], row["height"]],
                "status": _status(version, clip.index),
                "reasons": [
                    [reason, reason_words(reason, version.thresholds)] for reason in reasons
                ],
                "borderline": [_limit(version, end) for end in clip.borderline],
                "caption": said and said["caption"],
                "captioner": said and said["captioner"],
                "samples": samples.get(row["clip_id"], []),
                "values": {name: _plain(column[place]) for name, column in values.items()},
            }
        )
    return found


def _limit(version: VersionTables, end: str) -> str:
    name, _, side = end.partition(".")
    return limit_words(version.thresholds[name], side, getattr(version.bounds(name), side))


def _status(version: VersionTables, index: int) -> str:
    if version.packed[index]:
        return "kept"
    return "set aside" if version.selection.kept[index] else "rejected"


def _samples_by_clip(version: VersionTables, wanted: set[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    columns = ["sample_id", "kind", "clip_ids", "split", "shard", "caption"]
    for row in version.samples.select(columns).to_pylist():
        for clip in row["clip_ids"]:
            if clip in wanted:
                entry = {
                    "id": row["sample_id"],
                    "kind": row["kind"],
                    "split": row["split"],
                    "shard": row["shard"],
                }
                found.setdefault(clip, []).append(entry)
    return found


def _plain(value: np.float32) -> float | None:
    """Six digits are more than any measurement is good for, and half the bytes."""
    return float(f"{value:.6g}") if np.isfinite(value) else None

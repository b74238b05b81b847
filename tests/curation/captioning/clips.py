"""Clips that want words, with evidence frames of their own, and no film."""

import dataclasses
import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from curation.captioning.words import CaptionRequest
from curation.identities import clip_id_of
from curation.records import ClipRow, VideoRow, now
from curation.traces import EVIDENCE, EVIDENCE_SCHEMA

FRAMES = 12
"""Source frames between two evidence frames: half a second."""


def row(kind: type[Any], **values: Any) -> Any:
    """A row of which only some fields matter."""
    blank = {field.name: None for field in dataclasses.fields(kind)}
    return kind(**blank | {"recorded_at": now()} | values)


def picture(seed: int) -> bytes:
    """A JPEG of coarse blocks, another for each seed."""
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 255, (4, 6, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(blocks.repeat(16, 0).repeat(16, 1)).save(stream, "JPEG")
    return stream.getvalue()


def film(folder: Path, clips: int, evidence: int = 3, name: str = "film") -> list[CaptionRequest]:
    """Requests for the clips of a film, each with so many evidence frames."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [
        picture(zlib.crc32(f"{name} {number}".encode())) for number in range(clips * evidence)
    ]
    frames = [number * FRAMES for number in range(len(pictures))]
    columns = [frames, [96] * len(frames), [64] * len(frames), pictures]
    pq.write_table(pa.table(columns, schema=EVIDENCE_SCHEMA), folder / EVIDENCE)
    length = max(1, evidence) * FRAMES
    requests = []
    for number in range(clips):
        start = number * length
        clip = row(
            ClipRow,
            clip_id=clip_id_of(name, 0, start, start + length),
            video_id=name,
            start_frame=start,
            end_frame=start + length,
            start_seconds=start / 24,
            seconds=length / 24,
        )
        requests.append(CaptionRequest(clip, row(VideoRow), folder / "film.mp4", None, folder))
    return requests

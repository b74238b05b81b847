"""Make a sample's video: its clips, frame by exact frame, as one H.264 film at constant 24 fps.

Clips of a multi-shot sample follow each other without a gap or a blend, so every boundary in the
JSON is a true cut. The bytes depend on the frames and the settings alone.
"""

import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from curation.clips import timeline
from curation.records import VideoRow
from curation.traces import Traces, column
from curation.video.conform import conform
from curation.video.encode import EncodeSettings, FilmWriter
from curation.video.film import Film, Frame
from curation.video.geometry import content_box
from curation.video.spans import FrameTable, read_span


@dataclasses.dataclass(frozen=True, slots=True)
class ClipSource:
    """Where a clip's frames come from."""

    clip_id: str
    video: VideoRow
    path: Path
    traces: Path
    start_frame: int
    end_frame: int


@dataclasses.dataclass(frozen=True, slots=True)
class EncodedSample:
    """A sample's video and which source frames it shows."""

    mp4: bytes
    frame_count: int
    source_frames: list[list[int]]
    """For each clip, the source frame index of each of its output frames."""


def encode_sample(
    clips: list[ClipSource], size: tuple[int, int], settings: EncodeSettings
) -> EncodedSample:
    """Encode clips of one film one after the other.

    Args:
        clips: in order.
        size: width and height, even.
        settings: how to code.

    Raises:
        FilmError: a film no longer gives the frames that its scan saw.
        EncodeError: the encoder refuses.
    """
    buffer = io.BytesIO()
    colour = Film(clips[0].path).info.colour
    with FilmWriter(buffer, *size, settings=settings, colour=colour) as writer:
        shown = [_encode_clip(clip, size, writer) for clip in clips]
    return EncodedSample(buffer.getvalue(), writer.frames, shown)


def _encode_clip(clip: ClipSource, size: tuple[int, int], writer: FilmWriter) -> list[int]:
    film = Film(clip.path)
    box = content_box(clip.video)
    table = frame_table(clip.traces, clip.video)
    offsets = timeline(table.pts, film.info.time_base).offsets(clip.start_frame, clip.end_frame)
    repeats = np.bincount(offsets, minlength=clip.end_frame - clip.start_frame)
    for frame in _needed(read_span(film, table, clip.start_frame, clip.end_frame), repeats, clip):
        picture = conform(frame, film.info, box, size)
        for _ in range(repeats[frame.index - clip.start_frame]):
            writer.write(picture)
    return [int(offset) + clip.start_frame for offset in offsets]


def _needed(
    frames: Iterator[Frame], repeats: npt.NDArray[np.intp], clip: ClipSource
) -> Iterator[Frame]:
    """The frames that 24 fps shows; those it drops are decoded but not looked at."""
    return (frame for frame in frames if repeats[frame.index - clip.start_frame])


def frame_table(traces: Path, video: VideoRow) -> FrameTable:
    """The film's frames, as its scan saw them."""
    frames = Traces(traces).frames(["pts", "key"])
    return FrameTable(
        pts=column(frames, "pts"),
        key=column(frames, "key"),
        seekable=not video.decode_errors and not video.mended_timestamps,
    )

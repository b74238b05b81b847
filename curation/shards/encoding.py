"""Make a sample's video: its clips, frame by exact frame, as one H.264 film at constant 24 fps.

Clips of a multi-shot sample follow each other without a gap or a blend, so every boundary in the
JSON is a true cut. Each begins with a keyframe, so that a loader enters any shot at its first frame
and no shot is predicted from the one before; the price is one keyframe a shot. The bytes depend on
the frames and the settings alone.
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
    first = clips[0]
    assert {clip.video.video_id for clip in clips} == {first.video.video_id}
    film = Film(first.path)
    table = frame_table(first.traces, first.video)
    buffer = io.BytesIO()
    with FilmWriter(buffer, *size, settings=settings, colour=film.info.colour) as writer:
        shown = [_encode_clip(clip, film, table, writer) for clip in clips]
    return EncodedSample(buffer.getvalue(), writer.frames, shown)


def _encode_clip(clip: ClipSource, film: Film, table: FrameTable, writer: FilmWriter) -> list[int]:
    box, size = content_box(clip.video), (writer.width, writer.height)
    begin = writer.frames
    offsets = timeline(table.pts, film.info.time_base).offsets(clip.start_frame, clip.end_frame)
    repeats = np.bincount(offsets, minlength=clip.end_frame - clip.start_frame)
    for frame in _needed(read_span(film, table, clip.start_frame, clip.end_frame), repeats, clip):
        picture = conform(frame, film.info, box, size)
        for _ in range(repeats[frame.index - clip.start_frame]):
            writer.write(picture, key=writer.frames == begin)
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

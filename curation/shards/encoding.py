"""Make a sample's video: its clips, frame by exact frame, as one H.264 film at constant 24 fps.

Clips of a multi-shot sample follow each other without a gap or a blend, so every boundary in the
JSON is a true cut. Each begins with a keyframe, so that a loader enters any shot at its first frame
and no shot is predicted from the one before; the price is one keyframe a shot. The bytes depend on
the frames and the settings alone.
"""

import dataclasses
import io
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from curation.clips import timeline
from curation.records import VideoRow
from curation.remote import FilmPlace, at_hand
from curation.traces import Traces, column
from curation.video.conform import conform
from curation.video.encode import EncodeSettings, FilmWriter
from curation.video.film import Film, FilmInfo, Frame
from curation.video.geometry import content_box
from curation.video.spans import FrameTable, read_span


@dataclasses.dataclass(frozen=True, slots=True)
class ClipSource:
    """Where a clip's frames come from."""

    clip_id: str
    video: VideoRow
    path: FilmPlace
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
    with at_hand(first.path) as path:
        film = Film(path)
        table = frame_table(first.traces, first.video)
        with SampleEncoder(clips, film.info, table, size, settings) as encoder:
            for clip in clips:
                for frame in read_span(film, table, clip.start_frame, clip.end_frame):
                    encoder.take(frame)
            return encoder.finish()


class SampleEncoder:
    """A sample in the making: takes the source frames of its clips, in order. A context manager.

    Args:
        clips: of one film, in order.
        film: what the film says of itself.
        table: its frames.
        size: width and height, even.
        settings: how to code.
    """

    def __init__(
        self,
        clips: list[ClipSource],
        film: FilmInfo,
        table: FrameTable,
        size: tuple[int, int],
        settings: EncodeSettings,
    ) -> None:
        assert {clip.video.video_id for clip in clips} == {clips[0].video.video_id}
        self._film, self._size, self._box = film, size, content_box(clips[0].video)
        times = timeline(table.pts, film.time_base)
        self._offsets = [times.offsets(clip.start_frame, clip.end_frame) for clip in clips]
        self._clips = clips
        self._at = 0
        self._repeats = self._repeats_of(0)
        self._buffer = io.BytesIO()
        self._writer = FilmWriter(self._buffer, *size, settings=settings, colour=film.colour)
        self._clip_begins = True
        self.awaits: int | None = clips[0].start_frame
        """The source frame to give next; None when there is none left to give."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abandon()

    def take(self, frame: Frame) -> None:
        """Encode the frame as often as 24 fps shows it: a frame that is dropped is not looked at.

        Raises:
            EncodeError: the encoder refuses.
        """
        clip = self._clips[self._at]
        assert frame.index == self.awaits, (frame.index, self.awaits)
        repeats = int(self._repeats[frame.index - clip.start_frame])
        if repeats:
            picture = conform(frame, self._film, self._box, self._size)
            for _ in range(repeats):
                self._writer.write(picture, key=self._clip_begins)
                self._clip_begins = False
        self.awaits = frame.index + 1
        if self.awaits == clip.end_frame:
            self._begin_next_clip()

    def _begin_next_clip(self) -> None:
        self._at += 1
        self._clip_begins = True
        if self._at == len(self._clips):
            self.awaits = None
            return
        self.awaits = self._clips[self._at].start_frame
        self._repeats = self._repeats_of(self._at)

    def _repeats_of(self, number: int) -> npt.NDArray[np.intp]:
        """[n] how often each source frame of a clip is shown."""
        clip = self._clips[number]
        return np.bincount(self._offsets[number], minlength=clip.end_frame - clip.start_frame)

    def abandon(self) -> None:
        """Let go of the encoder; nothing else may be called after it."""
        self._writer.abandon()

    def finish(self) -> EncodedSample:
        """The finished video.

        Raises:
            EncodeError: it cannot be finished.
        """
        assert self.awaits is None, "every frame of every clip was given"
        self._writer.close()
        shown = [
            [int(offset) + clip.start_frame for offset in offsets]
            for clip, offsets in zip(self._clips, self._offsets, strict=True)
        ]
        return EncodedSample(self._buffer.getvalue(), self._writer.frames, shown)


def frame_table(traces: Path, video: VideoRow) -> FrameTable:
    """The film's frames, as its scan saw them."""
    frames = Traces(traces).frames(["pts", "key"])
    return FrameTable(
        pts=column(frames, "pts"),
        key=column(frames, "key"),
        seekable=not video.decode_errors and not video.mended_timestamps,
    )

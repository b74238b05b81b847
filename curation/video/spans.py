"""Find frames by their index: enter a film at a keyframe and decode just one span.

The scan's table of timestamps says where frame n is. Containers land where they like after a seek,
and some films cannot be entered exactly at all, so what comes out is checked against the table
frame by frame, and the last resort is to decode from the start: slower, never a different frame.
Whoever wants many spans of a film that cannot be entered takes them from one `read_through`.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from curation.errors import FilmError
from curation.video.film import Film, Frame

_ENTRIES = 3  # keyframes tried, each further back, before the film is decoded from its start

# Containers that store the timestamps of their frames. Elsewhere they are counted from wherever
# reading began (raw streams), or every frame builds on all before it (gif, apng).
_DATED = ("mov", "matroska", "avi", "flv", "mpegts", "mpeg", "asf", "nut", "mxf", "ogg")
# Codecs that owe nothing to what lies before a keyframe, and whose decoders say which those are.
_ENTERABLE = (
    *("h264", "hevc", "av1", "vp8", "vp9", "theora", "mpeg1video", "mpeg2video", "mpeg4"),
    *("msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2", "h263", "flv1"),
    *("prores", "mjpeg", "ffv1", "dnxhd"),
)


@dataclasses.dataclass(frozen=True, slots=True)
class FrameTable:
    """All frames of a film, as its scan saw them."""

    pts: npt.NDArray[np.int64]
    """[n] strictly increasing."""
    key: npt.NDArray[np.bool_]
    """[n] frames at which the film can be entered."""
    seekable: bool
    """False for damaged films and mended timestamps: those are decoded from the start."""


def read_span(
    film: Film, table: FrameTable, start: int, end: int, *, threads: int = 1
) -> Iterator[Frame]:
    """Decode the frames ``[start, end)``; their indices are those of the scan.

    Raises:
        FilmError: ``frames_moved`` when the film no longer gives the frames of its scan.
    """
    assert 0 <= start < end <= len(table.pts), (start, end, len(table.pts))
    expected = start
    for frames in _ways_in(film, table, start, threads):
        for frame in frames:
            if frame.index > expected:
                break
            if frame.index == expected:
                yield frame
                expected += 1
            if expected == end:
                return
    raise moved(expected)


def read_through(film: Film, table: FrameTable, *, threads: int = 1) -> Iterator[Frame]:
    """Decode from the film's start; ends before the first frame that its scan did not see."""
    yield from _checked(film.frames(threads=threads if table.seekable else 1), table)


def moved(expected: int) -> FilmError:
    """What is said of a film that no longer gives a frame of its scan."""
    return FilmError(
        "frames_moved", f"frame {expected} is not where the scan saw it; scan the film again"
    )


def enterable(container: str, codec: str) -> bool:
    """Whether a sound film of this kind gives the same frames when it is entered in the middle.

    Args:
        container: FFmpeg's name of the format, or its names in a row, as `FilmInfo` has them.
        codec: FFmpeg's name of the codec.
    """
    first = container.split(",")[0]
    # An AVI holds decode times only, and H.264's delay after a keyframe is not its delay before.
    return first in _DATED and codec in _ENTERABLE and (first, codec) != ("avi", "h264")


def _ways_in(film: Film, table: FrameTable, start: int, threads: int) -> Iterator[Iterator[Frame]]:
    """Decodes that should pass `start`, the quickest first, numbered as in the table."""
    if table.seekable and enterable(film.info.container, film.info.codec):
        entries = np.flatnonzero(table.key[: start + 1])[::-1][:_ENTRIES]
        for entry in entries[entries > 0]:
            yield _numbered(film.frames_from(int(table.pts[entry]), threads=threads), table)
    yield read_through(film, table, threads=threads)


def _numbered(frames: Iterator[Frame], table: FrameTable) -> Iterator[Frame]:
    """Number frames by their timestamp; one that the scan did not see ends the walk."""
    for frame in frames:
        index = int(np.searchsorted(table.pts, frame.pts))
        if index == len(table.pts) or table.pts[index] != frame.pts:
            return
        yield dataclasses.replace(frame, index=index)


def _checked(frames: Iterator[Frame], table: FrameTable) -> Iterator[Frame]:
    """Frames counted from the film's start, as long as their times are those of the scan."""
    for frame in frames:
        if frame.index == len(table.pts) or table.pts[frame.index] != frame.pts:
            return
        yield frame

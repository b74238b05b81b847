"""Find frames by their index: enter a film at a keyframe and decode just one span.

The scan's table of timestamps says where frame n is. Containers land where they like after a seek,
and some films cannot be entered at all, so what comes out is checked against the table frame by
frame, and the fallback is to decode from the start and count: slower, never a different frame.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from curation.errors import FilmError
from curation.video.film import Film, Frame

_ENTRIES = 2  # keyframes tried, each further back, before the film is decoded from its start


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
    for frame in _enter(film, table, start, threads):
        if frame.index < expected:
            continue
        if frame.index != expected:
            break
        yield frame
        expected += 1
        if expected == end:
            return
    raise FilmError(
        "frames_moved", f"frame {expected} is not where the scan saw it; scan the film again"
    )


def _enter(film: Film, table: FrameTable, start: int, threads: int) -> Iterator[Frame]:
    """Frames from some frame at or before `start` on, numbered as in the table."""
    if table.seekable:
        entries = np.flatnonzero(table.key[: start + 1])[::-1][:_ENTRIES]
        for entry in entries[entries > 0]:
            frames = film.frames_from(int(table.pts[entry]), threads=threads)
            first = next(frames, None)
            if first is not None and _lands(first, table, start):
                yield from _numbered(first, frames, table)
                return
    yield from film.frames(threads=threads if table.seekable else 1)


def _lands(first: Frame, table: FrameTable, start: int) -> bool:
    index = int(np.searchsorted(table.pts, first.pts))
    return (
        index <= start
        and table.pts[index] == first.pts
        and bool(table.key[index])
        and not first.raw.is_corrupt
    )


def _numbered(first: Frame, frames: Iterator[Frame], table: FrameTable) -> Iterator[Frame]:
    """Number frames by their timestamp; one that the scan did not see ends the walk."""
    frame: Frame | None = first
    while frame is not None:
        index = int(np.searchsorted(table.pts, frame.pts))
        if index == len(table.pts) or table.pts[index] != frame.pts:
            return
        yield dataclasses.replace(frame, index=index)
        frame = next(frames, None)

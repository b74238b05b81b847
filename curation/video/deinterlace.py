"""Make interlaced frames progressive: bwdif, one frame out for each frame in.

What comes out for a frame depends on that frame and its two neighbours alone, so that a film that
is entered in the middle gives the same pictures as one decoded from its start; a filter with a
longer memory would look better on old film transfers and could not promise that.
"""

import dataclasses
from collections import deque
from collections.abc import Iterator
from fractions import Fraction

import av
from av.filter import Graph
from av.video.frame import VideoFrame

from curation.video.decode import Decoded


def deinterlaced(
    frames: Iterator[Decoded], time_base: Fraction, *, entered: bool
) -> Iterator[Decoded]:
    """Deinterlace the frames that are flagged so, and pass the others on untouched.

    Args:
        frames: decoded frames in presentation order.
        time_base: of the stream.
        entered: the film was entered in the middle. Its first frame is then left out if it is
            interlaced, since the neighbour before it is not known.
    """
    bwdif: _Bwdif | None = None  # set up anew for each run of interlaced frames
    before: Decoded | None = None
    for frame in frames:
        if bwdif is not None and not bwdif.fits(frame):
            yield from bwdif.finish()
            bwdif = None
        if frame.raw.interlaced_frame:
            if bwdif is None:
                bwdif = _Bwdif(frame.raw, time_base)
                if before is not None and bwdif.fits(before):
                    yield from bwdif.push(before, shown=False)
            yield from bwdif.push(frame, shown=not entered or before is not None)
        else:
            if bwdif is not None:
                yield from bwdif.push(frame, shown=False)
                bwdif = None
            yield frame
        before = frame
    if bwdif is not None:
        yield from bwdif.finish()


class _Bwdif:
    """The filter, set up for frames of one size and format, and holding one of them back.

    It must not be given frames of another size: it would read beyond them. Nor may it choose by
    itself which frames to filter: it does the first of its choice without looking back.
    """

    def __init__(self, like: VideoFrame, time_base: Fraction) -> None:
        self._shape = _shape(like)
        self._waiting: deque[Decoded | None] = deque()
        """Frames inside the filter, in order; None for one that is only looked at."""
        self._graph = Graph()
        self._graph.threads = 1
        source = self._graph.add_buffer(
            width=like.width, height=like.height, format=like.format, time_base=time_base
        )
        bwdif = self._graph.add("bwdif", "mode=send_frame:deint=all")
        self._graph.link_nodes(source, bwdif, self._graph.add("buffersink")).configure()

    def fits(self, frame: Decoded) -> bool:
        return _shape(frame.raw) == self._shape

    def push(self, frame: Decoded, *, shown: bool) -> Iterator[Decoded]:
        """Take a frame, which comes out filtered if it is `shown`, or is a neighbour only."""
        self._waiting.append(frame if shown else None)
        self._graph.push(frame.raw)
        return self._ready()

    def finish(self) -> Iterator[Decoded]:
        self._graph.push(None)
        return self._ready()

    def _ready(self) -> Iterator[Decoded]:
        while True:
            try:
                raw = self._graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            frame = self._waiting.popleft()
            if frame is not None:
                yield dataclasses.replace(frame, raw=raw)


def _shape(frame: VideoFrame) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name

"""A video as VBench-Long judges it: clips of two seconds, one at a time.

Frames stream from one decode and at most two clips of them are held, whatever the video's length.
The cutting is VBench-Long's (`vbench2_beta_long/utils.py`, `split_video_into_clips`): a clip has
``2 * int(fps)`` frames, the last one reaches back so far that it is as long as the others, and a
video shorter than a clip is one clip. What it does beyond that is left out on purpose: it writes
each clip to a new H.264 file before it judges it, which would judge the encoder too.
"""

import collections
import dataclasses
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from curation.errors import FilmError
from curation.video.conform import conform
from curation.video.decode import DecodeLog
from curation.video.film import Film
from curation.video.playback import rgb_of
from evaluation.errors import MetricError
from evaluation.metrics.arrays import U8

CLIP_SECONDS = 2
_MOST_BYTES = 4 << 30
"""Of the frames of one clip: a container that lies about its rate, or larger pictures than 8K."""


@dataclasses.dataclass(frozen=True, slots=True)
class Clip:
    """Two seconds of a video, or all of it where it is shorter."""

    index: int
    start: int
    """Its first frame in the video; the last clip may start before the one before it ends."""
    frames: U8
    """`[n,H,W,3]`, full-range red, green and blue."""


class Footage:
    """A video that opens.

    Attributes:
        path: where it lies.
        fps: its average frame rate.
        clip_frames: how many frames a clip has.

    Raises:
        MetricError: it cannot be opened, or shows less than one frame per second.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._film = Film(path)
        except FilmError as error:
            raise MetricError(f"{path}: {error}") from error
        self.fps: Fraction = self._film.info.nominal_fps
        if self.fps < 1:
            raise MetricError(
                f"{path}: {float(self.fps):.3f} frames per second; VBench-Long's clips of "
                f"{CLIP_SECONDS} seconds need at least 1"
            )
        self.clip_frames = CLIP_SECONDS * int(self.fps)

    def clips(self) -> Iterator[Clip]:
        """Decode the video once.

        Raises:
            MetricError: the video is damaged (judging what is left of it would flatter it), or
                two seconds of it do not fit into memory.
        """
        return cut(self._bounded(), self.clip_frames)

    def _bounded(self) -> Iterator[U8]:
        for seen, frame in enumerate(self.frames(), start=1):
            if min(seen, self.clip_frames) * frame.nbytes > _MOST_BYTES:
                raise MetricError(
                    f"{self.path}: {CLIP_SECONDS} seconds of {float(self.fps):g} frames of "
                    f"{frame.shape[1]}x{frame.shape[0]} are more than {_MOST_BYTES >> 30} GiB; "
                    "give a smaller video"
                )
            yield frame

    def frames(self) -> Iterator[U8]:
        """Every frame `[H,W,3]`, right side up in square pixels."""
        info, log = self._film.info, DecodeLog()
        size = tuple(side // 2 * 2 for side in info.display_size(info.whole))
        try:
            for frame in self._film.frames(threads=1, log=log):
                picture = conform(frame, info, info.whole, (size[0], size[1]))
                yield rgb_of(picture, info.colour)
        except FilmError as error:
            raise MetricError(f"{self.path}: {error}") from error
        if log.damaged:
            raise MetricError(
                f"{self.path}: damaged ({log.message or 'the decoder flags frames as corrupt'}); "
                "make it again"
            )


def cut(frames: Iterable[U8], length: int) -> Iterator[Clip]:
    """Cut a stream of frames into clips of `length`; the last one reaches back to be as long.

    Args:
        frames: pictures of one size.
        length: frames per clip, at least 1.
    """
    recent: collections.deque[U8] = collections.deque(maxlen=length)
    seen = made = 0
    for seen, frame in enumerate(frames, start=1):
        recent.append(frame)
        if seen % length == 0:
            yield Clip(made, seen - length, np.stack(recent))
            made += 1
    if seen % length:
        yield Clip(made, max(seen - length, 0), np.stack(recent))

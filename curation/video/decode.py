"""The decode loop: packets in, frames with usable timestamps out, errors counted and survived.

Everything that goes wrong costs at most the packet in which it went wrong. Timestamps come out
strictly increasing; where a film's own are missing or run backwards they are mended and the log
says so, since such a film cannot be entered in the middle.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from fractions import Fraction
from typing import Literal

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

MAX_DEMUX_ERRORS = 64
MAX_GAP_SECONDS = 600
"""No picture stands longer than this: a larger jump of the timestamps is damage."""
MAX_PIXELS = 8192 * 4608
"""Of one picture; the decoder refuses larger ones before it asks for their memory."""
_GENERATE_PTS = 0x0001  # AVFMT_FLAG_GENPTS, which PyAV sets


@dataclasses.dataclass(slots=True)
class DecodeLog:
    """What went wrong while decoding."""

    errors: int = 0
    """Packets that could not be read or decoded."""
    corrupt: int = 0
    """Frames that the decoder gave out but flagged as damaged."""
    mended_pts: int = 0
    """Frames whose timestamp was missing, not after the one before, or absurdly far from it."""
    message: str | None = None
    """The decoder's words for the first error."""
    read_failed: bool = False
    """The file could not be read on, by FFmpeg's account; it says so of truncated files too."""

    @property
    def damaged(self) -> bool:
        """True when frames may be missing or damaged."""
        return self.errors > 0 or self.corrupt > 0

    def note(self, error: av.error.FFmpegError) -> None:
        """Count an error; the first one's words are kept."""
        self.errors += 1
        self.read_failed = self.read_failed or isinstance(error, OSError)
        if self.message is None:
            self.message = error.strerror or type(error).__name__


@dataclasses.dataclass(frozen=True, slots=True)
class Decoded:
    """A frame as the decoder gave it, with a timestamp that can be relied on."""

    pts: int
    key: bool
    raw: VideoFrame


def prepare(container: InputContainer, stream: VideoStream, threads: int) -> None:
    """Set up decoding. Must be called before the first packet is read.

    Args:
        container: its timestamps are taken as they are: FFmpeg's guesses at missing ones put
            the frames of an AVI in the wrong order, and it may read to the end for one.
        stream: the stream that will be decoded.
        threads: decoder threads.
    """
    container.flags &= ~_GENERATE_PTS
    kind: Literal["FRAME", "NONE"] = "FRAME" if threads > 1 else "NONE"
    stream.codec_context.thread_count = threads
    stream.codec_context.thread_type = kind
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}


def decode_stream(
    container: InputContainer, stream: VideoStream, log: DecodeLog, *, entered: bool = False
) -> Iterator[Decoded]:
    """Decode from where the container stands to its end, in presentation order.

    Args:
        container: an open container, at its start or after a seek.
        stream: the stream to decode.
        log: counts what goes wrong.
        entered: the container stands in the middle. Frames before the first keyframe are left
            out, since they may show what lies before the place of entry.
    """
    frames = _decode_packets(container, stream, log)
    if entered:
        frames = itertools.dropwhile(lambda frame: not frame[0].key_frame, frames)
    last: int | None = None
    step, longest_gap = _nominal_step(stream), _longest_gap(stream)
    for raw, draining in frames:
        pts = raw.pts if raw.pts is not None else raw.dts
        if pts is None and draining and last is not None and not log.mended_pts:
            pts = last + step  # the decoder's last frames, of a container with decode times only
        elif pts is None or (last is not None and not last < pts <= last + longest_gap):
            log.mended_pts += 1
            pts = 0 if last is None else last + step
        last = pts
        yield Decoded(pts=pts, key=bool(raw.key_frame), raw=raw)


def _nominal_step(stream: VideoStream) -> int:
    """The time from one frame to the next by the stream's own account, at least 1."""
    # The guessed rate comes first: an H.264 AVI declares twice its frame rate.
    rate = stream.guessed_rate or stream.average_rate
    if not rate or not stream.time_base:
        return 1
    return max(1, round(1 / (rate * stream.time_base)))


def _longest_gap(stream: VideoStream) -> int:
    return int(MAX_GAP_SECONDS / (stream.time_base or Fraction(1)))


def _packets(
    container: InputContainer, stream: VideoStream, log: DecodeLog
) -> "Iterator[Packet[VideoStream] | None]":
    """Demux; after a read error go on behind it, as long as there is something behind it.

    None, or a packet without bytes and time, comes last: the decoder gives out what it holds.
    """
    for _ in range(MAX_DEMUX_ERRORS):
        try:
            yield from container.demux(stream)
        except av.error.FFmpegError as error:
            log.note(error)
        except IndexError:
            break  # PyAV stumbles, at the end, over streams that appeared on the way
        else:
            return
    yield None


def _decode_packets(
    container: InputContainer, stream: VideoStream, log: DecodeLog
) -> Iterator[tuple[VideoFrame, bool]]:
    """Frames, and whether the decoder was already giving out its last."""
    for packet in _packets(container, stream, log):
        empty = packet is None or packet.size == 0
        draining = packet is None or (empty and packet.dts is None)
        if empty and not draining:
            continue  # an AVI's mark for "show the last frame once more"; to a decoder, the end
        try:
            frames = stream.decode(packet)
        except av.error.EOFError:
            continue  # the decoder was flushed already
        except av.error.FFmpegError as error:
            log.note(error)
            continue
        for frame in frames:
            log.corrupt += frame.is_corrupt
            yield frame, draining

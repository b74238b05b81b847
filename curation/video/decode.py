"""The decode loop: packets in, frames with usable timestamps out, errors counted and survived.

Everything that goes wrong costs at most the packet in which it went wrong. Timestamps come out
strictly increasing; where a film's own are missing or run backwards they are mended and the log
says so, since such a film cannot be entered in the middle.
"""

import dataclasses
from collections import deque
from collections.abc import Iterator
from typing import Literal

import av
from av.container import InputContainer
from av.filter import Graph
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

MAX_DEMUX_ERRORS = 64


@dataclasses.dataclass(slots=True)
class DecodeLog:
    """What went wrong while decoding."""

    errors: int = 0
    """Packets that could not be read or decoded."""
    corrupt: int = 0
    """Frames that the decoder gave out but flagged as damaged."""
    mended_pts: int = 0
    """Frames whose timestamp was missing or not after the one before."""
    message: str | None = None
    """The decoder's words for the first error."""

    @property
    def damaged(self) -> bool:
        """True when frames may be missing or damaged."""
        return self.errors > 0 or self.corrupt > 0

    def note(self, error: av.error.FFmpegError) -> None:
        """Count an error; the first one's words are kept."""
        self.errors += 1
        if self.message is None:
            self.message = error.strerror or type(error).__name__


@dataclasses.dataclass(frozen=True, slots=True)
class Decoded:
    """A frame as the decoder gave it, with a timestamp that can be relied on."""

    pts: int
    key: bool
    raw: VideoFrame


def decoder_threads(stream: VideoStream, threads: int) -> None:
    """Set the decoder's threads. Must be called before the first packet is decoded."""
    stream.codec_context.thread_count = threads
    kind: Literal["FRAME", "NONE"] = "FRAME" if threads > 1 else "NONE"
    stream.codec_context.thread_type = kind


def decode_stream(
    container: InputContainer, stream: VideoStream, interlaced: bool, log: DecodeLog
) -> Iterator[Decoded]:
    """Decode from where the container stands to its end, in presentation order.

    Args:
        container: an open container, at its start or after a seek.
        stream: the stream to decode.
        interlaced: deinterlace fields that are flagged so, one frame out for each in.
        log: counts what goes wrong.
    """
    frames = _decode_packets(container, stream, log)
    if interlaced:
        frames = _deinterlace(frames, stream)
    last: int | None = None
    step = _nominal_step(stream)
    for raw, key in frames:
        pts = raw.pts if raw.pts is not None else raw.dts
        if pts is None or (last is not None and pts <= last):
            log.mended_pts += 1
            pts = 0 if last is None else last + step
        if raw.is_corrupt:
            log.corrupt += 1
        last = pts
        yield Decoded(pts=pts, key=key, raw=raw)


def _nominal_step(stream: VideoStream) -> int:
    rate = stream.average_rate or stream.guessed_rate
    if not rate or not stream.time_base:
        return 1
    return max(1, round(1 / (rate * stream.time_base)))


def _packets(
    container: InputContainer, stream: VideoStream, log: DecodeLog
) -> "Iterator[Packet[VideoStream]]":
    """Demux; after a read error go on behind it, as long as there is something behind it."""
    failures = 0
    while failures < MAX_DEMUX_ERRORS:
        try:
            yield from container.demux(stream)
        except av.error.FFmpegError as error:
            log.note(error)
            failures += 1
        else:
            return


def _decode_packets(
    container: InputContainer, stream: VideoStream, log: DecodeLog
) -> Iterator[tuple[VideoFrame, bool]]:
    for packet in _packets(container, stream, log):
        try:
            frames = packet.decode()
        except av.error.EOFError:
            continue  # the decoder was flushed already
        except av.error.FFmpegError as error:
            log.note(error)
            continue
        for frame in frames:
            assert isinstance(frame, VideoFrame)
            yield frame, bool(frame.key_frame)


def _deinterlace(
    frames: Iterator[tuple[VideoFrame, bool]], stream: VideoStream
) -> Iterator[tuple[VideoFrame, bool]]:
    """Run frames through bwdif, which keeps their number and order.

    Its timestamps come out in another time base, so each frame's own are put back.
    """
    graph = Graph()
    source = graph.add_buffer(template=stream)
    bwdif = graph.add("bwdif", "mode=send_frame:deint=interlaced")
    sink = graph.add("buffersink")
    source.link_to(bwdif)
    bwdif.link_to(sink)
    graph.configure()
    waiting: deque[tuple[int | None, bool]] = deque()

    def ready() -> Iterator[tuple[VideoFrame, bool]]:
        while True:
            try:
                frame = graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            assert isinstance(frame, VideoFrame)
            pts, key = waiting.popleft()
            frame.pts = pts
            frame.time_base = stream.time_base
            yield frame, key

    for frame, key in frames:
        waiting.append((frame.pts, key))
        graph.push(frame)
        yield from ready()
    graph.push(None)
    yield from ready()

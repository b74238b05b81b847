"""Open a film safely and decode it, from start to end or span by span.

Films come from strangers. FFmpeg would follow playlists to other files and to the network, so only
known container formats and the ``file`` protocol are let in; a decode error costs its packet, not
the film. Frames are handed out as planes that still lie in the decoder's memory: nothing is copied,
and a frame is valid until the next one is asked for.
"""

import dataclasses
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from curation.errors import FilmError
from curation.video import promised
from curation.video.colour import ColourSpace, ColourTags, colour_space_of, is_hdr
from curation.video.decode import MAX_PIXELS, Decoded, DecodeLog, decode_stream, prepare
from curation.video.deinterlace import deinterlaced
from curation.video.geometry import Box, display_size
from curation.video.orientation import orientation_of
from curation.video.planar import Planar

U8 = npt.NDArray[np.uint8]

# Containers of films. Left out on purpose: playlists and scripts (hls, dash, concat), subtitles,
# images and devices, which name other files or make a film of anything.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpeg,mpegts,mpegvideo,ogg,asf,mxf,nut,ivf,"
    "h264,hevc,obu,m4v,rm,wtv,gif,apng,dv,yuv4mpegpipe"
)
MAX_SIDE = 8192
MIN_SIDE = 16
_BLOCK = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class FilmInfo:
    """What the container and the first decoded frame say. Sizes in pixels, times in `time_base`."""

    container: str
    codec: str
    pixel_format: str
    stream_index: int
    coded_width: int
    coded_height: int
    sample_aspect: Fraction
    rotation: int
    """Degrees clockwise that turn the coded picture right side up: 0, 90, 180 or 270."""
    time_base: Fraction
    nominal_fps: Fraction
    declared_frames: int | None
    declared_seconds: float | None
    declared_end: float | None
    """When the last frame is over by the container's account, in seconds of the film's clock."""
    truncated: bool
    """The container names bytes beyond the end of the file."""
    interlaced: bool
    """The first frame is. Later frames are deinterlaced by their own flags."""
    colour: ColourSpace
    mirrored: bool = False
    """The coded picture must be flipped left to right before it is turned."""

    @property
    def whole(self) -> Box:
        """The whole coded picture, odd lines left out."""
        return Box(0, 0, self.coded_width // 2 * 2, self.coded_height // 2 * 2)

    def display_size(self, box: Box) -> tuple[int, int]:
        """Width and height in square pixels, right side up, of a box in the coded picture."""
        return display_size(box, self.sample_aspect, self.rotation)


@dataclasses.dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame, 8-bit 4:2:0, as coded (not rotated). Valid until the next is asked for."""

    index: int
    """Position in presentation order, from 0."""
    pts: int
    key: bool
    raw: VideoFrame

    def planes(self) -> tuple[U8, U8, U8]:
        """Y [H, W], U and V [H/2, W/2] (rounded up), read in place."""
        y, u, v = (
            np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[
                : plane.height, : plane.width
            ]
            for plane in self.raw.planes
        )
        return y, u, v


class Film:
    """A film that opens, and whose first frame decodes.

    Raises:
        FilmError: ``vanished``, ``not_a_file``, ``empty_file``, ``unreadable``, ``not_a_video``,
            ``no_video_stream``, ``no_decoder``, ``no_frames``, ``too_large``, ``too_small``,
            ``pixels_unsupported`` or ``hdr_unsupported``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _check_is_file(path)
        with _open(path) as container:
            self.info = _inspect(container, path)

    def frames(self, *, threads: int, log: DecodeLog | None = None) -> Iterator[Frame]:
        """Decode the whole film in presentation order.

        Args:
            threads: decoder threads. A damaged film must be decoded with one: what several threads
                save of it differs from run to run.
            log: counts what went wrong on the way.

        Raises:
            FilmError: ``unreadable``, the disk failed on the way; ``pixels_unsupported``.
        """
        log = log or DecodeLog()
        with _open(self.path) as container:
            stream = _video_stream(container)
            prepare(container, stream, threads)
            decoded = decode_stream(container, stream, log)
            yield from self._frames(deinterlaced(decoded, self.info.time_base, entered=False))
        if log.read_failed:
            _read_through(self.path)

    def frames_from(self, pts: int, *, threads: int) -> Iterator[Frame]:
        """Decode on from a keyframe near `pts`, numbering from 0.

        Where a container lands after a seek is its own affair: compare the first frame's pts.
        What comes out is what `frames` gives for those timestamps; where that cannot be said of
        a frame, the iterator ends before it.
        """
        log = DecodeLog()
        with _open(self.path) as container:
            stream = _video_stream(container)
            prepare(container, stream, threads)
            try:
                container.seek(pts, stream=stream, backward=True, any_frame=False)
            except av.error.FFmpegError:
                return  # a film that cannot be entered in the middle gives nothing here
            decoded = decode_stream(container, stream, log, entered=True)
            for frame in self._frames(deinterlaced(decoded, self.info.time_base, entered=True)):
                if log.mended_pts or frame.raw.is_corrupt:
                    return
                yield frame

    def packets(self) -> "Iterator[Packet[VideoStream]]":
        """The coded frames as they are stored, in the order of decoding, to be copied.

        Raises:
            FilmError: ``not_a_video``, the container breaks off on the way.
        """
        with _open(self.path) as container:
            stream = _video_stream(container)
            try:
                yield from (packet for packet in container.demux(stream) if packet.size)
            except av.error.FFmpegError as error:
                raise FilmError("not_a_video", _words(error)) from error

    def keyframes(self, count: int) -> Iterator[Frame]:
        """Decode up to `count` keyframes, spread evenly over the declared duration.

        They are not deinterlaced, and numbered as they come.
        """
        with _open(self.path) as container:
            stream = _video_stream(container)
            prepare(container, stream, 1)
            seen: set[int] = set()
            for pts in _spread(count, stream.start_time or 0, self.info):
                try:
                    if pts is not None:
                        container.seek(pts, stream=stream)
                    decoded = next(
                        decode_stream(container, stream, DecodeLog(), entered=True), None
                    )
                except av.error.FFmpegError:
                    continue  # an unseekable film shows fewer keyframes; nothing depends on which
                if decoded is not None and decoded.pts not in seen:
                    seen.add(decoded.pts)
                    yield from self._frames(iter([decoded]), len(seen) - 1)

    def _frames(self, decoded: Iterator[Decoded], index: int = 0) -> Iterator[Frame]:
        info = self.info
        planar = Planar(info.coded_width, info.coded_height, info.colour)
        for item in decoded:
            yield Frame(index=index, pts=item.pts, key=item.key, raw=planar.convert(item.raw))
            index += 1


def _spread(count: int, start: int, info: FilmInfo) -> list[int | None]:
    """Timestamps in the middle of `count` equal parts; None, its start, for an endless film."""
    if not info.declared_seconds or not count:
        return [None] * min(1, count)
    part = info.declared_seconds / float(info.time_base) / count
    return [start + int(part * (number + 0.5)) for number in range(count)]


def _check_is_file(path: Path) -> None:
    try:
        if not path.exists():
            raise FilmError("vanished", "there is no such file", transient=True)
        if not path.is_file():
            raise FilmError("not_a_file", "not a regular file")
        if path.stat().st_size == 0:
            raise FilmError("empty_file", "the file holds no bytes")
        if not os.access(path, os.R_OK):
            raise FilmError("unreadable", "no permission to read the file", transient=True)
    except OSError as error:
        raise FilmError("unreadable", str(error), transient=True) from error


def _read_through(path: Path) -> None:
    """Read a file to its end, to tell a failing disk from a file that is merely broken."""
    try:
        with path.open("rb") as file:
            while file.read(_BLOCK):
                pass
    except OSError as error:
        raise FilmError("unreadable", str(error), transient=True) from error


def _open(path: Path, **options: str) -> InputContainer:
    safe = {
        "format_whitelist": FORMATS,
        "protocol_whitelist": "file",
        "enable_drefs": "0",  # QuickTime's references to other files
        "max_pixels": str(MAX_PIXELS),  # for the decoders that FFmpeg tries while it probes
    }
    try:
        # With the ``file:`` prefix a name such as "http:x.mp4" stays a name.
        return av.open(f"file:{path}", options=safe | options, metadata_errors="replace")
    except av.error.FFmpegError as error:
        if isinstance(error, OSError):
            _check_is_file(path)
            _read_through(path)
        raise FilmError("not_a_video", _words(error)) from error
    except ValueError as error:
        raise FilmError("unreadable", f"the file's name cannot be used: {error}") from error


def _words(error: av.error.FFmpegError) -> str:
    """The decoder's message without the file's name, which rows hold already."""
    return error.strerror or type(error).__name__


def _video_stream(container: InputContainer) -> VideoStream:
    for stream in container.streams.video:
        if not stream.disposition & stream.disposition.attached_pic:
            return stream
    raise FilmError("no_video_stream", "no stream of this file is a moving picture")


def _check_size(width: int, height: int) -> None:
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise FilmError(
            "too_large",
            f"{width}x{height}: at most {MAX_SIDE} pixels a side and {MAX_PIXELS} in all",
        )
    if 0 < min(width, height) < MIN_SIDE:
        raise FilmError("too_small", f"{width}x{height}: at least {MIN_SIDE} pixels a side")


def _inspect(container: InputContainer, path: Path) -> FilmInfo:
    stream = _video_stream(container)
    context = stream.codec_context
    if context is None:
        raise FilmError("no_decoder", "there is no decoder for this stream's codec")
    _check_size(context.width, context.height)
    declared_colour = ColourTags.of(context)  # read before a decoder writes its own over it
    prepare(container, stream, 1)
    log = DecodeLog()
    decoded = next(decode_stream(container, stream, log), None)
    if decoded is None:
        raise _no_frames(path, log)
    first = decoded.raw
    _check_size(first.width, first.height)
    if is_hdr(first, declared_colour):
        raise FilmError(
            "hdr_unsupported", "tone-map PQ and HLG films to BT.709 before curating them"
        )
    colour = colour_space_of(first, declared_colour)
    Planar(first.width, first.height, colour).convert(first)
    assert stream.time_base is not None  # every stream that decodes has one
    rotation, mirrored = orientation_of(first)
    return FilmInfo(
        container=container.format.name,
        codec=context.codec.canonical_name,
        pixel_format=first.format.name,
        stream_index=stream.index,
        coded_width=first.width,
        coded_height=first.height,
        sample_aspect=_sane_aspect(stream.sample_aspect_ratio),
        rotation=rotation,
        time_base=stream.time_base,
        nominal_fps=stream.average_rate or stream.guessed_rate or Fraction(24),
        declared_frames=promised.declared_frames(container, stream),
        declared_seconds=promised.declared_seconds(container, stream),
        declared_end=promised.declared_end(container, stream),
        truncated=promised.is_cut_off(container, stream, path),
        interlaced=bool(first.interlaced_frame),
        colour=colour,
        mirrored=mirrored,
    )


def _no_frames(path: Path, log: DecodeLog) -> FilmError:
    """Why a film gives no frame at all."""
    if log.read_failed:
        _read_through(path)
    # FFmpeg forgets the size of a picture that is too large for its decoder. Without decoders it
    # hands on what the container says.
    with _open(path, codec_whitelist="none") as container:
        context = _video_stream(container).codec_context
        _check_size(context.width, context.height)
    return FilmError("no_frames", log.message or "not one frame of this film can be decoded")


def _sane_aspect(aspect: Fraction | None) -> Fraction:
    """The sample aspect, or 1 where it is unknown or absurd (0:1 and 1:255 are both seen)."""
    if aspect is None or not Fraction(1, 4) <= aspect <= 4:
        return Fraction(1)
    return Fraction(aspect)

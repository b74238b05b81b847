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
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from curation.errors import FilmError
from curation.video.colour import ColourSpace, colour_space_of, is_hdr
from curation.video.decode import Decoded, DecodeLog, decode_stream, decoder_threads

U8 = npt.NDArray[np.uint8]

# Containers of films. Left out on purpose: playlists and scripts (hls, dash, concat), subtitles,
# images and devices, which name other files or make a film of anything.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpeg,mpegts,mpegvideo,ogg,asf,mxf,nut,ivf,"
    "h264,hevc,obu,m4v,rm,wtv,gif,apng,dv,yuv4mpegpipe"
)
MAX_SIDE = 8192
MIN_SIDE = 16


@dataclasses.dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in the coded picture, in pixels; offsets and sizes are even (4:2:0)."""

    x: int
    y: int
    width: int
    height: int


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
    truncated: bool
    """The container's index names bytes beyond the end of the file."""
    interlaced: bool
    colour: ColourSpace

    @property
    def whole(self) -> Box:
        """The whole coded picture, odd lines left out."""
        return Box(0, 0, self.coded_width // 2 * 2, self.coded_height // 2 * 2)

    def display_size(self, box: Box) -> tuple[int, int]:
        """Width and height in square pixels, right side up, of a box in the coded picture.

        The side that the sample aspect would shrink keeps its lines and the other is stretched, so
        that no resolution is thrown away.
        """
        width, height = box.width, box.height
        if self.sample_aspect >= 1:
            width = max(1, round(width * self.sample_aspect))
        else:
            height = max(1, round(height / self.sample_aspect))
        return (height, width) if self.rotation in (90, 270) else (width, height)


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
        FilmError: ``not_a_file``, ``empty_file``, ``unreadable``, ``not_a_video``,
            ``no_video_stream``, ``no_decoder``, ``no_frames``, ``too_large``, ``too_small`` or
            ``hdr_unsupported``.
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
        """
        with _open(self.path) as container:
            stream = _video_stream(container)
            decoder_threads(stream, threads)
            decoded = decode_stream(container, stream, self.info.interlaced, log or DecodeLog())
            yield from self._number(decoded, 0)

    def frames_from(self, pts: int, *, threads: int) -> Iterator[Frame]:
        """Decode on from the keyframe at or before `pts`, numbering from 0.

        Where a container lands after a seek is its own affair: compare the first frame's pts.
        """
        with _open(self.path) as container:
            stream = _video_stream(container)
            decoder_threads(stream, threads)
            try:
                container.seek(pts, stream=stream, backward=True, any_frame=False)
            except av.error.FFmpegError:
                return  # a film that cannot be entered in the middle gives nothing here
            decoded = decode_stream(container, stream, self.info.interlaced, DecodeLog())
            yield from self._number(decoded, 0)

    def keyframes(self, count: int) -> Iterator[Frame]:
        """Decode up to `count` keyframes, spread evenly over the declared duration."""
        seconds = self.info.declared_seconds
        with _open(self.path) as container:
            stream = _video_stream(container)
            decoder_threads(stream, 1)
            start = stream.start_time or 0
            step = 0.0 if seconds is None else seconds / float(self.info.time_base) / count
            for number in range(count if step else 1):
                try:
                    container.seek(start + int(step * (number + 0.5)), stream=stream)
                    decoded = next(decode_stream(container, stream, False, DecodeLog()), None)
                except av.error.FFmpegError:
                    continue  # an unseekable film shows fewer keyframes; nothing depends on which
                if decoded is not None:
                    yield from self._number(iter([decoded]), number)

    def _number(self, decoded: Iterator[Decoded], index: int) -> Iterator[Frame]:
        info = self.info
        for item in decoded:
            raw = _to_420(item.raw, info)
            yield Frame(index=index, pts=item.pts, key=item.key, raw=raw)
            index += 1


def _check_is_file(path: Path) -> None:
    try:
        if not path.is_file():
            raise FilmError("not_a_file", "not a regular file")
        if path.stat().st_size == 0:
            raise FilmError("empty_file", "the file holds no bytes")
        if not os.access(path, os.R_OK):
            raise FilmError("unreadable", "no permission to read the file", transient=True)
    except OSError as error:
        raise FilmError("unreadable", str(error), transient=True) from error


def _open(path: Path) -> InputContainer:
    options = {
        "format_whitelist": FORMATS,
        "protocol_whitelist": "file",
        "enable_drefs": "0",  # QuickTime's references to other files
    }
    try:
        # With the ``file:`` prefix a name such as "http:x.mp4" stays a name.
        return av.open(f"file:{path}", container_options=options, metadata_errors="replace")
    except (av.error.PermissionError, av.error.TimeoutError, av.error.BlockingIOError) as error:
        raise FilmError("unreadable", _words(error), transient=True) from error
    except av.error.FFmpegError as error:
        raise FilmError("not_a_video", _words(error)) from error
    except (ValueError, UnicodeError) as error:
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
    if max(width, height) > MAX_SIDE:
        raise FilmError("too_large", f"{width}x{height}: at most {MAX_SIDE} pixels a side")
    if 0 < min(width, height) < MIN_SIDE:
        raise FilmError("too_small", f"{width}x{height}: at least {MIN_SIDE} pixels a side")


def _inspect(container: InputContainer, path: Path) -> FilmInfo:
    stream = _video_stream(container)
    context = stream.codec_context
    if context is None:
        raise FilmError("no_decoder", "there is no decoder for this stream's codec")
    _check_size(context.width, context.height)
    decoder_threads(stream, 1)
    decoded = next(decode_stream(container, stream, False, DecodeLog()), None)
    if decoded is None:
        raise FilmError("no_frames", "not one frame of this film can be decoded")
    first = decoded.raw
    _check_size(first.width, first.height)
    if is_hdr(first):
        raise FilmError(
            "hdr_unsupported", "tone-map PQ and HLG films to BT.709 before curating them"
        )
    assert stream.time_base is not None  # every stream that decodes has one
    seconds = None if stream.duration is None else float(stream.duration * stream.time_base)
    if seconds is None and container.duration is not None:
        seconds = container.duration / av.time_base
    return FilmInfo(
        container=container.format.name,
        codec=context.name,
        pixel_format=first.format.name,
        stream_index=stream.index,
        coded_width=first.width,
        coded_height=first.height,
        sample_aspect=_sane_aspect(stream.sample_aspect_ratio),
        rotation=round(-first.rotation / 90) * 90 % 360,
        time_base=stream.time_base,
        nominal_fps=stream.average_rate or stream.guessed_rate or Fraction(24),
        declared_frames=_declared_frames(stream),
        declared_seconds=seconds,
        truncated=_index_beyond_end(stream, path),
        interlaced=bool(first.interlaced_frame),
        colour=colour_space_of(first),
    )


def _sane_aspect(aspect: Fraction | None) -> Fraction:
    """The sample aspect, or 1 where it is unknown or absurd (0:1 and 1:255 are both seen)."""
    if aspect is None or not Fraction(1, 4) <= aspect <= 4:
        return Fraction(1)
    return Fraction(aspect)


def _declared_frames(stream: VideoStream) -> int | None:
    """Frames that the container promises, less those that its edit list hides."""
    if not stream.frames:
        return None
    hidden = sum(1 for entry in stream.index_entries if entry.is_discard)
    return stream.frames - hidden


def _index_beyond_end(stream: VideoStream, path: Path) -> bool:
    size = path.stat().st_size
    return any(entry.pos + entry.size > size for entry in stream.index_entries)


def _to_420(raw: VideoFrame, info: FilmInfo) -> VideoFrame:
    """8-bit 4:2:0 of the first frame's size: other formats and sizes go through swscale."""
    same_size = (raw.width, raw.height) == (info.coded_width, info.coded_height)
    if same_size and raw.format.name in ("yuv420p", "yuvj420p"):
        return raw
    value_range = "JPEG" if info.colour.full_range else "MPEG"
    return raw.reformat(
        width=info.coded_width,
        height=info.coded_height,
        format="yuv420p",
        interpolation="BICUBIC",
        src_color_range=value_range,
        dst_color_range=value_range,
        threads=1,
    )

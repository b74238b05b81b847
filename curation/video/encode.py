"""Write H.264 in MP4, the same bytes for the same frames on every machine.

One encoder thread per film (libx264's output changes with its thread count), no processor-specific
decisions, bit-exact codec and muxer flags. The price is speed within one film; parallelism is
across films and samples.
"""

import contextlib
import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import av
import numpy as np
import numpy.typing as npt
from av.codec.context import Flags
from av.packet import Packet
from av.stream import Stream
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from curation.errors import EncodeError
from curation.video.colour import ColourSpace
from curation.video.film import Film
from curation.video.h264 import parameter_sets, with_start_codes
from curation.video.planar import Planar

_PRESETS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow",
)  # fmt: skip
_COLOUR_TAGS = {  # ITU-T H.273: matrix, primaries, transfer
    "bt601": (6, 6, 6),
    "bt709": (1, 1, 1),
    "bt2020": (9, 9, 14),
}
_LIMITED = 1
_MAX_CRF = 51
_DECODED_AHEAD = 2
"""Frames that are decoded before the first is shown: what libx264 needs for its B pyramid."""


@dataclasses.dataclass(frozen=True, slots=True)
class EncodeSettings:
    """How frames are coded.

    crf 17 is visually lossless for training at a third of the bytes of crf 10; a keyframe every
    second at 24 fps lets a loader enter anywhere for at most 23 extra frames.
    """

    crf: int = 17
    preset: str = "veryfast"
    gop: int = 24

    def __post_init__(self) -> None:
        if not 0 <= self.crf <= _MAX_CRF:
            raise ValueError(f"crf = {self.crf}: libx264 takes 0 (lossless) to {_MAX_CRF}")
        if self.preset not in _PRESETS:
            raise ValueError(f"preset = {self.preset!r}: choose one of {', '.join(_PRESETS)}")
        if self.gop < 1:
            raise ValueError(f"gop = {self.gop}: a keyframe interval is at least 1 frame")

    def x264_parameters(self) -> str:
        """What is passed to libx264, and to any other program that is compared with it."""
        return (
            f"crf={self.crf}:keyint={self.gop}:min-keyint={self.gop}:scenecut=0"
            ":threads=1:lookahead-threads=1:cpu-independent=1"
        )


class FilmWriter:
    """Encode frames of one size into an MP4. Use as a context manager.

    Args:
        target: a path, or a seekable binary file.
        width: even.
        height: even.
        fps: nominal rate; without explicit timestamps frame k stands at k / fps.
        time_base: unit of the timestamps given to `write`; 1 / fps where there are none.
        settings: how to code.
        colour: matrix of the planes that are written; the range is always limited.

    Raises:
        ValueError: odd or non-positive sizes.
        EncodeError: the encoder refuses, or the target cannot be written.
    """

    def __init__(
        self,
        target: Path | IO[bytes],
        width: int,
        height: int,
        *,
        fps: Fraction = Fraction(24),
        time_base: Fraction | None = None,
        settings: EncodeSettings | None = None,
        colour: ColourSpace | None = None,
    ) -> None:
        if width <= 0 or height <= 0 or width % 2 or height % 2:
            raise ValueError(f"size {width}x{height}: 4:2:0 video needs even sides of at least 2")
        settings = settings or EncodeSettings()
        self.frames = 0
        self._stored = 0
        self.width, self.height = width, height
        matrix = colour.matrix if colour else "bt709"
        self._planar = Planar(width, height, ColourSpace(matrix, full_range=False))
        self._time_base = time_base or 1 / Fraction(fps)
        self._container = av.open(
            f"file:{target}" if isinstance(target, Path) else target,
            "w",
            format="mp4",
            container_options={"fflags": "+bitexact"},
        )
        self._stream = self._container.add_stream(
            "libx264",
            rate=Fraction(fps),
            options={
                "preset": settings.preset,
                "x264-params": settings.x264_parameters(),
                "a53cc": "0",  # a film's closed captions are not a sample's
            },
        )
        self._configure(matrix)

    def _configure(self, colour_matrix: str) -> None:
        context = self._stream.codec_context
        context.width, context.height = self.width, self.height
        context.pix_fmt = "yuv420p"
        context.time_base = self._time_base
        context.sample_aspect_ratio = Fraction(1)
        context.flags |= Flags.bitexact
        context.thread_count = 1
        matrix, primaries, transfer = _COLOUR_TAGS[colour_matrix]
        context.colorspace = matrix
        context.color_primaries = primaries
        context.color_trc = transfer
        context.color_range = _LIMITED

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def carry(self, film: Film, frames: int) -> str | None:
        """Begin with the coded frames of another film, bit for bit, if they fit to what follows.

        They fit when they were coded as this film is: by this encoder with these settings, at this
        size and rate. To be called before anything is written.

        Args:
            film: the other one.
            frames: how many it has when it is played at this film's rate.

        Returns:
            None when they were taken over, else why not; nothing was written then.

        Raises:
            EncodeError: the target cannot be written.
        """
        assert self.frames == 0, "what is carried over comes first"
        self._container.start_encoding()  # the encoder's parameter sets are known from here on
        steps = self._steps_of(film)
        if isinstance(steps, list) and sorted(steps) != list(range(frames)):
            steps = f"it is not of {1 / self._time_base} frames a second throughout"
        if isinstance(steps, str):
            return steps
        try:
            for number, stored in enumerate(film.packets()):
                self._store([self._as_encoded(stored, number, int(steps[number]))])
        except av.error.FFmpegError as error:
            raise EncodeError(f"{film.path.name} cannot be carried over: {error}") from error
        self.frames = frames
        return None

    def _steps_of(self, film: Film) -> list[Fraction] | str:
        """At which frame of this one each packet of a film is shown, or why it does not fit."""
        info = film.info
        if info.codec != "h264" or info.rotation or info.mirrored:
            return f"it is {info.codec}, to be turned by {info.rotation} degrees"
        if (info.coded_width, info.coded_height) != (self.width, self.height):
            return f"it is {info.coded_width}x{info.coded_height}, not {self.width}x{self.height}"
        ours = parameter_sets(self._stream.codec_context.extradata or b"")
        times: list[Fraction] = []
        for packet in film.packets():
            if not times and parameter_sets(packet.stream.codec_context.extradata or b"") != ours:
                return "it was coded with other settings"
            if packet.pts is None or with_start_codes(bytes(packet)) is None:
                return "it is not stored as MP4 stores it"
            if not (times or packet.is_keyframe):
                return "it does not begin with a keyframe"
            times.append(packet.pts * info.time_base)
        # From the first on: a film in fragments has no edit list, and begins late.
        steps = [(time - min(times)) / self._time_base for time in times]
        if any(number - step > _DECODED_AHEAD for number, step in enumerate(steps)):
            return "its frames are decoded too far ahead"
        return steps

    def _as_encoded(
        self, stored: "Packet[VideoStream]", number: int, step: int
    ) -> "Packet[Stream]":
        """A stored picture as if this film's encoder had just made it.

        Args:
            stored: the picture.
            number: its place in the order of decoding.
            step: the frame at which it is shown.
        """
        data = with_start_codes(bytes(stored))
        assert data is not None  # as `_steps_of` has seen
        packet = Packet(data)
        packet.pts, packet.dts, packet.duration = step, number - _DECODED_AHEAD, 1
        packet.time_base, packet.is_keyframe = self._time_base, stored.is_keyframe
        packet.stream = self._stream
        return packet

    def _store(self, packets: "Sequence[Packet[Stream]]") -> None:
        """Hand pictures that are coded to the container."""
        self._container.mux(packets)
        self._stored += len(packets)

    def write_rgb(self, rgb: npt.NDArray[np.uint8], pts: int | None = None) -> None:
        """Encode one picture [H, W, 3], full-range RGB. Raises as `write` does."""
        if rgb.shape != (self.height, self.width, 3):
            raise ValueError(f"a picture {rgb.shape}: give ({self.height}, {self.width}, 3)")
        picture = VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        self.write(self._planar.convert(picture), pts)

    def write(self, frame: VideoFrame, pts: int | None = None, *, key: bool = False) -> None:
        """Encode one 4:2:0 frame of the writer's size.

        Args:
            frame: the picture.
            pts: when it is shown, in `time_base`; by default it follows the frame before.
            key: make it a keyframe that nothing after it reaches beyond (IDR), whatever the GOP.

        Raises:
            ValueError: another size or pixel format, which the encoder would scale in silence.
            EncodeError: as the class says.
        """
        if (frame.width, frame.height, frame.format.name) != (self.width, self.height, "yuv420p"):
            raise ValueError(
                f"a {frame.width}x{frame.height} {frame.format.name} frame: this film takes "
                f"{self.width}x{self.height} yuv420p; bring frames there with `conform`"
            )
        frame.pts = self.frames if pts is None else pts
        frame.time_base = self._time_base
        # Never the source's own choice, which the encoder would repeat.
        frame.pict_type = PictureType.I if key else PictureType.NONE
        try:
            self._store(self._stream.encode(frame))
        except (av.error.FFmpegError, ValueError) as error:
            raise EncodeError(f"frame {self.frames} cannot be encoded: {error}") from error
        self.frames += 1

    def close(self) -> None:
        """Flush the encoder and finish the file.

        Raises:
            EncodeError: nothing was written, or it cannot be finished (a full disk).
        """
        if not self.frames:
            self.abandon()
            raise EncodeError("a film needs at least one frame")
        try:
            self._store(self._stream.encode(None))
            self._container.close()
        except av.error.FFmpegError as error:
            self.abandon()
            raise EncodeError(f"the film cannot be finished: {error}") from error

    def abandon(self) -> None:
        """Let go of the target, finished or not; what went wrong is known already."""
        with contextlib.suppress(av.error.FFmpegError):
            self._container.close()

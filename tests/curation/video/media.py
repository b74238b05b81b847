"""Small films for the tests, made with the ffmpeg command, and what it says of them.

The command is an independent reference: another version of FFmpeg than the one inside the product,
driven another way. Where it is absent, the tests that need it skip.
"""

import dataclasses
import json
import shutil
import subprocess
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from curation.video.conform import conform
from curation.video.decode import DecodeLog
from curation.video.film import Film, Frame
from curation.video.geometry import packed_size
from curation.video.spans import FrameTable

U8 = npt.NDArray[np.uint8]

FRAMES = 60
GOP = 12
_PATTERN = ("-f", "lavfi", "-i", f"testsrc2=size=128x96:rate=25:duration={FRAMES / 25}")
_FIELDS = ("-f", "lavfi", "-i", f"testsrc2=size=128x96:rate=50:duration={FRAMES / 25}")
_X264 = ("-c:v", "libx264", "-preset", "veryfast", "-g", f"{GOP}")
_OPEN = f"open-gop=1:keyint={GOP}:min-keyint={GOP}:scenecut=0:bframes=3"
_OPEN_X264 = ("-c:v", "libx264", "-x264-params", f"{_OPEN}:b-pyramid=normal")
_FIELDS_X264 = ("-c:v", "libx264", "-x264-params", f"{_OPEN}:tff=1")
_OPEN_X265 = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", f"{_OPEN}:log-level=none")
_REFRESH = ("-c:v", "libx264", "-x264-params", f"intra-refresh=1:keyint={GOP}:bframes=0:scenecut=0")
_MPEG2 = ("-c:v", "mpeg2video", "-g", f"{GOP}", "-bf", "2")
_MPEG4 = ("-c:v", "mpeg4", "-g", f"{GOP}")
_INTERLACED = ("-vf", "tinterlace=interleave_top", "-flags", "+ilme+ildct")
_VFR = ("-vf", "select='not(eq(mod(n,5),2))+eq(mod(n,7),0)'", "-vsync", "vfr")
_COPY = ("-c", "copy")
_CUT = ("-ss", "0.9")
_EARLY = ("-output_ts_offset", "-0.7", "-avoid_negative_ts", "disabled")

# Name of a film: what ffmpeg is given, where the name of another film stands for that film.
RECIPES: dict[str, tuple[str, ...]] = {
    "h264.mp4": (*_PATTERN, *_X264, "-bf", "3"),
    "h264_open.mp4": (*_PATTERN, *_OPEN_X264),
    "h264_open.mkv": ("h264_open.mp4", *_COPY),
    "h264_open.ts": ("h264_open.mp4", *_COPY),
    "h264_open.h264": ("h264_open.mp4", *_COPY),
    "h264.avi": ("h264.mp4", *_COPY),
    "h264.flv": ("h264.mp4", *_COPY),
    "h264_refresh.mp4": (*_PATTERN, *_REFRESH),
    "h264_refresh.ts": ("h264_refresh.mp4", *_COPY),
    "hevc_open.mp4": (*_PATTERN, *_OPEN_X265),
    "hevc_open.ts": ("hevc_open.mp4", *_COPY),
    "hevc_open.hevc": ("hevc_open.mp4", *_COPY),
    "mpeg2.ts": (*_PATTERN, *_MPEG2, "-b:v", "1M"),
    "mpeg2.mpg": (*_PATTERN, *_MPEG2, "-b:v", "1M", "-f", "vob"),
    # Several pictures share a packet here, and only the first of them has a timestamp.
    "mpeg2_sparse.mpg": (*_PATTERN, *_MPEG2, "-q:v", "31", "-f", "vob"),
    "mpeg2.m2v": (*_PATTERN, *_MPEG2, "-b:v", "1M", "-f", "mpeg2video"),
    "vp8.webm": (*_PATTERN, "-c:v", "libvpx", "-g", f"{GOP}", "-cpu-used", "8"),
    "vp9.webm": (*_PATTERN, "-c:v", "libvpx-vp9", "-g", f"{GOP}", "-cpu-used", "8"),
    "av1.mp4": (*_PATTERN, "-c:v", "libsvtav1", "-g", f"{GOP}", "-preset", "12"),
    "av1.mkv": ("av1.mp4", *_COPY),
    "mpeg4.avi": (*_PATTERN, *_MPEG4),
    "mpeg4_bframes.avi": (*_PATTERN, *_MPEG4, "-bf", "2"),
    "mpeg4_packed.avi": (*_PATTERN, "-c:v", "libxvid", "-g", f"{GOP}", "-bf", "2"),
    "wmv2.asf": (*_PATTERN, "-c:v", "wmv2", "-g", f"{GOP}"),
    "theora.ogv": (*_PATTERN, "-c:v", "libtheora", "-g", f"{GOP}"),
    "prores.mov": (*_PATTERN, "-c:v", "prores_ks"),
    "ffv1.mkv": (*_PATTERN, "-c:v", "ffv1", "-g", f"{GOP}"),
    "animated.gif": (*_PATTERN, "-c:v", "gif"),
    "animated.apng": (*_PATTERN, "-c:v", "apng"),
    "edited.mp4": (*_CUT, "h264.mp4", *_COPY),
    "edited_open.mp4": (*_CUT, "h264_open.mp4", *_COPY),
    "edited_hevc.mp4": (*_CUT, "hevc_open.mp4", *_COPY),
    "late.mp4": ("-itsoffset", "5.3", "h264.mp4", *_COPY),
    "early.mkv": ("h264.mp4", *_COPY, *_EARLY),
    "early.mp4": ("h264.mp4", *_COPY, *_EARLY),
    "fragmented.mp4": ("h264.mp4", *_COPY, "-movflags", "frag_keyframe+empty_moov"),
    "vfr.mp4": (*_PATTERN, *_VFR, *_X264, "-bf", "2"),
    "vfr.mkv": ("vfr.mp4", *_COPY),
    "interlaced.ts": (*_FIELDS, *_INTERLACED, *_MPEG2, "-b:v", "2M"),
    "interlaced.mp4": (*_FIELDS, *_INTERLACED, *_FIELDS_X264),
}


class Library:
    """Makes films by the name of their recipe, each once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __getitem__(self, name: str) -> Path:
        target = self._folder / name
        if not target.exists():
            recipe: list[str] = []
            for word in RECIPES[name]:
                recipe += ["-i", str(self[word])] if word in RECIPES else [word]
            ffmpeg(*recipe, target)
        return target


def tool(name: str) -> str:
    """Where a reference program is; skips the test where it is not."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"the {name} command, the reference of this test, is not on PATH")
    return path


def ffmpeg(*arguments: str | Path) -> None:
    """Run ffmpeg; its own complaints end up in the failure message."""
    command = [tool("ffmpeg"), "-nostdin", "-v", "error", "-y", "-threads", "1", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def ffmpeg_frames(path: Path, *arguments: str, width: int, height: int) -> U8:
    """What ffmpeg shows of a film: RGB [n, height, width, 3]."""
    raw = _rawvideo(path, *arguments, "-pix_fmt", "rgb24")
    return raw.reshape(-1, height, width, 3)


def ffmpeg_luma(path: Path, *arguments: str, width: int, height: int) -> U8:
    """The luma of what ffmpeg shows, as it would be coded: [n, height, width], even sizes."""
    raw = _rawvideo(path, *arguments, "-pix_fmt", "yuv420p")
    return raw.reshape(-1, height * 3 // 2, width)[:, :height]


def _rawvideo(path: Path, *arguments: str) -> U8:
    command = [tool("ffmpeg"), "-nostdin", "-v", "error", "-i", str(path), *arguments]
    done = subprocess.run([*command, "-f", "rawvideo", "-"], capture_output=True)
    assert done.returncode == 0, done.stderr
    return np.frombuffer(done.stdout, np.uint8)


def ffprobe(path: Path, *arguments: str) -> dict[str, Any]:
    """The first video stream by ffprobe's account."""
    command = [tool("ffprobe"), "-v", "error", "-select_streams", "v:0", "-show_streams"]
    done = subprocess.run(
        [*command, *arguments, "-of", "json", str(path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    stream: dict[str, Any] = answer["streams"][0]
    return stream | {key: value for key, value in answer.items() if key != "streams"}


@dataclasses.dataclass(frozen=True, slots=True)
class Sequence:
    """A film as a decode from start to end gives it."""

    digests: list[int]
    table: FrameTable
    log: DecodeLog

    def __len__(self) -> int:
        return len(self.digests)


def digest_of(frame: Frame) -> int:
    """Checksum of a frame's pixels."""
    total = 0
    for plane in frame.planes():
        total = zlib.crc32(plane.tobytes(), total)
    return total


def sequence_of(film: Film, threads: int = 1) -> Sequence:
    """Decode a film from start to end, as a scan does."""
    log = DecodeLog()
    digests, pts, keys = [], [], []
    for frame in film.frames(threads=threads, log=log):
        digests.append(digest_of(frame))
        pts.append(frame.pts)
        keys.append(frame.key)
    seekable = not log.damaged and not log.mended_pts
    return Sequence(digests, FrameTable(np.array(pts), np.array(keys), seekable), log)


def seconds_of(film: Film, frames: Sequence) -> list[Fraction]:
    """When each frame is shown, from the film's start."""
    first = int(frames.table.pts[0])
    return [(int(pts) - first) * film.info.time_base for pts in frames.table.pts]


def shown(film: Film, frame: Frame | None = None, short_side: int | None = None) -> U8:
    """A frame (the first) as it is packed, in RGB [H, W, 3] by FFmpeg's own conversion."""
    info = film.info
    size = packed_size(*info.display_size(info.whole), short_side)
    picture = conform(frame or next(film.frames(threads=1)), info, info.whole, size)
    rgb = picture.reformat(
        format="rgb24",
        src_colorspace={"bt601": 5, "bt709": 1, "bt2020": 9}[info.colour.matrix],
        src_color_range="MPEG",
        dst_color_range="JPEG",
    )
    return rgb.to_ndarray().astype(np.uint8)


def psnr(a: U8, b: U8) -> float:
    """Peak signal-to-noise ratio of two 8-bit pictures, in decibels."""
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def damaged_copies(source: Path, target: Path, seeds: range) -> Iterator[tuple[str, Path]]:
    """Copies of a film with a few bits flipped, some anywhere and some in its first kilobyte."""
    data = source.read_bytes()
    for seed in seeds:
        random = np.random.default_rng(seed)
        broken = bytearray(data)
        reach = len(broken) if seed % 2 else min(1024, len(broken))
        for place in random.integers(0, reach, random.integers(1, 40)):
            broken[place] ^= 1 << int(random.integers(8))
        target.write_bytes(broken)
        yield f"{source.name}, seed {seed}", target

"""What a container promises of its film: how many frames, when it ends, how many bytes it has.

A truncated film may decode without an error, so only what was promised shows that something is
missing. Containers promise different things, and some nothing at all (a raw stream, a transport
stream that was cut between two packets): such a film passes for whole.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import av
from av.container import InputContainer
from av.video.stream import VideoStream

# Containers that have a duration written down. Of the others FFmpeg tells the time of the last
# packet that it finds, which promises nothing.
_TIMED = ("mov", "matroska", "avi", "flv", "asf", "nut", "mxf")
_TRANSPORT_PACKETS = (188, 192, 204)  # bytes: plain, with a timestamp, with error correction
_SYNC = b"\x47"
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_LARGEST_OGG_PAGE, _OGG_LAST = 65_307, 0x04


def declared_frames(container: InputContainer, stream: VideoStream) -> int | None:
    """Frames that the container counts, those left out that its edit list hides.

    Only the MP4 family counts frames: AVI counts ticks of its clock, others do not count.
    """
    if "mp4" not in container.format.name or not stream.frames:
        return None
    return sum(1 for entry in stream.index_entries if not entry.is_discard)


def declared_seconds(container: InputContainer, stream: VideoStream) -> float | None:
    """How long the stream lasts or, where nothing is said of it, the longest one of the file."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return None if container.duration is None else container.duration / av.time_base


def declared_end(container: InputContainer, stream: VideoStream) -> float | None:
    """When the last frame is over, in seconds of the film's clock; None where nobody says it.

    A duration of the whole file counts only where no sound can outlast the picture.
    """
    if _kind(container) not in _TIMED:
        return None
    if stream.duration is not None and stream.time_base is not None:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    whole = declared_seconds(container, stream)
    tagged = _tagged_seconds(stream)
    if whole is not None and tagged is not None and tagged <= whole:
        return tagged
    return whole if len(container.streams) == 1 else None


def is_cut_off(container: InputContainer, stream: VideoStream, path: Path) -> bool:
    """Whether the file ends before the place where it should end by its container's account."""
    size = path.stat().st_size
    if any(entry.pos + entry.size > size for entry in stream.index_entries):
        return True
    with path.open("rb") as file:
        match _kind(container):
            case "mov":
                return any(end > size for name, end in _boxes(file, size) if name == b"mdat")
            case "avi":
                return any(end > size for end in _riff_chunks(file, size))
            case "matroska":
                return (_segment_end(file) or 0) > size
            case "mpegts":
                return file.read(1) == _SYNC and all(size % n for n in _TRANSPORT_PACKETS)
            case "ogg":
                return not _ends_with_last_page(file, size)
    return False


def _kind(container: InputContainer) -> str:
    return container.format.name.split(",")[0]


def _tagged_seconds(stream: VideoStream) -> float | None:
    """Matroska's tag DURATION, such as ``00:00:10.333000000``.

    Tags of that name with a language behind it are left alone: programs that cut a film without
    coding it anew hand them on from the whole one.
    """
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None


def _boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int]]:
    """Name and end of each outermost box of an MP4 (ISO/IEC 14496-12, 4.2)."""
    start = 0
    while start + 16 <= size:
        file.seek(start)
        length, name, large = struct.unpack(">I4sQ", file.read(16))
        length = large if length == 1 else length or size - start  # 0: to the end of the file
        if length < 8:
            return  # not a box
        start += length
        yield name, start


def _riff_chunks(file: BinaryIO, size: int) -> Iterator[int]:
    """End of each outermost chunk of an AVI; the large ones have several (OpenDML 1.02)."""
    start = 0
    while start + 8 <= size:
        file.seek(start)
        name, length = struct.unpack("<4sI", file.read(8))
        if name != b"RIFF" or not length:
            return  # what follows is not the film's, or its writer never finished
        start += 8 + length + length % 2
        yield start - length % 2


def _segment_end(file: BinaryIO) -> int | None:
    """Where a Matroska file should end (RFC 8794, RFC 9559); None if it was streamed."""
    end = 0
    for wanted in (_EBML, _SEGMENT):
        file.seek(end)
        name, first = file.read(4), file.read(1)
        if name != wanted or not first or not first[0]:
            return None
        # The zeros that the first byte begins with count those that follow; then comes a mark.
        more = 8 - first[0].bit_length()
        mark = 1 << 7 * (more + 1)
        length = int.from_bytes(first + file.read(more), "big") - mark
        if length == mark - 1:
            return None  # all ones: not known when it was written
        end = file.tell() + length
    return end


def _ends_with_last_page(file: BinaryIO, size: int) -> bool:
    """Whether an Ogg file's last page is whole and marked as its stream's last (RFC 3533, 6)."""
    file.seek(max(0, size - _LARGEST_OGG_PAGE))
    _, name, page = file.read().rpartition(b"OggS\0")
    if not name or len(page) < 22:
        return False
    lengths = page[22 : 22 + page[21]]
    return bool(page[0] & _OGG_LAST) and len(page) >= 22 + page[21] + sum(lengths)

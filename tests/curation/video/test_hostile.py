"""Files from strangers: refused with a stable reason, or read with every error counted."""

import errno
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import curation.video.film
from curation.errors import FilmError
from curation.video.decode import Decoded, DecodeLog, decode_stream
from curation.video.film import Film
from tests.curation.video.media import Library, ffmpeg, sequence_of

REASONS = {
    "vanished", "not_a_file", "empty_file", "unreadable", "not_a_video", "no_video_stream",
    "no_decoder", "no_frames", "too_large", "too_small", "pixels_unsupported", "hdr_unsupported",
}  # fmt: skip
DASH = (
    '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT2S" '
    'profiles="urn:mpeg:dash:profile:full:2011"><Period><AdaptationSet mimeType="video/mp4">'
    '<Representation id="1" bandwidth="1"><BaseURL>{film}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>"
)
SCRIPTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:4,\n{film}\n#EXT-X-ENDLIST\n",
    "ffconcat": "ffconcat version 1.0\nfile '{film}'\n",
    "concat": "file '{film}'\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "dash": f'<?xml version="1.0"?>{DASH}',
    "metadata": ";FFMETADATA1\ntitle={film}\n",
    "text": "It was a dark and stormy night.\n" * 40,
}


def refusal(path: Path) -> FilmError:
    """Why a film cannot be opened."""
    with pytest.raises(FilmError) as caught:
        Film(path)
    assert caught.value.reason in REASONS
    assert caught.value.message
    return caught.value


def read_whatever_is_there(path: Path, most: int) -> int | None:
    """Frames of a film; None if it is refused. Any other exception is a failure of the test."""
    try:
        film = Film(path)
    except FilmError as error:
        assert error.reason in REASONS
        assert not error.transient
        return None
    list(film.keyframes(3))
    frames = sequence_of(film)
    assert len(frames) <= most
    return len(frames)


def test_things_that_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "dangling.mp4").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.mp4")
    reasons = {path.name: refusal(path) for path in sorted(tmp_path.iterdir())}
    assert {name: error.reason for name, error in reasons.items()} == {
        "dangling.mp4": "vanished",
        "empty.mp4": "empty_file",
        "folder.mp4": "not_a_file",
        "pipe.mp4": "not_a_file",
    }
    assert [error.transient for error in reasons.values()] == [True, False, False, False]
    assert refusal(tmp_path / "absent.mp4").reason == "vanished"
    assert refusal(tmp_path / ("long" * 100)).reason == "unreadable"
    assert refusal(tmp_path / "nul\0.mp4").reason == "vanished"


@pytest.mark.parametrize("kind", SCRIPTS)
def test_scripts_are_not_followed(kind: str, library: Library, tmp_path: Path) -> None:
    script = tmp_path / "film.mp4"
    film = library["h264_open.ts" if kind == "hls" else "h264.mp4"]
    script.write_text(SCRIPTS[kind].format(film=film))
    assert refusal(script).reason == "not_a_video"


def test_a_movie_does_not_open_the_files_it_refers_to(library: Library, tmp_path: Path) -> None:
    secret, movie = tmp_path / "secret.mp4", tmp_path / "movie.mov"
    secret.write_bytes(library["h264.mp4"].read_bytes())
    movie.write_bytes(with_alias(secret))
    with av.open(movie, options={"enable_drefs": "1"}) as container:  # the lure works
        assert len(list(container.decode(video=0))) == 60
    assert refusal(movie).reason in {"no_frames", "not_a_video"}


def with_alias(film: Path) -> bytes:
    """The header of an MP4 whose pictures lie in a file beside it, as QuickTime could have it."""
    data = film.read_bytes()
    header = bytearray(data[data.find(b"moov") - 4 :])
    place = header.find(b"dref") - 4
    (size,) = struct.unpack(">I", header[place : place + 4])
    path = f"/{film.name}".encode()
    path += b"\0" * (len(path) % 2)
    alias = bytes(10) + bytes(1 + 27) + bytes(12) + bytes(1 + 63) + bytes(16)
    alias += struct.pack(">HH", 1, 1) + bytes(16)  # one level up, one level down: a neighbour
    alias += struct.pack(">hH", 2, len(path)) + path + struct.pack(">hH", -1, 0)
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    reference = struct.pack(">I4sII", 16 + len(entry), b"dref", 0, 1) + entry
    header[place : place + size] = reference
    for parent in (b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        at = header.rfind(parent, 0, place) - 4
        (length,) = struct.unpack(">I", header[at : at + 4])
        header[at : at + 4] = struct.pack(">I", length + len(reference) - size)
    return data[: data.find(b"ftyp") + 28] + bytes(header)


@pytest.mark.parametrize(
    "name",
    [
        'quo"te\'s.mp4', "new\nline.mp4", "http:x.mp4", "concat:a|b.mp4", "pipe:0", "-i.mp4",
        "%d.mp4", "%03d%s.mp4", "#.mp4", "?.mp4", "ümläut.mp4", os.fsdecode(b"latin\xfc\xff.mp4"),
    ],
)  # fmt: skip
def test_a_name_is_only_a_name(name: str, library: Library, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(library["h264.mp4"].read_bytes())
    assert len(sequence_of(Film(path))) == 60


def test_a_relative_path_that_looks_like_an_address(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "http:x.mp4").write_bytes(library["h264.mp4"].read_bytes())
    monkeypatch.chdir(tmp_path)
    assert len(sequence_of(Film(Path("http:x.mp4")))) == 60


@pytest.mark.parametrize("name", ["wide.avi", "wide.mkv", "wide.mov"])
def test_pictures_that_are_too_wide(name: str, tmp_path: Path) -> None:
    source = ("-f", "lavfi", "-i", "color=red:size=20000x64:rate=5:duration=0.4")
    ffmpeg(*source, "-c:v", "mjpeg", tmp_path / name)
    assert refusal(tmp_path / name).reason == "too_large"


@pytest.mark.parametrize("size", ["W20000 H16", "W20000 H11250", "W8192 H8192"])
def test_headers_that_promise_huge_pictures(size: str, tmp_path: Path) -> None:
    promise = tmp_path / "promise.mp4"
    promise.write_bytes(f"YUV4MPEG2 {size} F25:1 Ip A1:1 C420jpeg\nFRAME\n....".encode())
    assert refusal(promise).reason == "too_large"


def test_pictures_that_are_too_small(tmp_path: Path) -> None:
    for side, film in ((8, tmp_path / "8.mp4"), (16, tmp_path / "16.mp4")):
        source = ("-f", "lavfi", "-i", f"color=red:size={side}x{side}:rate=5:duration=0.4")
        ffmpeg(*source, "-c:v", "libx264", film)
    assert refusal(tmp_path / "8.mp4").reason == "too_small"
    assert len(sequence_of(Film(tmp_path / "16.mp4"))) == 2


def test_a_stream_without_a_packet(library: Library, tmp_path: Path) -> None:
    for suffix in (".mp4", ".mkv", ".avi"):
        target = tmp_path / f"none{suffix}"
        ffmpeg("-i", library["h264.mp4"], "-c", "copy", "-frames:v", "0", target)
        assert refusal(target).reason in {"no_frames", "not_a_video", "no_video_stream"}


@pytest.mark.parametrize(
    "name", ["h264.mp4", "h264_open.mkv", "fragmented.mp4", "mpeg2.ts", "mpeg4.avi", "vp9.webm"]
)
def test_truncated_films_give_what_is_there(name: str, library: Library, tmp_path: Path) -> None:
    data = library[name].read_bytes()
    counts = []
    for tenth in range(10):
        target = tmp_path / f"{tenth}-{name}"
        target.write_bytes(data[: len(data) * tenth // 10 + 1])
        counts.append(read_whatever_is_there(target, 60) or 0)
    if name == "h264.mp4":  # its index lies at its end
        assert counts == [0] * 10
    else:
        assert counts[9] > 40
        assert counts == sorted(counts)


@pytest.mark.parametrize(
    "name",
    [
        "h264.mp4", "h264_open.mkv", "hevc_open.mp4", "mpeg2.ts", "mpeg4_packed.avi", "vp9.webm",
        "av1.mp4", "animated.gif", "interlaced.ts", "edited.mp4",
    ],
)  # fmt: skip
def test_flipped_bits_cost_at_most_their_film(name: str, library: Library, tmp_path: Path) -> None:
    data = library[name].read_bytes()
    for seed in range(6):
        chance = np.random.default_rng(seed)
        broken = bytearray(data)
        # Half of them near the start, where headers lie.
        reach = len(data) if seed % 2 else min(1024, len(data))
        for place in chance.integers(reach, size=chance.integers(1, 40)).tolist():
            broken[place] ^= 1 << int(chance.integers(8))
        target = tmp_path / f"{seed}-{name}"
        target.write_bytes(broken)
        read_whatever_is_there(target, 240)


def test_damage_in_the_middle_is_counted(library: Library, tmp_path: Path) -> None:
    data = bytearray(library["h264_open.mkv"].read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = np.random.default_rng(0).bytes(400)
    (tmp_path / "damaged.mkv").write_bytes(data)
    film = Film(tmp_path / "damaged.mkv")
    once, again = sequence_of(film), sequence_of(film)
    assert once.log.damaged
    assert 30 < len(once) <= 60
    assert (once.digests, once.log) == (again.digests, again.log)
    assert not once.table.seekable


def test_timestamps_that_jump_absurdly_are_mended(tmp_path: Path, library: Library) -> None:
    """A frame that lasts a year would make a million copies of itself at 24 fps."""
    jump = "setts=pts='PTS+gte(N,30)*3e12':dts='DTS+gte(N,30)*3e12'"
    target = tmp_path / "jump.mkv"
    ffmpeg("-i", library["mpeg4.avi"], "-c", "copy", "-bsf:v", jump, target)
    film = Film(target)
    frames = sequence_of(film)
    assert len(frames) == 60
    assert frames.log.mended_pts == 30
    assert np.diff(frames.table.pts).tolist() == [40] * 59


def test_a_disk_that_fails_is_told_from_a_file_that_is_broken(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg says "Input/output error" of both; only the first is worth another try."""

    def failing(container: Any, stream: Any, log: DecodeLog, **_: Any) -> Iterator[Decoded]:
        yield from decode_stream(container, stream, log)
        log.note(av.error.OSError(errno.EIO, "Input/output error"))

    film = Film(library["h264.mp4"])
    monkeypatch.setattr(curation.video.film, "decode_stream", failing)
    frames = sequence_of(film)
    assert len(frames) == 60
    assert frames.log.damaged

    def unreadable(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "open", unreadable)
    with pytest.raises(FilmError) as caught:
        sequence_of(film)
    assert caught.value.reason == "unreadable"
    assert caught.value.transient

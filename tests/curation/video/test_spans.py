"""Frames by index: a span must hold exactly the pixels of a decode from the film's start."""

import dataclasses
import json
import struct
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from curation.errors import FilmError
from curation.video.decode import DecodeLog, decode_stream, prepare
from curation.video.film import Film, Frame
from curation.video.spans import read_span
from tests.curation.video.media import (
    FRAMES,
    GOP,
    RECIPES,
    Library,
    Sequence,
    digest_of,
    ffmpeg,
    sequence_of,
)

ENTERED = (
    "h264.mp4", "h264_open.mp4", "h264_open.mkv", "h264_open.ts", "hevc_open.mp4", "hevc_open.ts",
    "mpeg2.ts", "mpeg2.mpg", "vp8.webm", "vp9.webm", "av1.mp4", "av1.mkv", "mpeg4_bframes.avi",
    "edited.mp4", "edited_open.mp4", "edited_hevc.mp4", "vfr.mp4", "fragmented.mp4",
    "interlaced.ts", "interlaced.mp4",
)  # fmt: skip


class WithoutStart(Film):
    """A film that refuses to be decoded from its start."""

    def frames(self, *, threads: int, log: DecodeLog | None = None) -> Iterator[Frame]:
        raise AssertionError("decoded from the start", threads, log)


class Misleading(Film):
    """A film that, entered in the middle, loses a frame behind the third."""

    def frames_from(self, pts: int, *, threads: int) -> Iterator[Frame]:
        for number, frame in enumerate(super().frames_from(pts, threads=threads)):
            if number != 3:
                yield frame


def assert_exact(film: Film, whole: Sequence, start: int, end: int, threads: int = 1) -> None:
    frames = read_span(film, whole.table, start, end, threads=threads)
    span = [(frame.index, digest_of(frame)) for frame in frames]
    expected = list(enumerate(whole.digests[start:end], start))
    assert span == expected, (film.path.name, start, end)


def with_edits(film: Path, segments: list[tuple[int, float]]) -> bytes:
    """An MP4 of ffmpeg's with another edit list: (milliseconds shown, from second) each."""
    data = film.read_bytes()
    place = data.find(b"elst") - 4
    size, _, _, _, _, delay = struct.unpack(">I4sIIIi", data[place : place + 24])
    ticks = 12800  # a second, in the time scale that ffmpeg gives films of 25 fps
    entries = [struct.pack(">IiI", ms, delay + int(at * ticks), 0x10000) for ms, at in segments]
    edits = struct.pack(">I4sII", 16 + 12 * len(entries), b"elst", 0, len(entries))
    broken = bytearray(data[:place] + edits + b"".join(entries) + data[place + size :])
    for parent in (b"edts", b"trak", b"moov"):
        at = broken.rfind(parent, 0, place) - 4
        (length,) = struct.unpack(">I", broken[at : at + 4])
        broken[at : at + 4] = struct.pack(">I", length + 16 + 12 * len(entries) - size)
    return bytes(broken)


def some_spans(length: int, count: int, longest: int) -> list[tuple[int, int]]:
    """Spans all over a film, the same in every run."""
    chance = np.random.default_rng(length)
    starts = chance.integers(length, size=count).tolist()
    return [(start, min(length, start + int(chance.integers(1, longest)))) for start in starts]


@pytest.mark.parametrize("name", RECIPES)
def test_spans_have_the_pixels_of_a_sequential_decode(name: str, library: Library) -> None:
    film = Film(library[name])
    whole = sequence_of(film)
    assert len(whole) >= 2 * GOP
    # Entering goes wrong near keyframes, if it goes wrong; the rest of the film is sampled.
    near_keys = [
        (start, min(len(whole), start + 3))
        for key in np.flatnonzero(whole.table.key)[1:3].tolist()
        for start in (key - 1, key, key + 1)
        if start < len(whole)
    ]
    for start, end in near_keys + some_spans(len(whole), 3, 20):
        assert_exact(film, whole, start, end)


def test_spans_of_real_films(films_dir: Path) -> None:
    for entry in json.loads((films_dir / "manifest.json").read_text()):
        # 640x360 for a few seconds: the large ones hold nothing that these do not.
        if (entry.get("packets") or 999) > 360 or entry["width"] > 704:
            continue
        film = Film(films_dir / entry["file"])
        whole = sequence_of(film)
        for start, end in some_spans(len(whole), 3, 30):
            assert_exact(film, whole, start, end)


@pytest.mark.parametrize("name", ENTERED)
def test_a_late_span_is_reached_without_decoding_the_whole_film(
    name: str, library: Library
) -> None:
    whole = sequence_of(Film(library[name]))
    assert whole.table.seekable
    # Interlaced frames need the frame before them, so their own keyframe is no way in.
    start = int(np.flatnonzero(whole.table.key[:-2])[-1]) + 1
    assert start > 2 * GOP
    assert_exact(WithoutStart(library[name]), whole, start, start + 2)


@pytest.mark.parametrize("name", ["h264_open.mp4", "hevc_open.ts", "interlaced.mp4"])
def test_two_threads_read_the_same_span(name: str, library: Library) -> None:
    film = Film(library[name])
    assert_exact(film, sequence_of(film), 17, 31, threads=2)


@pytest.mark.parametrize("name", ["h264_open.h264", "h264.avi", "animated.gif"])
def test_films_without_reliable_places_of_entry_are_read_from_the_start(
    name: str, library: Library
) -> None:
    whole = sequence_of(Film(library[name]))
    with pytest.raises(AssertionError, match="decoded from the start"):
        assert_exact(WithoutStart(library[name]), whole, 40, 42)


def test_a_film_of_several_edits_one_of_them_shown_twice(library: Library, tmp_path: Path) -> None:
    target = tmp_path / "edits.mp4"
    target.write_bytes(with_edits(library["h264.mp4"], [(600, 1.0), (700, 0.2), (400, 1.0)]))
    film = Film(target)
    whole = sequence_of(film)
    # 0.6 s from frame 25 on, 0.7 s from frame 5 on, 0.4 s from frame 25 on, at 25 fps
    source = sequence_of(Film(library["h264.mp4"])).digests
    assert [source.index(digest) for digest in whole.digests] == [
        *range(25, 40), *range(5, 23), *range(25, 35),
    ]  # fmt: skip
    for start in range(len(whole)):
        assert_exact(film, whole, start, min(len(whole), start + 2))


def test_progressive_scenes_between_interlaced_ones(library: Library, tmp_path: Path) -> None:
    """An interlaced frame looks back at the progressive one before it, however it is reached."""
    joined, mixed = tmp_path / "joined.m2v", tmp_path / "mixed.mkv"
    fields = tmp_path / "fields.m2v"
    ffmpeg("-i", library["interlaced.ts"], "-c", "copy", "-f", "mpeg2video", fields)
    plain = library["mpeg2.m2v"].read_bytes()
    joined.write_bytes(fields.read_bytes() + plain + fields.read_bytes())
    ffmpeg("-fflags", "+genpts", "-i", joined, "-c", "copy", mixed)
    film = Film(mixed)
    whole = sequence_of(film)
    assert whole.table.seekable
    switch = 2 * FRAMES
    key = int(np.flatnonzero(whole.table.key[:switch])[-1])
    assert key > FRAMES
    assert_exact(WithoutStart(mixed), whole, key, switch + 3)


@pytest.mark.parametrize("name", ["h264.mp4", "mpeg2.ts", "vp8.webm", "mpeg4.avi"])
def test_what_comes_before_the_first_keyframe_is_left_out(name: str, library: Library) -> None:
    """Wherever reading begins, what comes out are frames of the sequential decode."""
    whole = sequence_of(Film(library[name]))
    digests = dict(zip(whole.table.pts.tolist(), whole.digests, strict=True))
    for place in range(GOP + 2, 3 * GOP, 3):
        with av.open(library[name]) as container:
            stream = container.streams.video[0]
            prepare(container, stream, 1)
            container.seek(int(whole.table.pts[place]), stream=stream, any_frame=True)
            frames = list(decode_stream(container, stream, DecodeLog(), entered=True))
            assert frames[0].key
            assert [digest_of(Frame(0, frame.pts, frame.key, frame.raw)) for frame in frames] == [
                digests[frame.pts] for frame in frames
            ]


def test_frames_that_share_a_timestamp(library: Library, tmp_path: Path) -> None:
    target = tmp_path / "twins.mkv"
    twins = "setts=pts='floor(PTS/80)*80':dts='floor(PTS/80)*80'"
    ffmpeg("-i", library["mpeg4.avi"], "-c", "copy", "-bsf:v", twins, target)
    film = Film(target)
    whole = sequence_of(film)
    assert whole.log.mended_pts == 30
    assert not whole.table.seekable
    for start, end in some_spans(len(whole), 5, 20):
        assert_exact(film, whole, start, end)


def test_a_way_in_that_fails_midway_is_given_up_for_another(library: Library) -> None:
    film = Misleading(library["h264.mp4"])
    assert_exact(film, sequence_of(Film(film.path)), GOP, GOP + 8)


def test_a_film_that_is_not_the_one_that_was_scanned(library: Library) -> None:
    table = sequence_of(Film(library["h264.mp4"])).table
    table = dataclasses.replace(table, pts=table.pts + 1)
    with pytest.raises(FilmError, match="scan the film again") as caught:
        list(read_span(Film(library["h264.mp4"]), table, 20, 22))
    assert caught.value.reason == "frames_moved"


def test_a_film_that_became_shorter(library: Library) -> None:
    longer = sequence_of(Film(library["h264.mp4"])).table
    film = Film(library["edited.mp4"])
    with pytest.raises(FilmError) as caught:
        list(read_span(film, longer, len(longer.pts) - 2, len(longer.pts)))
    assert caught.value.reason == "frames_moved"

"""What a film is taken to be: its frames, their times, its stream, which way up, how large."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from curation.errors import FilmError
from curation.video.film import Film
from tests.curation.video.media import (
    RECIPES,
    Library,
    ffmpeg,
    ffmpeg_frames,
    ffprobe,
    psnr,
    seconds_of,
    sequence_of,
    shown,
)

# One film of each codec, and those whose timestamps are made up on the way.
CODECS = (
    "h264.mp4", "h264.avi", "h264_open.h264", "hevc_open.ts", "mpeg2.mpg", "mpeg2.m2v", "vp8.webm",
    "vp9.webm", "av1.mkv", "mpeg4_bframes.avi", "mpeg4_packed.avi", "theora.ogv", "ffv1.mkv",
    "animated.gif", "animated.apng", "edited_open.mp4", "interlaced.ts", "interlaced.mp4",
)  # fmt: skip
# Seconds per unit in a container that keeps no finer time.
COARSE = {".mkv": Fraction(1, 1000), ".webm": Fraction(1, 1000), ".flv": Fraction(1, 1000)}


def entries_of(films_dir: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads((films_dir / "manifest.json").read_text())
    return [entry for entry in entries if entry.get("decoded_frames")]


def test_real_films_have_the_frames_that_were_counted(films_dir: Path) -> None:
    counts, expected = {}, {}
    for entry in entries_of(films_dir):
        if entry["packets"] > 2000:
            continue  # two minutes of slides at 1080p take as long as all the others
        expected[entry["file"]] = entry["decoded_frames"]
        film = Film(films_dir / entry["file"])
        threads = 1 if entry["decode_errors"] else 2
        counts[entry["file"]] = sum(1 for _ in film.frames(threads=threads))
    assert counts == expected


def test_real_films_have_the_size_that_is_shown(films_dir: Path) -> None:
    for entry in entries_of(films_dir):
        info = Film(films_dir / entry["file"]).info
        across, down = (int(side) for side in (entry["sar"] or "1:1").split(":"))
        width, height = round(entry["width"] * across / down), entry["height"]
        turned = entry["rotation"] in ([-90], [90])
        shown = (height, width) if turned else (width, height)
        assert info.display_size(info.whole) == shown, entry["file"]
        assert info.codec == entry["codec"]
        assert info.pixel_format == entry["pix_fmt"]


def test_files_without_a_readable_video(films_dir: Path) -> None:
    for name, reason in (
        ("dj_audio_only.mp4", "no_video_stream"),
        ("derived_bikes_trunc_nomoov.mp4", "not_a_video"),
    ):
        with pytest.raises(FilmError) as caught:
            Film(films_dir / name)
        assert caught.value.reason == reason
        assert not caught.value.transient


@pytest.mark.parametrize("name", RECIPES)
def test_frames_are_as_many_and_at_the_times_that_ffprobe_says(name: str, library: Library) -> None:
    film = Film(library[name])
    frames = sequence_of(film)
    reference = ffprobe(film.path, "-show_frames", "-count_frames")
    assert len(frames) == int(reference["nb_read_frames"])
    assert not frames.log.damaged
    times = [frame.get("best_effort_timestamp_time") for frame in reference["frames"]]
    if "N/A" in times or None in times:  # raw streams hold none: frames at the nominal rate
        times = [number / 25 for number in range(len(frames))]
    expected = [float(time) - float(times[0]) for time in times]
    coarse = float(COARSE.get(film.path.suffix, Fraction(1, 10_000)))
    assert [float(time) for time in seconds_of(film, frames)] == pytest.approx(expected, abs=coarse)


@pytest.mark.parametrize("name", CODECS)
def test_two_threads_decode_what_one_does(name: str, library: Library) -> None:
    film = Film(library[name])
    one, two = sequence_of(film, threads=1), sequence_of(film, threads=2)
    assert one.digests == two.digests
    assert one.table.pts.tolist() == two.table.pts.tolist()
    assert one.table.key.tolist() == two.table.key.tolist()
    assert one.log == two.log


def test_damaged_films_decode_the_same_twice(films_dir: Path) -> None:
    for entry in entries_of(films_dir):
        if entry["decode_errors"]:
            film = Film(films_dir / entry["file"])
            once, again = sequence_of(film), sequence_of(film)
            assert once.log.damaged
            assert (once.digests, once.log) == (again.digests, again.log)


def test_a_truncated_film_says_so(films_dir: Path) -> None:
    info = Film(films_dir / "derived_dog_trunc60.mp4").info
    assert info.truncated
    assert info.declared_frames == 345  # of the whole film it was cut from
    assert not Film(films_dir / "tc_dog_eating.mp4").info.truncated


@pytest.mark.parametrize(
    ("name", "declared"), [("h264.mp4", 60), ("edited.mp4", None), ("early.mp4", None)]
)
def test_declared_frames_leave_out_what_an_edit_list_hides(
    name: str, declared: int | None, library: Library
) -> None:
    film = Film(library[name])
    assert film.info.declared_frames == (declared or len(sequence_of(film)))


def test_no_count_is_taken_from_containers_that_count_ticks(library: Library) -> None:
    # ffmpeg declares 120 frames in this AVI of 60: its clock ticks twice for each.
    assert ffprobe(library["h264.avi"])["nb_frames"] == "120"
    assert Film(library["h264.avi"]).info.declared_frames is None


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_cover_art_is_not_the_film(suffix: str, library: Library, tmp_path: Path) -> None:
    cover, film = tmp_path / "cover.png", tmp_path / f"film{suffix}"
    ffmpeg("-f", "lavfi", "-i", "color=red:size=300x300", "-frames:v", "1", cover)
    if suffix == ".mkv":
        attach = ("-attach", str(cover), "-metadata:s:t", "mimetype=image/png")
        ffmpeg("-i", library["h264.mp4"], "-c", "copy", *attach, film)
    else:
        order = ("-map", "0", "-map", "1", "-c", "copy", "-disposition:v:0", "attached_pic")
        ffmpeg("-i", cover, "-i", library["h264.mp4"], *order, film)
    with av.open(film) as container:
        assert len(container.streams.video) == 2
    info = Film(film).info
    assert (info.coded_width, info.coded_height) == (128, 96)
    assert sequence_of(Film(film)).digests == sequence_of(Film(library["h264.mp4"])).digests


def test_a_song_with_cover_art_is_no_film(tmp_path: Path) -> None:
    cover, song = tmp_path / "cover.png", tmp_path / "song.m4a"
    ffmpeg("-f", "lavfi", "-i", "color=red:size=300x300", "-frames:v", "1", cover)
    order = ("-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v:0", "attached_pic")
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", "-i", cover, *order, song)
    with pytest.raises(FilmError) as caught:
        Film(song)
    assert caught.value.reason == "no_video_stream"


def test_the_first_of_several_video_streams_is_the_film(library: Library, tmp_path: Path) -> None:
    target = tmp_path / "two.mkv"
    streams = ("-map", "0", "-map", "1", "-c:v:0", "libx264", "-c:v:1", "copy")
    small = ("-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=1")
    ffmpeg(*small, "-i", library["h264.mp4"], *streams, "-disposition:v:1", "default", target)
    info = Film(target).info
    assert (info.stream_index, info.coded_width) == (0, 64)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_turned_and_mirrored_films_are_shown_as_ffmpeg_shows_them(
    degrees: int, flip: bool, library: Library, tmp_path: Path
) -> None:
    target = tmp_path / "turned.mp4"
    with av.open(library["h264.mp4"]) as source, av.open(target, "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        stream.set_display_rotation(degrees, hflip=flip)
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                container.mux(packet)
    film = Film(target)
    width, height = film.info.display_size(film.info.whole)
    assert (width, height) == ((96, 128) if degrees % 180 else (128, 96))
    assert film.info.mirrored == flip
    if not flip:
        assert (degrees + film.info.rotation) % 360 == 0  # written counterclockwise
    reference = ffmpeg_frames(target, "-frames:v", "1", width=width, height=height)[0]
    assert psnr(shown(film), reference) > 30
    wrong_way = psnr(shown(film), reference[::-1, ::-1])
    assert wrong_way < 20  # so that the line above can fail


def test_turned_real_films_are_shown_as_ffmpeg_shows_them(films_dir: Path) -> None:
    for name in ("psd_issue134_rotate.mp4", "decord_rot90.mov"):
        film = Film(films_dir / name)
        width, height = film.info.display_size(film.info.whole)
        reference = ffmpeg_frames(film.path, "-frames:v", "1", width=width, height=height)[0]
        assert psnr(shown(film), reference) > 30


def test_a_size_that_changes_midway_is_brought_to_the_first(
    library: Library, tmp_path: Path
) -> None:
    other, joined = tmp_path / "other.h264", tmp_path / "joined.h264"
    ffmpeg("-i", library["h264.mp4"], "-vf", "scale=64:48", "-c:v", "libx264", other)
    joined.write_bytes(library["h264_open.h264"].read_bytes() + other.read_bytes())
    sizes = [tuple(plane.shape for plane in f.planes()) for f in Film(joined).frames(threads=1)]
    assert sizes == [((96, 128), (48, 64), (48, 64))] * 120


def test_keyframes_are_spread_over_the_film(library: Library) -> None:
    film = Film(library["h264.mp4"])
    assert [f.pts * film.info.time_base * 25 for f in film.keyframes(5)] == [0, 12, 24, 36, 48]
    assert all(frame.key for frame in film.keyframes(5))
    assert len(list(film.keyframes(40))) == 5  # there are no more
    assert list(film.keyframes(0)) == []


def test_a_film_of_unknown_length_shows_its_first_keyframe(library: Library) -> None:
    film = Film(library["h264_open.h264"])
    assert film.info.declared_seconds is None
    assert len(list(film.keyframes(5))) == 1

"""Interlaced films: no combs, one frame out for each in, at its own time."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from curation.video.film import Film
from tests.curation.video.media import U8, Library, ffmpeg, ffprobe, psnr, seconds_of, sequence_of

# A bar that moves 16 pixels from field to field: woven into one frame, its edges are combs.
MOVING = (
    "color=black:size=320x96:rate=50:duration=0.8[bg];color=white:size=40x96:rate=50[bar];"
    "[bg][bar]overlay=x='mod(t*800,280)':shortest=1,format=yuv420p"
)
WOVEN = "tinterlace=interleave_top"
CODINGS = {
    "mpeg2.ts": ("-c:v", "mpeg2video", "-q:v", "2", "-g", "6", "-bf", "2"),
    "h264.mp4": ("-c:v", "libx264", "-crf", "10", "-x264-params", "tff=1:keyint=6"),
    "prores.mov": ("-c:v", "prores_ks", "-top", "1"),
}


def combing(luma: U8) -> float:
    """How much more a line differs from its neighbours than from the line after next."""
    lines = luma.astype(float)
    near = np.abs(lines[1:-1] - (lines[:-2] + lines[2:]) / 2).mean()
    return float(near - np.abs(lines[2:] - lines[:-2]).mean() / 2)


def lumas(film: Film) -> list[U8]:
    return [frame.planes()[0].copy() for frame in film.frames(threads=1)]


@pytest.fixture(scope="module")
def combs(tmp_path_factory: pytest.TempPathFactory) -> float:
    """The combing of the same film, its frames passed off as progressive."""
    source = tmp_path_factory.mktemp("woven") / "woven.nut"
    ffmpeg("-f", "lavfi", "-i", f"{MOVING},{WOVEN},setfield=prog", "-c:v", "ffv1", source)
    film = Film(source)
    assert not film.info.interlaced
    strength = float(np.mean([combing(luma) for luma in lumas(film)[2:-2]]))
    assert strength > 20
    return strength


@pytest.mark.parametrize("name", CODINGS)
def test_combs_are_gone(name: str, combs: float, tmp_path: Path) -> None:
    source = tmp_path / name
    flags = ("-flags", "+ilme+ildct")
    ffmpeg("-f", "lavfi", "-i", f"{MOVING},{WOVEN}", *flags, *CODINGS[name], source)
    film = Film(source)
    assert film.info.interlaced
    assert np.mean([combing(luma) for luma in lumas(film)[2:-2]]) < combs / 20


@pytest.mark.parametrize("name", ["interlaced.ts", "interlaced.mp4"])
def test_one_frame_out_for_each_in_at_its_own_time(name: str, library: Library) -> None:
    film = Film(library[name])
    frames = sequence_of(film)
    assert seconds_of(film, frames) == [Fraction(n, 25) for n in range(60)]


def test_a_film_of_one_interlaced_frame(tmp_path: Path) -> None:
    source = tmp_path / "one.mp4"
    flags = ("-flags", "+ilme+ildct", "-c:v", "libx264", "-x264-params", "tff=1")
    ffmpeg("-f", "lavfi", "-i", f"{MOVING},{WOVEN}", *flags, "-frames:v", "1", source)
    film = Film(source)
    assert film.info.interlaced
    assert len(sequence_of(film)) == 1


def test_interlaced_frames_in_the_middle_of_a_progressive_film(
    combs: float, tmp_path: Path
) -> None:
    """Broadcasts mix both; the first frame says nothing of the others."""
    still, moving, mixed = (tmp_path / name for name in ("still.m2v", "moving.m2v", "mixed.m2v"))
    coding = ("-c:v", "mpeg2video", "-q:v", "2", "-g", "6")
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=320x96:rate=25:duration=0.4", *coding, still)
    ffmpeg("-f", "lavfi", "-i", f"{MOVING},{WOVEN}", "-flags", "+ilme+ildct", *coding, moving)
    mixed.write_bytes(still.read_bytes() + moving.read_bytes() + still.read_bytes())
    film = Film(mixed)
    assert not film.info.interlaced
    frames = lumas(film)
    assert len(frames) == 10 + 20 + 10
    assert np.mean([combing(luma) for luma in frames[12:28]]) < combs / 20
    for untouched in (frames[:10], frames[30:]):
        assert np.array_equal(untouched, lumas(Film(still)))


def test_the_first_interlaced_frame_looks_back_at_the_progressive_one_before_it(
    tmp_path: Path,
) -> None:
    """Without a look back, half of a still picture's lines are guessed."""
    parts, joined = (tmp_path / "plain.m2v", tmp_path / "fields.m2v"), tmp_path / "joined.m2v"
    still = ("-f", "lavfi", "-i", "testsrc2=size=320x96:rate=25:duration=0.04,loop=9:1")
    for part, flags in zip(parts, ((), ("-flags", "+ilme+ildct")), strict=True):
        ffmpeg(*still, *flags, "-c:v", "mpeg2video", "-q:v", "1", part)
    joined.write_bytes(parts[0].read_bytes() + parts[1].read_bytes())
    frames = lumas(Film(joined))
    first_interlaced = 10
    assert psnr(frames[first_interlaced], frames[0]) > 36
    assert psnr(lumas(Film(parts[1]))[0], frames[0]) < 33  # nothing to look back at


def test_a_size_that_changes_between_interlaced_frames(tmp_path: Path) -> None:
    parts = []
    for size in ("320x96", "160x64", "320x96"):
        part = tmp_path / f"{size}.m2v"
        coding = ("-flags", "+ilme+ildct", "-c:v", "mpeg2video", "-q:v", "2")
        scaled = f"{MOVING},scale={size.replace('x', ':')},{WOVEN}"
        ffmpeg("-f", "lavfi", "-i", scaled, *coding, part)
        parts.append(part.read_bytes())
    joined = tmp_path / "joined.m2v"
    joined.write_bytes(b"".join(parts))
    expected = int(ffprobe(joined, "-count_frames")["nb_read_frames"])
    assert [luma.shape for luma in lumas(Film(joined))] == [(96, 320)] * expected

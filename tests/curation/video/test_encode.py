"""What is packed: the same bytes for the same frames, and exactly the format that was promised."""

import hashlib
import io
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import EncodeError
from curation.video.colour import ColourSpace
from curation.video.conform import conform
from curation.video.encode import EncodeSettings, FilmWriter
from curation.video.film import Film
from curation.video.packed import PackedVideo
from tests.conftest import REPOSITORY
from tests.curation.video.media import U8, Library, ffmpeg_luma, ffprobe, psnr

PRESETS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow",
)  # fmt: skip


def pictures(count: int, seed: int = 0) -> list[U8]:
    """Soft, moving pictures [48, 64, 3]."""
    y, x = np.mgrid[0:48, 0:64] / 8
    phase = np.random.default_rng(seed).uniform(0, 6, 3)
    return [
        np.stack([127 + 120 * np.sin(x + k / 5 + p) * np.cos(y - k / 9) for p in phase], -1).astype(
            np.uint8
        )
        for k in range(count)
    ]


def encoded(count: int, seed: int = 0, coding: EncodeSettings | None = None) -> bytes:
    target = io.BytesIO()
    with FilmWriter(target, 64, 48, settings=coding) as writer:
        for picture in pictures(count, seed):
            writer.write_rgb(picture)
    return target.getvalue()


def test_same_frames_same_bytes() -> None:
    assert encoded(40) == encoded(40)
    assert encoded(40) != encoded(40, seed=1)


def test_a_fresh_process_and_a_file_give_the_same_bytes(tmp_path: Path) -> None:
    program = (
        "import hashlib\n"
        "from tests.curation.video.test_encode import encoded\n"
        "print(hashlib.sha256(encoded(40)).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == hashlib.sha256(encoded(40)).hexdigest()
    target = tmp_path / "http:film %d.mp4"
    with FilmWriter(target, 64, 48) as writer:
        for picture in pictures(40):
            writer.write_rgb(picture)
    assert target.read_bytes() == encoded(40)


@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
def test_ffprobe_finds_what_was_promised(matrix: str, tmp_path: Path) -> None:
    target = tmp_path / "film.mp4"
    colour = ColourSpace(matrix, full_range=True)  # of the source; what is written is limited
    coding = EncodeSettings(gop=10)
    with FilmWriter(target, 64, 48, settings=coding, colour=colour) as writer:
        for picture in pictures(35):
            writer.write_rgb(picture)
    stream = ffprobe(target, "-show_frames", "-count_frames", "-show_format")
    names = {"bt601": ["smpte170m"] * 3, "bt709": ["bt709"] * 3}
    tags = names.get(matrix, ["bt2020nc", "bt2020", "bt2020-10"])
    assert [stream[f"color_{kind}"] for kind in ("space", "primaries", "transfer")] == tags
    assert stream["color_range"] == "tv"
    expected = {
        "codec_name": "h264",
        "pix_fmt": "yuv420p",
        "r_frame_rate": "24/1",
        "avg_frame_rate": "24/1",
        "nb_frames": "35",
        "nb_read_frames": "35",
        "sample_aspect_ratio": "1:1",
        "field_order": "progressive",
    }
    assert {key: stream[key] for key in expected} == expected
    assert (stream["width"], stream["height"]) == (64, 48)
    assert float(stream["start_time"]) == 0
    assert float(stream["duration"]) == pytest.approx(35 / 24, abs=1e-3)
    assert stream["format"]["nb_streams"] == 1  # no audio
    keys = [n for n, frame in enumerate(stream["frames"]) if frame["key_frame"]]
    assert keys == [0, 10, 20, 30]


def test_natural_pictures_keep_their_quality(films_dir: Path, tmp_path: Path) -> None:
    film = Film(films_dir / "skv_bikes.mp4")
    info, whole, target = film.info, film.info.whole, tmp_path / "copy.mp4"
    lumas = []
    with FilmWriter(target, 640, 272, colour=info.colour) as writer:
        for frame in film.frames(threads=2):
            lumas.append(frame.planes()[0].copy())
            writer.write(conform(frame, info, whole, (640, 272)))
            if frame.index == 47:
                break
    copies = ffmpeg_luma(target, width=640, height=272)
    assert len(copies) == len(lumas) == 48
    qualities = [psnr(luma, copy) for luma, copy in zip(lumas, copies, strict=True)]
    assert min(qualities) > 35


def test_a_frame_may_be_written_several_times(library: Library, tmp_path: Path) -> None:
    """Retiming repeats frames; the source's own timestamps and types must not shine through."""
    film, target = Film(library["h264.mp4"]), tmp_path / "slow.mp4"
    with FilmWriter(target, 128, 96, colour=film.info.colour) as writer:
        for frame in film.frames(threads=1):
            picture = conform(frame, film.info, film.info.whole, (128, 96))
            writer.write(picture)
            writer.write(picture)
    stream = ffprobe(target, "-count_frames", "-show_frames")
    assert stream["nb_read_frames"] == "120"
    assert [n for n, f in enumerate(stream["frames"]) if f["key_frame"]] == [0, 24, 48, 72, 96]
    copies = ffmpeg_luma(target, width=128, height=96)
    assert np.mean([psnr(a, b) for a, b in zip(copies[::2], copies[1::2], strict=True)]) > 40


def test_explicit_timestamps_make_a_variable_rate(tmp_path: Path) -> None:
    target = tmp_path / "vfr.mp4"
    times = [0, 40, 140, 150, 400]
    with FilmWriter(target, 64, 48, time_base=Fraction(1, 1000)) as writer:
        for picture, pts in zip(pictures(5), times, strict=True):
            writer.write_rgb(picture, pts)
    film = Film(target)
    frames = list(film.frames(threads=1))
    assert [round(f.pts * film.info.time_base * 1000) for f in frames] == times


def test_users_mistakes_are_named() -> None:
    for size in ((63, 48), (64, 47), (0, 48), (64, -2)):
        with pytest.raises(ValueError, match=f"{size[0]}x{size[1]}"):
            FilmWriter(io.BytesIO(), *size)
    for mistake in ({"crf": 52}, {"crf": -1}, {"preset": "placebo"}, {"gop": 0}):
        with pytest.raises(ValueError, match=next(iter(mistake))):
            EncodeSettings(**mistake)


def test_frames_that_do_not_fit_are_refused(library: Library) -> None:
    frame = next(Film(library["h264.mp4"]).frames(threads=1))
    with (
        pytest.raises(ValueError, match="128x96 yuv420p frame: this film takes 64x48"),
        FilmWriter(io.BytesIO(), 64, 48) as writer,
    ):
        writer.write(frame.raw)
    with (
        pytest.raises(ValueError, match=r"give \(48, 64, 3\)"),
        FilmWriter(io.BytesIO(), 64, 48) as writer,
    ):
        writer.write_rgb(np.zeros((64, 48, 3), np.uint8))


def test_a_film_without_a_frame_is_refused() -> None:
    with pytest.raises(EncodeError, match="at least one frame"), FilmWriter(io.BytesIO(), 64, 48):
        pass


def test_a_target_that_cannot_be_written(tmp_path: Path) -> None:
    for target in (tmp_path / "no" / "such" / "folder.mp4", Path("/dev/full")):
        with pytest.raises(EncodeError), FilmWriter(target, 64, 48) as writer:
            for picture in pictures(30):
                writer.write_rgb(picture)


@given(st.integers(0, 51), st.sampled_from(PRESETS), st.integers(1, 30))
@settings(max_examples=12, deadline=None)
def test_every_setting_gives_every_frame(crf: int, preset: str, gop: int) -> None:
    assert len(PackedVideo(encoded(7, coding=EncodeSettings(crf, preset, gop)))) == 7

"""A film that begins with another one's coded frames: not a bit of them changes."""

from pathlib import Path

import av
import numpy as np
import pytest

from curation.video.encode import EncodeSettings, FilmWriter
from curation.video.film import Film
from curation.video.growing import GrowingFilmWriter
from curation.video.h264 import parameter_sets, with_start_codes
from tests.curation.video.media import ffmpeg
from tests.pipelines.tiny_library import HEIGHT, WIDTH, shot

NEW = 30
Writing = type[FilmWriter] | type[GrowingFilmWriter]


def write(path: Path, frames: int, writing: Writing = FilmWriter) -> Path:
    with writing(path, WIDTH, HEIGHT) as writer:
        for picture in shot(1, frames):
            writer.write_rgb(np.asarray(picture))
    return path


def planes(path: Path) -> list[bytes]:
    frames = Film(path).frames(threads=1)
    return [b"".join(plane.tobytes() for plane in frame.planes()) for frame in frames]


@pytest.mark.parametrize("frames", [1, 2, 24, 25, 61])
@pytest.mark.parametrize("given", [FilmWriter, GrowingFilmWriter])
@pytest.mark.parametrize("writing", [FilmWriter, GrowingFilmWriter])
def test_coded_frames_are_carried_bit_for_bit(
    tmp_path: Path, frames: int, given: Writing, writing: Writing
) -> None:
    film, out = write(tmp_path / "film.mp4", frames, given), tmp_path / "longer.mp4"
    with writing(out, WIDTH, HEIGHT) as writer:
        assert writer.carry(Film(film), frames) is None
        for picture in shot(2, NEW):
            writer.write_rgb(np.asarray(picture))
        assert writer.frames == frames + NEW
    stored, longer = ([bytes(packet) for packet in Film(path).packets()] for path in (film, out))
    assert longer[:frames] == stored
    assert planes(out)[:frames] == planes(film)
    with av.open(str(out)) as container:  # another reader than ours: where every frame is shown
        stream = container.streams.video[0]
        assert stream.time_base is not None
        shown = [frame.pts * stream.time_base * 24 for frame in container.decode(stream)]
    assert [at - shown[0] for at in shown] == list(range(frames + NEW))


def test_what_follows_is_as_if_it_stood_alone(tmp_path: Path) -> None:
    film, out = write(tmp_path / "film.mp4", 30), tmp_path / "longer.mp4"
    with FilmWriter(out, WIDTH, HEIGHT) as writer:
        writer.carry(Film(film), 30)
        for picture in shot(1, 30):
            writer.write_rgb(np.asarray(picture))
    assert planes(out) == 2 * planes(film)


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (("-itsscale", "1.5"), ("-c", "copy"), "not of 24 frames"),
        ((), ("-c:v", "mpeg4"), "mpeg4"),
        ((), ("-c:v", "libx264", "-preset", "slow"), "other settings"),
        ((), ("-vf", "scale=64:64", "-c:v", "libx264"), "64x64"),
        ((), ("-c", "copy", "-metadata:s:v:0", "rotate=90"), "turned by"),
        ((), ("-c", "copy", "-bsf:v", "h264_mp4toannexb", "-f", "mpegts"), "stored"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_written(
    tmp_path: Path, before: tuple[str, ...], after: tuple[str, ...], why: str
) -> None:
    film, out, plain = (tmp_path / name for name in ("film.mp4", "out.mp4", "plain.mp4"))
    ffmpeg(*before, "-i", write(tmp_path / "made.mp4", 30), *after, film)
    with FilmWriter(out, WIDTH, HEIGHT) as writer:
        refused = writer.carry(Film(film), 30)
        assert refused is not None
        assert why in refused
        for picture in shot(1, NEW):
            writer.write_rgb(np.asarray(picture))
    assert out.read_bytes() == write(plain, NEW).read_bytes()


def test_other_settings_are_seen(tmp_path: Path) -> None:
    film = write(tmp_path / "film.mp4", 5)
    fast = EncodeSettings(preset="ultrafast")
    with FilmWriter(tmp_path / "out.mp4", WIDTH, HEIGHT, settings=fast) as writer:
        assert writer.carry(Film(film), 5) == "it was coded with other settings"
        writer.write_rgb(np.zeros((HEIGHT, WIDTH, 3), np.uint8))


def test_units_between_the_layouts() -> None:
    sps, pps = b"\x67abc", b"\x68d"
    mp4 = b"\1abc\xff\xe1\0\4" + sps + b"\1\0\2" + pps
    assert parameter_sets(mp4) == [sps, pps]
    assert parameter_sets(b"\0\0\0\1" + sps + b"\0\0\1" + pps + b"\0\0\1\x06sei") == [sps, pps]
    assert parameter_sets(mp4[:9]) is None or parameter_sets(mp4[:9]) != [sps, pps]
    assert parameter_sets(mp4.replace(b"\xff\xe1", b"\xfd\xe1")) is None
    assert with_start_codes(b"\0\0\0\2ab\0\0\0\1c") == b"\0\0\0\1ab\0\0\0\1c"
    assert with_start_codes(b"\0\0\0\5ab") is None

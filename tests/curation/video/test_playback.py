"""Films brought to one size at 24 frames per second, and films that grow."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from curation.video.encode import FilmWriter
from curation.video.film import Film
from curation.video.growing import GrowingFilmWriter
from curation.video.playback import played, rgb_of

WIDTH, HEIGHT = 64, 32


def grey(level: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def levels(path: Path, width: int = WIDTH, height: int = HEIGHT) -> list[int]:
    film = Film(path)
    pictures = [rgb_of(frame, film.info.colour) for frame in played(film, width, height)]
    assert {picture.shape for picture in pictures} == {(height, width, 3)}
    return [round(float(picture.mean()) / 10) * 10 for picture in pictures]


@pytest.mark.parametrize(
    ("fps", "expected"),
    [
        (24, [0, 40, 80, 120, 160, 200]),
        (12, [0, 0, 40, 40, 80, 80, 120, 120, 160, 160, 200, 200]),
        (48, [0, 80, 160]),
        (16, [0, 0, 40, 80, 80, 120, 160, 160, 200]),
    ],
)
def test_rates_become_24(tmp_path: Path, fps: int, expected: list[int]) -> None:
    path = tmp_path / "film.mp4"
    with FilmWriter(path, WIDTH, HEIGHT, fps=Fraction(fps)) as writer:
        for level in range(0, 201, 40):
            writer.write_rgb(grey(level))
    assert levels(path) == expected


def test_the_screen_is_filled_from_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "wide.mp4"
    picture = grey(0, 128, 32)
    picture[:, 32:96] = 200
    with FilmWriter(path, 128, 32) as writer:
        writer.write_rgb(picture)
    film = Film(path)
    (shown,) = (rgb_of(frame, film.info.colour) for frame in played(film, 64, 32))
    assert shown[:, 4:-4].min() > 180
    (tall,) = (rgb_of(frame, film.info.colour) for frame in played(film, 32, 64))
    assert tall.min() > 180


def test_a_growing_film_can_be_watched(tmp_path: Path) -> None:
    path = tmp_path / "growing.mp4"
    with GrowingFilmWriter(path, WIDTH, HEIGHT) as writer:
        for number in range(96):
            writer.write_rgb(grey(number * 2))
            if number % 19 == 18:
                assert len(list(Film(path).frames(threads=1))) == writer.watchable
                assert number - 12 <= writer.watchable <= number
    plain = tmp_path / "plain.mp4"
    with FilmWriter(plain, WIDTH, HEIGHT) as writer:
        for number in range(96):
            writer.write_rgb(grey(number * 2))
    ours, theirs = (
        [frame.planes()[0].tobytes() for frame in Film(p).frames(threads=1)] for p in (path, plain)
    )
    assert ours == theirs

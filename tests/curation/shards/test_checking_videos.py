"""What is read back of a shard before it becomes visible."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest

from curation.errors import CurationError
from curation.shards.writing import check_video
from curation.video.encode import FilmWriter

SIZE, FRAMES = (96, 64), 30


def packed(
    frames: int = FRAMES, size: tuple[int, int] = SIZE, fps: Fraction = Fraction(24), gap: int = 0
) -> bytes:
    """A video of noise; `gap`: how much later the second half begins."""
    target, random = io.BytesIO(), np.random.default_rng(0)
    with FilmWriter(target, *size, fps=fps) as writer:
        for k in range(frames):
            picture = random.integers(0, 256, (size[1], size[0], 3), np.uint8)
            writer.write_rgb(picture, k + gap * (k >= frames // 2))
    return target.getvalue()


def test_a_video_as_it_was_declared_passes() -> None:
    check_video(packed(), "ab", FRAMES, SIZE)


@pytest.mark.parametrize(
    ("video", "words"),
    [
        (packed(FRAMES - 1), "29 frames in the mp4, 30 declared"),
        (packed(size=(64, 64)), "frame 0 is .*64x64"),
        (packed(fps=Fraction(25)), "25.0 frames per second"),
        (packed(gap=1), "frame"),
    ],
)
def test_what_was_not_declared_is_refused(video: bytes, words: str) -> None:
    with pytest.raises(CurationError, match=words):
        check_video(video, "ab", FRAMES, SIZE)


def test_frames_that_cannot_be_decoded_are_found() -> None:
    whole = packed()
    with av.open(io.BytesIO(whole), "r") as container:
        places = [packet.pos for packet in container.demux() if packet.size]
    assert len(places) == FRAMES
    for place in places:
        assert place is not None
        damaged = bytearray(whole)
        damaged[place : place + 4] = bytes([255] * 4)  # the length of what follows
        with pytest.raises(CurationError):
            check_video(bytes(damaged), "ab", FRAMES, SIZE)


def test_half_a_video_is_found() -> None:
    whole = packed()
    for length in (0, 100, len(whole) // 2, len(whole) - 1000):
        with pytest.raises(CurationError):
            check_video(whole[:length], "ab", FRAMES, SIZE)

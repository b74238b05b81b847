import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.report.document import FRAME_RATES
from curation.report.yields import buckets, size_names, usable, usable_frames


@given(st.integers(0, 2000), st.sampled_from(FRAME_RATES))
def test_usable_frames_are_those_of_the_longest_4n_plus_1_run(frames: int, rate: int) -> None:
    shown = list(range(0, frames, 24 // rate))
    runs = [length for length in range(1, len(shown) + 1) if length % 4 == 1]
    expected = max(runs, default=0)
    assert usable_frames(np.asarray([frames]), rate)[0] == expected


def test_stage_one_takes_121_frames_at_each_rate_it_says() -> None:
    # The tree's root of 481 frames at 24 fps is 121 at 6 fps and 241 at 12 (TempoMaster section 3).
    assert [usable_frames(np.asarray([481]), rate)[0] for rate in FRAME_RATES] == [121, 241, 481]


@pytest.mark.parametrize(
    ("width", "height", "name"),
    [
        (1920, 1080, "16:9 1080p"), (832, 480, "16:9 480p"), (1280, 544, "21:9 480p"),
        (640, 480, "4:3 480p"), (720, 1280, "9:16 720p"), (200, 200, "1:1 <240p"),
        (1280, 718, "16:9 480p"), (3840, 2160, "16:9 2160p"), (768, 1024, "3:4 720p"),
    ],
)  # fmt: skip
def test_sizes_are_named_by_aspect_and_the_lines_they_reach(
    width: int, height: int, name: str
) -> None:
    assert size_names(np.asarray([width]), np.asarray([height])) == [name]


def test_buckets_add_up_to_the_whole() -> None:
    random = np.random.default_rng(1)
    frames = random.integers(1, 500, 300)
    seconds = frames / 24
    names = size_names(random.integers(100, 4000, 300), random.integers(100, 2200, 300))
    mask = random.random(300) < 0.5
    found = buckets(names, seconds, frames, mask)
    assert sum(bucket.amount.clips for bucket in found) == mask.sum()
    assert sum(bucket.amount.hours for bucket in found) == pytest.approx(seconds[mask].sum() / 3600)
    for rate, whole in usable(frames, mask).items():
        assert sum(bucket.usable[rate] for bucket in found) == whole
    assert {bucket.size for bucket in found} == set(names)

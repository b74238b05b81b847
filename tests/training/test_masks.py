"""Which frames are given: each kind by its definition, the mixture, and the rule for shots."""

from collections import Counter
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.draws import Draws, Purpose
from training.masks import MaskConfig, MaskKind, MaskMixture, draw_mask

LENGTHS = st.integers(0, 40).map(lambda n: 4 * n + 1)
SEEDS = st.integers(0, 2**32)
NOTHING = {"random": 0.0}


def only(kind: MaskKind, **fields: float) -> MaskConfig:
    weights: dict[str, float] = {"random": 0.0, kind: 1.0}
    return MaskConfig(MaskMixture(**weights), **fields)


def drawn(config: MaskConfig, frames: int, seed: int, shots: list[int] | None = None) -> list[int]:
    """Which frames are given."""
    numbers = np.array(shots or [0] * frames)
    mask = draw_mask(config, numbers, Draws(seed, Purpose.MASK))
    assert mask.given.shape == (frames,)
    return np.flatnonzero(mask.given).tolist()


@settings(deadline=None)
@given(LENGTHS, SEEDS)
def test_regular_kinds(frames: int, seed: int) -> None:
    assert drawn(only("every2"), frames, seed) == list(range(0, frames, 2))
    assert drawn(only("every4"), frames, seed) == list(range(0, frames, 4))
    assert drawn(only("first"), frames, seed) == [0]
    assert drawn(only("first_last"), frames, seed) == sorted({0, frames - 1})
    assert drawn(only("none"), frames, seed) == []


def test_random_gives_none_to_15_percent_each_number_as_often_and_each_frame_as_often() -> None:
    draws = [drawn(only("random"), 121, seed) for seed in range(3800)]
    numbers = Counter(len(frames) for frames in draws)
    assert set(numbers) == set(range(19))  # 18 of 121 frames are 14.9 %, 19 would be 15.7 %
    assert max(abs(count - 200) for count in numbers.values()) < 5 * np.sqrt(200)
    frames = Counter(frame for given_frames in draws for frame in given_frames)
    mean = sum(map(len, draws)) / 121
    assert max(abs(frames[k] - mean) for k in range(121)) < 5 * np.sqrt(mean)


def test_a_prefix_is_of_any_length_up_to_its_share() -> None:
    draws = [drawn(only("prefix"), 33, seed) for seed in range(1600)]
    assert all(frames == list(range(len(frames))) for frames in draws)
    numbers = Counter(map(len, draws))
    assert set(numbers) == set(range(1, 17))
    assert max(abs(count - 100) for count in numbers.values()) < 5 * np.sqrt(100)
    assert drawn(only("prefix"), 1, 0) == [0]


def test_kinds_come_by_their_weights() -> None:
    mixture = MaskMixture(random=1, every2=2, every4=0, first=0.5, prefix=0.5)
    config = MaskConfig(mixture)
    kinds = Counter(
        draw_mask(config, np.zeros(33, np.intp), Draws(seed, Purpose.MASK)).kind
        for seed in range(4000)
    )
    assert set(kinds) == {"random", "every2", "first", "prefix"}
    for kind, expected in (("random", 1000), ("every2", 2000), ("first", 500), ("prefix", 500)):
        assert abs(kinds[kind] - expected) < 5 * np.sqrt(expected)


@settings(deadline=None)
@given(st.floats(0, 1, exclude_max=True), st.sampled_from(get_args(MaskKind)))
def test_a_kind_without_weight_never_comes(share: float, kind: MaskKind) -> None:
    weights = dict.fromkeys(get_args(MaskKind), 0.1) | {kind: 0.0}
    assert MaskMixture(**weights).kind_at(share) != kind


@settings(deadline=None)
@given(SEEDS, st.lists(st.integers(1, 30), min_size=2, max_size=5), st.floats(0, 1))
def test_a_shot_keeps_all_its_given_frames_or_loses_all(
    seed: int, lengths: list[int], probability: float
) -> None:
    shots = [number for number, length in enumerate(lengths) for _ in range(length)]
    before = set(range(0, len(shots), 2))
    after = set(drawn(only("every2", shot_dropout=probability), len(shots), seed, shots))
    for number in set(shots):
        of_shot = {k for k in before if shots[k] == number}
        assert after & of_shot in (set(), of_shot)
    assert after <= before


@pytest.mark.parametrize("kind", ["random", "every2", "every4", "first", "first_last", "prefix"])
def test_shots_that_are_chosen_lose_everything(kind: MaskKind) -> None:
    shots = [0] * 17 + [1] * 16
    for seed in range(20):
        assert drawn(only(kind, shot_dropout=1.0), 33, seed, shots) == []
        kept = drawn(only(kind, shot_dropout=0.0), 33, seed, shots)
        assert kept == drawn(only(kind), 33, seed)


def test_each_shot_is_chosen_by_itself_and_half_of_the_time() -> None:
    shots = [0] * 9 + [1] * 8
    kept = Counter(
        tuple(sorted({shots[k] for k in drawn(only("every2"), 17, seed, shots)}))
        for seed in range(2000)
    )
    assert set(kept) == {(), (0,), (1,), (0, 1)}
    assert max(abs(count - 500) for count in kept.values()) < 5 * np.sqrt(500)


@settings(deadline=None)
@given(SEEDS)
def test_a_single_shot_loses_nothing(seed: int) -> None:
    assert drawn(only("every4", shot_dropout=1.0), 33, seed) == list(range(0, 33, 4))
    # It may be any shot of its sample.
    assert drawn(only("every4", shot_dropout=1.0), 33, seed, [3] * 33) == list(range(0, 33, 4))


@pytest.mark.parametrize("fields", [NOTHING, {"first": -1.0}, {"none": float("nan")}])
def test_mixtures_of_nothing_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"masks\.mixture"):
        MaskMixture(**fields)


@pytest.mark.parametrize("name", ["max_random_share", "max_prefix_share", "shot_dropout"])
def test_shares_are_shares(name: str) -> None:
    for value in (-0.1, 1.1):
        with pytest.raises(ValueError, match=rf"masks\.{name}"):
            MaskConfig(**{name: value})  # type: ignore[arg-type] - fields by name

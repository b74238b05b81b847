"""Intervals against closed forms and scipy's own bootstrap; differences that are there or not."""

import math

import numpy as np
import pytest
from scipy import stats

from evaluation.score import DIMENSIONS, total_score
from evaluation.statistics import Draws, percent, sign_flip_p

COUNT = 246
"""Prompts of VBench's image-to-video suite that count for dynamic degree."""


def named(values: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> dict[str, float]:
    return {f"p{number:03d}": float(value) for number, value in enumerate(values)}


def drawn(count: int, **settings: float) -> Draws:
    return Draws([f"p{number:03d}" for number in range(count)], **settings)  # type: ignore[arg-type]  # numbers


def test_dynamic_degree_alone_leaves_a_third_of_a_point_of_doubt_in_the_total() -> None:
    # Half of 246 videos move: the share's error is sqrt(1/4 / 246), its part of the total 0.5/5.5.
    flat = named(np.full(COUNT, 50.0))
    moving = named(np.where(np.arange(COUNT) % 2, 100.0, 0.0))
    metrics = dict.fromkeys(DIMENSIONS, flat) | {"dynamic_degree": moving}
    closed = 100 * math.sqrt(0.25 / COUNT) * 0.5 / 5.5
    assert closed == pytest.approx(0.29, abs=0.01)
    found = drawn(COUNT).total(metrics)
    assert found.standard_error == pytest.approx(closed, rel=0.03)
    assert found.high - found.low == pytest.approx(2 * 1.96 * closed, rel=0.05)
    assert found.mean == pytest.approx(total_score(dict.fromkeys(DIMENSIONS, 50.0)))


def test_an_interval_is_that_of_the_normal_law_and_of_scipys_bootstrap() -> None:
    values = np.random.default_rng(2).normal(60, 10, 150)
    found = drawn(150).estimate(named(values))
    error = values.std() / math.sqrt(150)
    assert found.mean == pytest.approx(values.mean())
    assert found.standard_error == pytest.approx(error, rel=0.03)
    assert (found.low, found.high) == pytest.approx(
        (values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.1 * error
    )
    theirs = stats.bootstrap((values,), np.mean, method="percentile", rng=5)
    assert (found.low, found.high) == pytest.approx(
        tuple(theirs.confidence_interval), abs=0.1 * error
    )


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(200):
        estimate = drawn(40, level=0.9, resamples=400).estimate(named(rng.normal(50, 8, 40)))
        held += estimate.low <= 50 <= estimate.high
    # 0.9 of 200 within three standard errors of the count, and a little less for 40 prompts.
    assert 160 <= held <= 195


def test_prompts_are_drawn_and_not_videos() -> None:
    # Ten seeds that agree tell no more of other prompts than one does.
    raw = np.random.default_rng(6).uniform(size=30)
    one = percent({f"p{k:03d}": [value] for k, value in enumerate(raw)})
    ten = percent({f"p{k:03d}": [value] * 10 for k, value in enumerate(raw)})
    estimates = [drawn(30).estimate(values) for values in (one, ten)]
    assert estimates[0].low == pytest.approx(estimates[1].low)
    assert estimates[0].standard_error == pytest.approx(estimates[1].standard_error)


def test_metrics_of_other_prompts_share_the_draws() -> None:
    values = np.random.default_rng(8).normal(50, 5, 60)
    everything = named(values)
    half = {prompt: value for prompt, value in everything.items() if int(prompt[1:]) % 2}
    draws = drawn(60)
    assert draws.estimate(half).prompts == 30
    sum_of_same = draws.estimate_of(
        {"a": everything, "b": {p: -v for p, v in everything.items()}}, lambda m: m["a"] + m["b"]
    )
    assert sum_of_same.standard_error == pytest.approx(0.0, abs=1e-9)
    metrics = dict.fromkeys(DIMENSIONS, everything) | {"dynamic_degree": half}
    assert draws.total(metrics).prompts == 60


def test_a_real_difference_is_resolved_and_noise_is_not() -> None:
    rng = np.random.default_rng(10)
    base = rng.normal(60, 15, 100)
    better, other = base + rng.normal(1.5, 2, 100), base + rng.normal(0, 2, 100)
    draws = drawn(100)
    found = draws.difference(named(base), named(better))
    assert found.resolved
    assert found.estimate.mean == pytest.approx((better - base).mean())
    assert found.p_value < 0.001
    # Paired: prompts differ by 15 points, yet a gap of 1.5 is told.
    assert found.estimate.standard_error < 0.25
    assert not draws.difference(named(base), named(other)).resolved


def test_a_handful_of_prompts_that_agree_resolves_nothing() -> None:
    for count, resolved in ((1, False), (3, False), (5, False), (6, True)):
        first, second = named(np.full(count, 50.0)), named(50.0 + np.arange(1.0, count + 1))
        found = drawn(count).difference(first, second)
        assert found.resolved is resolved
        assert found.p_value == pytest.approx(min(1.0, 2 / 2**count))


def test_the_sign_flip_test_is_exact() -> None:
    gaps = np.array([1.0, 2.0, -0.5, 3.0])
    signs = np.array(np.meshgrid(*[[-1, 1]] * 4)).reshape(4, -1)
    means = (signs * np.abs(gaps)[:, None]).mean(axis=0)
    expected = 2 * min((means >= gaps.mean()).mean(), (means <= gaps.mean()).mean())
    assert sign_flip_p(gaps) == pytest.approx(expected)
    assert sign_flip_p(np.zeros(4)) == 1.0


def test_the_same_numbers_give_the_same_intervals() -> None:
    values = named(np.random.default_rng(1).normal(50, 5, 25))
    assert drawn(25).estimate(values) == drawn(25).estimate(values)


def test_one_prompt_tells_nothing_of_others() -> None:
    found = drawn(1).estimate({"p000": 70.0})
    assert (found.mean, found.low, found.high, found.standard_error) == (70.0, 70.0, 70.0, 0.0)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="each once"):
        Draws(["a", "a"])
    with pytest.raises(ValueError, match="at least one"):
        Draws([])
    with pytest.raises(ValueError, match="level"):
        drawn(3, level=95)
    with pytest.raises(ValueError, match="resamples"):
        drawn(3, resamples=0)
    with pytest.raises(ValueError, match="not among"):
        drawn(3).estimate({"stranger": 1.0})
    with pytest.raises(ValueError, match="share no prompt"):
        drawn(2).difference({"p000": 1.0}, {"p001": 1.0})
    with pytest.raises(ValueError, match="proxy_"):
        drawn(2).total({f"proxy_{name}": {"p000": 1.0} for name in DIMENSIONS})
    with pytest.raises(ValueError, match="p000"):
        percent({"p000": []})

import itertools

import numpy as np
import pytest

from evaluation.score import DIMENSIONS, total_score
from evaluation.variants import Variant
from tests.evaluation.judged import FAST, SLOW, drawn, evaluation, shown, video

SUBJECT = ("subject_consistency", "motion_smoothness", "dynamic_degree", "imaging_quality",
           "aesthetic_quality")  # fmt: skip
BACKGROUND = ("background_consistency", "imaging_quality", "aesthetic_quality")


def test_a_table_of_one_metric() -> None:
    prompts = [shown(name) for name in "abc"]
    values = {("a", 0): 0.2, ("a", 1): 0.4, ("b", 0): 0.6, ("c", 0): 0.5}
    videos = [
        video(name, 0, {"imaging_quality": value}, seed=seed)
        for (name, seed), value in values.items()
    ]
    found = evaluation(prompts, videos, [FAST])
    (row,) = found.variants
    # Seeds of a prompt first: a counts 0.3, once.
    assert row.metrics["imaging_quality"].mean == pytest.approx(100 * (0.3 + 0.6 + 0.5) / 3)
    assert row.metrics["imaging_quality"].prompts == 3
    assert row.total is None
    assert row.videos == 4
    assert found.differences == ()
    assert found.measures == ("imaging_quality",)


def test_totals_are_made_of_means_over_each_dimension_s_own_prompts() -> None:
    """As VBench's image-to-video suite has it: no prompt counts for all six."""
    prompts = [shown(f"s{n}", dimensions=SUBJECT) for n in range(7)]
    prompts += [shown(f"b{n}", dimensions=BACKGROUND) for n in range(4)]
    seeds = itertools.count()
    values = {
        (prompt.id, variant, name): drawn(next(seeds))
        for prompt in prompts for variant in (0, 1) for name in DIMENSIONS
    }  # fmt: skip
    videos = [
        video(prompt.id, variant, {name: values[prompt.id, variant, name] for name in DIMENSIONS})
        for prompt in prompts for variant in (0, 1)
    ]  # fmt: skip
    found = evaluation(prompts, videos)
    totals = []
    for variant, row in enumerate(found.variants):
        means = {
            name: 100 * np.mean([
                values[prompt.id, variant, name]
                for prompt in prompts if name in prompt.dimensions
            ])
            for name in DIMENSIONS
        }  # fmt: skip
        assert row.total is not None
        assert row.total.mean == pytest.approx(total_score(means))
        assert row.metrics["background_consistency"].prompts == 4
        totals.append(row.total.mean)
    by_measure = {difference.measure: difference for difference in found.differences}
    assert list(by_measure) == ["total", *DIMENSIONS]
    total = by_measure["total"]
    assert total.estimate.mean == pytest.approx(totals[1] - totals[0])
    assert total.estimate.low < total.estimate.mean < total.estimate.high
    assert total.estimate.prompts == 11


def test_a_difference_is_resolved_prompt_by_prompt() -> None:
    """Prompts differ much more than the variants do, and that is no matter."""
    prompts = [shown(f"p{n}") for n in range(8)]
    values = {prompt.id: drawn(n) for n, prompt in enumerate(prompts)}
    videos = [video(name, 0, {"imaging_quality": value}) for name, value in values.items()]
    better = [
        video(name, 1, {"imaging_quality": value + 0.001 * (1 + n % 2)})
        for n, (name, value) in enumerate(values.items())
    ]
    (found,) = evaluation(prompts, [*videos, *better]).differences
    assert found.resolved
    assert found.estimate.mean == pytest.approx(0.15)
    # Half of the prompts up, half down: nothing.
    mixed = [
        video(name, 1, {"imaging_quality": value + (-1) ** n * 0.01})
        for n, (name, value) in enumerate(values.items())
    ]
    (found,) = evaluation(prompts, [*videos, *mixed]).differences
    assert not found.resolved
    # Four prompts prove nothing, however alike they move.
    few = evaluation(prompts[:4], [*videos[:4], *better[:4]])
    assert not few.differences[0].resolved


def test_a_prompt_without_a_partner_is_not_compared() -> None:
    prompts = [shown(name) for name in "abc"]
    videos = [video(name, 0, {"imaging_quality": 0.5}) for name in "abc"]
    videos.append(video("a", 1, {"imaging_quality": 0.9}))
    (found,) = evaluation(prompts, videos).differences
    assert found.estimate.mean == pytest.approx(40)
    assert found.estimate.prompts == 1


def test_lengths_are_compared_with_their_like_and_with_the_first() -> None:
    variants = [FAST, SLOW, Variant(FAST.schedule, 121), Variant(SLOW.schedule, 121)]
    prompts = [shown("a")]
    videos = [video("a", number, {"imaging_quality": 0.5}) for number in range(4)]
    found = evaluation(prompts, videos, variants).differences
    assert {(one.first, one.second) for one in found} == {(0, 1), (0, 2), (0, 3), (2, 3)}


def test_surrogates_have_no_total_even_when_all_six_are_there() -> None:
    values = {f"proxy_{name}": 0.5 for name in DIMENSIONS}
    found = evaluation([shown("a")], [video("a", 0, values)], [FAST])
    assert found.variants[0].total is None
    assert found.proxy
    both = values | dict.fromkeys(DIMENSIONS, 0.5)
    assert evaluation([shown("a")], [video("a", 0, both)], [FAST]).variants[0].total is None


def test_costs_leave_interrupted_videos_out() -> None:
    value = {"imaging_quality": 0.5}
    videos = [video("a", 0, value, seconds=None), video("b", 0, value, seconds=4.0)]
    cost = evaluation([shown("a"), shown("b")], videos, [FAST]).variants[0].cost
    assert (cost.seconds, cost.first_segment_seconds, cost.peak_bytes) == (4.0, 2.0, 1 << 30)
    cost = evaluation([shown("a")], videos[:1], [FAST]).variants[0].cost
    assert cost.seconds is None

from evaluation.report.choosing import (
    MAX_PROMPTS,
    curves,
    entries_of,
    extremes,
    shown_prompts,
)
from tests.evaluation.judged import FAST, evaluation, shown, video


def test_extremes_are_the_first_and_last_and_none_is_both() -> None:
    values = [0.9, 0.1, 0.5, 0.3, 0.7]
    prompts = [shown(f"p{n}") for n in range(5)]
    videos = [video(f"p{n}", 0, {"imaging_quality": value}) for n, value in enumerate(values)]
    worst, best = extremes(evaluation(prompts, videos, [FAST]), "imaging_quality")
    assert [one.prompt for one in worst] == ["p1", "p3"]
    assert [one.prompt for one in best] == ["p0", "p4"]
    assert best[0].percent == 90
    assert extremes(evaluation(prompts[:1], videos[:1], [FAST]), "imaging_quality") == ([], [])


def test_a_large_suite_keeps_what_numbers_point_at() -> None:
    prompts = [shown(f"p{n}") for n in range(MAX_PROMPTS + 50)]
    videos = [
        video(prompt.id, 0, {"imaging_quality": 0.5 + n / 1000}) for n, prompt in enumerate(prompts)
    ]
    chosen = shown_prompts(evaluation(prompts, videos, [FAST]), None)
    assert len(chosen) == MAX_PROMPTS
    # The best stand at the suite's very end.
    assert {f"p{MAX_PROMPTS + n}" for n in (47, 48, 49)} <= set(chosen)
    assert chosen == sorted(chosen, key=lambda name: int(name[1:]))


def test_curves_are_means_at_each_moment() -> None:
    prompts = [shown("a"), shown("b")]
    videos = [video("a", 0, {"imaging_quality": 0.4}), video("b", 0, {"imaging_quality": 0.6})]
    one = evaluation(prompts, videos, [FAST])
    found = curves([one], entries_of(one, None), "imaging_quality")
    (series,) = found["clip by clip"]
    assert series.seconds == (0.0, 2.0, 4.0)
    assert [round(value, 6) for value in series.percents] == [50, 49, 48]
    (drift,) = found["likeness to the first clip"]
    assert drift.seconds == (2.0, 4.0)
    assert [round(value, 6) for value in drift.percents] == [50, 45]
    assert curves([one], entries_of(one, None), "aesthetic_quality") == {}

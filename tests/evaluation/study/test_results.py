"""Results against a direct computation, and the rules of exclusion one by one."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from evaluation.study.design import Kind, Task
from evaluation.study.document import Exclusion, Mode, Study
from evaluation.study.report import render_html, render_markdown, write_report
from evaluation.study.results import TOTAL, Results, results_of
from evaluation.study.storage import Answer
from tests.evaluation.study.small import answers_of, asked_of, one_gold, study_of

NONE = Exclusion(None, None, None, None)


def results(study: Study, answers: list[Answer], places: int) -> Results:
    return results_of(
        study, answers, asked_of(study, places), registered_at="2026-01-01", as_registered=True
    )


def by_video(place: int, task: Task, dimension: str) -> int:
    """An opinion that depends on rater, video and dimension, 1 to 5."""
    return 1 + (place * 7 + int(task.clips[0], 16) + len(dimension)) % 5


def test_scores_are_plain_means() -> None:
    study = study_of(3, 4, repeats=3, exclusion=NONE, gold=one_gold(motion_quality=(1, 2)))
    answers = answers_of(study, 5, by_video)
    found = results(study, answers, 5)
    for system in study.systems:
        rated = [a for a in answers if a.kind is Kind.MAIN and a.systems == (system,)]
        assert len(rated) == 5 * 4
        for dimension in study.dimensions:
            expected = np.mean([a.scores[dimension.name] for a in rated])
            assert found.score(system, dimension.name).score.value == pytest.approx(expected)
        totals = [np.mean(list(a.scores.values())) for a in rated]
        assert found.score(system, TOTAL).score.value == pytest.approx(np.mean(totals))
        assert found.score(system, TOTAL).answers == 20
    first = next(c for c in found.comparisons if c.outcome == "motion_quality")
    a, b = (found.score(system, "motion_quality").score.value for system in study.systems[:2])
    assert a is not None
    assert b is not None
    assert first.difference.value == pytest.approx(a - b)
    assert len(found.comparisons) == 3 * 5
    assert all(one.p_holm >= one.p for one in found.comparisons)


def test_a_clear_winner_is_told_apart_and_equals_are_not() -> None:
    study = study_of(3, 12, exclusion=NONE)

    def says(place: int, task: Task, dimension: str) -> int:
        if task.systems == ("system 0",):
            return 5
        return 2 + (int(task.clips[0], 16) + place + len(dimension)) % 2

    found = results(study, answers_of(study, 6, says), 6)
    told = {(c.first, c.second): c.resolved for c in found.comparisons if c.outcome == TOTAL}
    assert told == {
        ("system 0", "system 1"): True,
        ("system 0", "system 2"): True,
        ("system 1", "system 2"): False,
    }
    best = next(c for c in found.comparisons if c.outcome == TOTAL)
    assert best.difference.excludes_zero


def one_bad(study: Study, places: int, bad: int, score: int) -> Results:
    """One rater says the same all the time, or 1 and 5 in turn where score is 0."""

    def says(place: int, task: Task, dimension: str) -> int:
        if place != bad:
            still = task.kind is Kind.GOLD and dimension == "motion_quality"
            return 1 if still else by_video(place, task, dimension)
        if score:
            return score
        return 5 if task.kind is Kind.REPEAT else 1

    return results(study, answers_of(study, places, says), places)


def test_who_fails_gold_is_excluded() -> None:
    rules = dataclasses.replace(NONE, min_gold_share=0.5)
    study = study_of(exclusion=rules, gold=one_gold(motion_quality=(1, 2)))
    found = one_bad(study, 4, bad=2, score=4)
    assert [rater.rater for rater in found.raters if rater.excluded] == ["R002"]
    assert "passed 0 of 1 gold" in found.raters[2].excluded[0]
    assert found.answers == 3 * 12
    assert (
        found.score("system 0", TOTAL).before_exclusion
        != found.score("system 0", TOTAL).score.value
    )


def test_who_says_the_same_all_the_time_is_excluded() -> None:
    study = study_of(exclusion=dataclasses.replace(NONE, max_same_share=0.9))
    found = one_bad(study, 3, bad=0, score=3)
    assert found.raters[0].excluded == ("100% of answers the same (at most 90%)",)
    assert not found.raters[1].excluded


def test_who_contradicts_themselves_is_excluded() -> None:
    study = study_of(repeats=3, exclusion=dataclasses.replace(NONE, max_repeat_gap=1))
    found = one_bad(study, 3, bad=1, score=0)
    assert found.raters[1].excluded == ("repeats differ by 4.00 (at most 1)",)
    assert (found.raters[0].repeat_gap, found.raters[2].repeat_gap) == (0, 0)
    assert all(kept.same == 1 and kept.pairs == 6 for kept in found.consistency)


def test_who_stops_early_is_excluded() -> None:
    study = study_of(exclusion=dataclasses.replace(NONE, min_completed=0.5))
    answers = [a for a in answers_of(study, 3, by_video) if a.rater != "R001" or a.task < 5]
    found = results(study, answers, 3)
    assert found.raters[1].excluded == ("answered 5 of 12 (at least 50%)",)


def test_preferences_see_through_sides() -> None:
    """Everybody prefers system 1, wherever it stands; of 2 and 0, half and half."""
    study = study_of(
        3, 6, mode=Mode.PAIRWISE, exclusion=NONE, repeats=2,
        gold=(dataclasses.replace(one_gold(motion_quality=(-1, -1))[0], videos=_two_gold()),),
    )  # fmt: skip

    def says(_: int, task: Task, __: str) -> int:
        if task.kind is Kind.GOLD:
            return 1 if task.swapped else -1
        if "system 1" in task.systems:
            return -1 if task.systems[0] == "system 1" else 1
        return 0

    found = results(study, answers_of(study, 6, says), 6)
    shares = {
        (c.first, c.second): (c.difference.value, c.votes)
        for c in found.comparisons
        if c.outcome == "semantic_alignment"
    }
    first, tie, second = (
        shares["system 0", "system 1"], shares["system 0", "system 2"],
        shares["system 1", "system 2"],
    )  # fmt: skip
    assert (first[0], tie[0], second[0]) == (0, 0.5, 1)
    assert first[1] is not None
    assert (first[1].first, first[1].second) == (0, 36)
    assert all(rater.gold_passed == rater.gold_asked == 1 for rater in found.raters)
    assert all(kept.same == 1 for kept in found.consistency)
    assert found.left is not None
    assert found.left.value == pytest.approx(0.5)
    assert found.scores == ()
    assert "Preferences" in render_html(found)
    assert "| system 1 | system 2 | Total | 1.00 [1.00, 1.00] |" in render_markdown(found)


def _two_gold() -> tuple[str, ...]:
    from tests.evaluation.study.small import clip_id

    return (clip_id("gold"), clip_id("gold", 2))


@pytest.mark.parametrize("mode", list(Mode))
def test_nothing_answered_is_a_report_too(mode: Mode) -> None:
    study = study_of(mode=mode)
    found = results(study, [], 0)
    assert found.answers == 0
    assert "Nobody has begun yet" in render_html(found)
    json.dumps(found.json(), allow_nan=False)
    render_markdown(found)


def test_the_report_escapes_and_prints_the_paper(tmp_path: Path) -> None:
    study = study_of(2, 3, title='<script>alert(1)</script> | "study" <!--', exclusion=NONE)
    page, markdown, numbers = write_report(
        results(study, answers_of(study, 3, by_video), 3), tmp_path / "report"
    )
    html = page.read_text()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    for printed in ("SkyReels-V2", "3.11", "TempoMaster", "3.69"):
        assert printed in html
        assert printed in markdown.read_text()
    assert "<script>" not in markdown.read_text()
    assert json.loads(numbers.read_text())["scores"][0]["system"] == "system 0"

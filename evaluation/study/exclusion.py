"""Whose answers count: the rules of the study file, applied to one rater at a time. Pure."""

import collections
import dataclasses
from collections.abc import Sequence

from evaluation.study.design import Kind
from evaluation.study.document import Gold, Study
from evaluation.study.storage import Answer


@dataclasses.dataclass(frozen=True, slots=True)
class Conduct:
    """How a rater did, and why their answers do not count where they do not."""

    rater: str
    answered: int
    asked: int
    gold_passed: int
    gold_asked: int
    repeat_gap: float | None
    """Mean absolute difference between first and second answer; None without repeats."""
    same_share: float | None
    """Share of the most frequent answer; None before the first."""
    excluded: tuple[str, ...]
    """Rules that were broken, in words; empty for a rater who counts."""


@dataclasses.dataclass(frozen=True, slots=True)
class Repeated:
    """The same thing shown twice to one rater."""

    rater: str
    dimension: str
    first: int
    second: int


def oriented(answer: Answer, dimension: str) -> int:
    """An answer as if the sides had not been swapped; ratings of one video are as they are."""
    score = answer.scores[dimension]
    return -score if answer.swapped else score


def repeated(study: Study, answers: Sequence[Answer]) -> list[Repeated]:
    """Both answers of every hidden repeat, by dimension."""
    first = {_subject(answer): answer for answer in answers if answer.kind is Kind.MAIN}
    return [
        Repeated(
            answer.rater,
            dimension.name,
            oriented(first[_subject(answer)], dimension.name),
            oriented(answer, dimension.name),
        )
        for answer in answers
        if answer.kind is Kind.REPEAT and _subject(answer) in first
        for dimension in study.dimensions
    ]


def conduct(study: Study, rater: str, answers: Sequence[Answer], asked: int) -> Conduct:
    """Hold a rater against the rules.

    Args:
        study: the study.
        rater: who.
        answers: all of theirs.
        asked: length of their list.
    """
    golds = [answer for answer in answers if answer.kind is Kind.GOLD]
    passed = sum(_passes(study.gold[int(answer.subject)], answer) for answer in golds)
    pairs = repeated(study, answers)
    gap = sum(abs(pair.first - pair.second) for pair in pairs) / len(pairs) if pairs else None
    counts = collections.Counter(
        score for answer in answers if answer.kind is Kind.MAIN for score in answer.scores.values()
    )
    same = max(counts.values()) / counts.total() if counts else None
    return Conduct(
        rater, len(answers), asked, passed, len(golds), gap, same,
        tuple(_broken(study, passed, len(golds), gap, same, len(answers), asked)),
    )  # fmt: skip


def _broken(
    study: Study,
    passed: int,
    golds: int,
    gap: float | None,
    same: float | None,
    answered: int,
    asked: int,
) -> list[str]:
    rules = study.exclusion
    broken = []
    if rules.min_completed is not None and answered < rules.min_completed * asked:
        broken.append(f"answered {answered} of {asked} (at least {rules.min_completed:.0%})")
    if rules.min_gold_share is not None and golds and passed < rules.min_gold_share * golds:
        broken.append(f"passed {passed} of {golds} gold (at least {rules.min_gold_share:.0%})")
    if rules.max_repeat_gap is not None and gap is not None and gap > rules.max_repeat_gap:
        broken.append(f"repeats differ by {gap:.2f} (at most {rules.max_repeat_gap:g})")
    if rules.max_same_share is not None and same is not None and same > rules.max_same_share:
        broken.append(f"{same:.0%} of answers the same (at most {rules.max_same_share:.0%})")
    return broken


def _passes(gold: Gold, answer: Answer) -> bool:
    return all(
        low <= oriented(answer, dimension) <= high for dimension, (low, high) in gold.accept.items()
    )


def _subject(answer: Answer) -> tuple[str, str, frozenset[str]]:
    return answer.rater, answer.subject, frozenset(answer.systems)

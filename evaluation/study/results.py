"""What a study found: the typed document that results.json is, and that the report shows.

Everything follows from the study file and the answers; nothing is drawn anew from one report to the
next. What counts was fixed before: the rules of exclusion, the pairs that are compared, and one
family of tests for Holm's correction, all pairs on all outcomes.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from evaluation.study import statistics
from evaluation.study.design import Kind, schedule
from evaluation.study.document import SIGNIFICANT, Mode, Study, fingerprint
from evaluation.study.exclusion import Conduct, conduct, oriented, repeated
from evaluation.study.paper import TABLE_2, Printed
from evaluation.study.statistics import F64, Interval, Table
from evaluation.study.storage import Answer, Store

TOTAL = "total"
SCHEMA_VERSION = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Score:
    """A system's mean opinion score on an outcome."""

    system: str
    outcome: str
    score: Interval
    answers: int
    before_exclusion: float | None
    """The mean with every rater's answers."""


@dataclasses.dataclass(frozen=True, slots=True)
class Votes:
    """Answers for the first system, for neither, for the second."""

    first: int
    same: int
    second: int


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """Two systems on an outcome, item by item.

    Attributes:
        difference: of mean opinion scores, first minus second; in pairwise mode the share of
            answers that prefer the first, ties counted half.
        votes: in pairwise mode, how the answers went.
        items: that were answered for both.
        statistic: Wilcoxon's, None where no item differs.
        p: two-sided, of this test alone.
        p_holm: that holds for all tests of the report together.
    """

    first: str
    second: str
    outcome: str
    difference: Interval
    votes: Votes | None
    items: int
    statistic: float | None
    p: float
    p_holm: float

    @property
    def resolved(self) -> bool:
        """Whether the study tells the two apart."""
        return self.p_holm < SIGNIFICANT


@dataclasses.dataclass(frozen=True, slots=True)
class Agreement:
    """How far raters agree on a dimension."""

    dimension: str
    alpha: Interval
    """Krippendorff's, ordinal; None where all answers are the same or none overlap."""


@dataclasses.dataclass(frozen=True, slots=True)
class Consistency:
    """How far raters agree with themselves on hidden repeats."""

    dimension: str
    pairs: int
    same: float | None
    within_one: float | None
    mean_gap: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class Results:
    """All that a report holds."""

    title: str
    mode: str
    fingerprint: str
    registered_at: str | None
    """None: the study was never served."""
    as_registered: bool
    """The study file is the registered one."""
    dimensions: dict[str, str]
    """Name -> title."""
    systems: tuple[str, ...]
    items: int
    raters: tuple[Conduct, ...]
    answers: int
    """That count."""
    scores: tuple[Score, ...]
    """Empty in pairwise mode."""
    comparisons: tuple[Comparison, ...]
    agreement: tuple[Agreement, ...]
    consistency: tuple[Consistency, ...]
    left: Interval | None
    """Pairwise: share of the left side among answers that prefer one. Far from a half, raters
    looked at sides."""
    paper: tuple[Printed, ...] = TABLE_2
    schema_version: int = SCHEMA_VERSION

    def json(self) -> dict[str, Any]:
        """As results.json holds it."""
        document = dataclasses.asdict(self)
        for plain, comparison in zip(document["comparisons"], self.comparisons, strict=True):
            plain["resolved"] = comparison.resolved
        return document

    def score(self, system: str, outcome: str) -> Score:
        """One of the scores."""
        return next(s for s in self.scores if (s.system, s.outcome) == (system, outcome))

    @property
    def counted(self) -> tuple[Conduct, ...]:
        """Raters whose answers count."""
        return tuple(rater for rater in self.raters if not rater.excluded)


def collect(study: Study, store: Store) -> Results:
    """Read a study's database and work out everything."""
    registered = store.registration()
    mark = fingerprint(study)
    places = {rater.rater: rater.place for rater in store.raters()}
    asked = {
        rater: len(schedule(study, place)) for rater, place in places.items() if place is not None
    }
    return results_of(
        study,
        store.answers(),
        asked,
        registered_at=registered[1] if registered else None,
        as_registered=registered is not None and registered[0] == mark,
    )


def results_of(
    study: Study,
    answers: Sequence[Answer],
    asked: dict[str, int],
    *,
    registered_at: str | None,
    as_registered: bool,
) -> Results:
    """The results of some answers.

    Args:
        study: the study.
        answers: everybody's.
        asked: rater -> length of their list, of all who began.
        registered_at: when the study was fixed.
        as_registered: whether the study file is still that one.
    """
    raters = tuple(
        conduct(study, rater, [a for a in answers if a.rater == rater], length)
        for rater, length in sorted(asked.items())
    )
    barred = {rater.rater for rater in raters if rater.excluded}
    main = [answer for answer in answers if answer.kind is Kind.MAIN]
    counted = [answer for answer in main if answer.rater not in barred]
    gathered = _table(study, counted)
    return Results(
        title=study.title,
        mode=study.mode.value,
        fingerprint=fingerprint(study),
        registered_at=registered_at,
        as_registered=as_registered,
        dimensions={dimension.name: dimension.title for dimension in study.dimensions},
        systems=study.systems,
        items=len(study.items),
        raters=raters,
        answers=len(counted),
        scores=_scores(study, gathered, _table(study, main)) if study.mode is Mode.RATING else (),
        comparisons=_comparisons(study, gathered, counted),
        agreement=_agreement(study, counted),
        consistency=_consistency(study, [a for a in answers if a.rater not in barred]),
        left=_left(study, counted) if study.mode is Mode.PAIRWISE else None,
    )


def _outcomes(study: Study) -> list[str]:
    return [TOTAL, *(dimension.name for dimension in study.dimensions)]


def _values(study: Study, answers: Sequence[Answer]) -> F64:
    """[answers, outcomes]; the total is the mean over dimensions. Pairwise: 1 is for the first."""
    sign = -1 if study.mode is Mode.PAIRWISE else 1
    rows = [[sign * oriented(a, d.name) for d in study.dimensions] for a in answers]
    values = np.array(rows, float).reshape(len(answers), len(study.dimensions))
    return np.column_stack([values.mean(1), values])


def _group(study: Study, answer: Answer) -> int:
    systems = answer.systems[::-1] if answer.swapped else answer.systems
    return study.treatments.index(systems)


def _table(study: Study, answers: Sequence[Answer]) -> Table:
    raters = sorted({answer.rater for answer in answers})
    items = {name: at for at, name in enumerate(sorted({answer.subject for answer in answers}))}
    return statistics.table(
        [raters.index(answer.rater) for answer in answers],
        [items[answer.subject] for answer in answers],
        [_group(study, answer) for answer in answers],
        _values(study, answers),
        len(study.treatments),
    )


def _scores(study: Study, counted: Table, everybody: Table) -> tuple[Score, ...]:
    means, all_means = counted.means(), everybody.means()
    draws = counted.draws(study.seed) if counted.counts.size else np.zeros((0, *means.shape))
    numbers = counted.counts.sum((0, 1))
    return tuple(
        Score(
            system,
            outcome,
            statistics.interval(float(means[k, o]), draws[:, k, o]),
            int(numbers[k]),
            statistics.interval(float(all_means[k, o]), np.zeros(0)).value,
        )
        for k, system in enumerate(study.systems)
        for o, outcome in enumerate(_outcomes(study))
    )


def _comparisons(study: Study, counted: Table, answers: Sequence[Answer]) -> tuple[Comparison, ...]:
    means, items = counted.means(), counted.item_means()
    draws = counted.draws(study.seed) if counted.counts.size else np.zeros((0, *means.shape))
    compared = []
    for number, (first, second) in enumerate(study.pairs):
        for o, outcome in enumerate(_outcomes(study)):
            votes = None
            if study.mode is Mode.PAIRWISE:
                by_item = items[:, number, o]
                value = statistics.interval(
                    float(means[number, o] + 1) / 2, (draws[:, number, o] + 1) / 2
                )
                votes = _votes(study, answers, number, o)
            else:
                a, b = study.systems.index(first), study.systems.index(second)
                by_item = items[:, a, o] - items[:, b, o]
                value = statistics.interval(
                    float(means[a, o] - means[b, o]), draws[:, a, o] - draws[:, b, o]
                )
            statistic, p = statistics.signed_rank(by_item)
            known = int(np.isfinite(by_item).sum())
            compared.append(
                Comparison(first, second, outcome, value, votes, known, statistic, p, 1.0)
            )
    corrected = statistics.holm([one.p for one in compared])
    return tuple(
        dataclasses.replace(one, p_holm=p) for one, p in zip(compared, corrected, strict=True)
    )


def _votes(study: Study, answers: Sequence[Answer], pair: int, outcome: int) -> Votes:
    values = _values(study, [a for a in answers if _group(study, a) == pair])[:, outcome]
    return Votes(int((values > 0).sum()), int((values == 0).sum()), int((values < 0).sum()))


def _agreement(study: Study, answers: Sequence[Answer]) -> tuple[Agreement, ...]:
    raters = sorted({answer.rater for answer in answers})
    units = sorted({(answer.subject, _group(study, answer)) for answer in answers})
    rater_at = {rater: at for at, rater in enumerate(raters)}
    unit_at = {unit: at for at, unit in enumerate(units)}
    found = []
    for dimension in study.dimensions:
        ratings = np.full((len(raters), len(units)), np.nan)
        for answer in answers:
            where = rater_at[answer.rater], unit_at[answer.subject, _group(study, answer)]
            ratings[where] = oriented(answer, dimension.name)
        found.append(
            Agreement(dimension.name, statistics.alpha(ratings, study.answers, study.seed))
        )
    return tuple(found)


def _consistency(study: Study, answers: Sequence[Answer]) -> tuple[Consistency, ...]:
    pairs = repeated(study, answers)
    found = []
    for dimension in study.dimensions:
        gaps = np.array([abs(p.first - p.second) for p in pairs if p.dimension == dimension.name])
        known = len(gaps) > 0
        found.append(
            Consistency(
                dimension.name,
                len(gaps),
                float((gaps == 0).mean()) if known else None,
                float((gaps <= 1).mean()) if known else None,
                float(gaps.mean()) if known else None,
            )
        )
    return tuple(found)


def _left(study: Study, answers: Sequence[Answer]) -> Interval:
    scores = [answer.scores[d.name] for answer in answers for d in study.dimensions]
    left, right = scores.count(-1), scores.count(1)
    return statistics.share(left, left + right)

"""Whether to train again, and whether what was trained takes over: pure rules over catalog rows.

Nothing here reads a table or starts anything, so a decision can be printed, tested and argued about
without being carried out. Its trade-off is caution: whatever cannot be compared is not promoted.
"""

import dataclasses
import datetime as dt
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from curation.records import CheckpointRow, DatasetRow, EvaluationRow, PromotionRow
from model.generator_folder import CodecSpec
from pipelines.train_begin import codec_of, other_latents
from training.errors import CheckpointError

TOTAL = "total"
"""VBench's total score, as a measure."""


@dataclasses.dataclass(frozen=True, slots=True)
class PromotionRule:
    """When a candidate takes the place of the checkpoint that serves.

    All in percent points of an evaluation's means; a higher mean is better.

    Attributes:
        measure: what must rise: "total" (VBench only) or the name of a metric.
        min_gain: by at least so much.
        max_loss: and no other metric may fall by more.
        floor: the least mean of the measure at which any checkpoint may serve; None: any.
    """

    measure: str
    min_gain: float = 0.0
    max_loss: float = 1.0
    floor: float | None = None

    def __post_init__(self) -> None:
        if not self.measure:
            raise ValueError("rule.measure is empty: name a metric, or total")
        for name in ("min_gain", "max_loss"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"rule.{name} = {value}: give 0 or more percent points")


@dataclasses.dataclass(frozen=True, slots=True)
class Known:
    """What the catalog says about a model and its dataset.

    Attributes:
        newest: version of the dataset; None: there is none.
        hours: of its training side.
        serving: checkpoint that was promoted last; None: none was yet.
        judged: decision about a checkpoint that was trained on the newest version.
        decided_at: of the last decision about the model, which the next one must come after.
    """

    newest: DatasetRow | None
    hours: float
    serving: CheckpointRow | None
    judged: PromotionRow | None
    decided_at: dt.datetime | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class TrainingDecision:
    """Whether to train, on what, from where, and why.

    Attributes:
        train: whether.
        reason: in words.
        dataset: ``NAME@VERSION`` that is newest; None: there is none.
        hours: of its training side.
        new_hours: since the version that the serving checkpoint was trained on.
        training: name of the run, the same whenever this is decided again.
        start_from: checkpoint_id whose weights it starts from; None: the recipe's.
        refused: training is due, and cannot start from the serving checkpoint, or be held against
            it; the reason says what to do.
    """

    train: bool
    reason: str
    dataset: str | None
    hours: float
    new_hours: float
    training: str | None
    start_from: str | None
    refused: bool = False

    def but(self, refusal: str) -> "TrainingDecision":
        """The same, refused."""
        reason = f"{self.reason}; but {refusal}"
        return dataclasses.replace(self, train=False, refused=True, reason=reason)


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the candidate takes over.

    Attributes:
        promote: whether.
        reason: in words.
        numbers: metric -> {"candidate", "serving", "gain"}, percent.
    """

    promote: bool
    reason: str
    numbers: dict[str, dict[str, float]]


def decide_training(
    known: Known, model: str, dataset: str, min_new_hours: float, codec: CodecSpec
) -> TrainingDecision:
    """Train when enough training hours have come since the serving checkpoint's version.

    Where `codec`, the recipe's, has other latents than those that the serving checkpoint was
    trained on, its weights are no start, and training is refused: from the recipe's own it would be
    another model under the same name, and days of work that nobody asked for.
    """
    newest, serving = known.newest, known.serving
    if newest is None:
        return TrainingDecision(
            False, f"no version of {dataset!r} is published: curate it first", None, 0.0, 0.0,
            None, None,
        )  # fmt: skip
    reference = f"{newest.name}@{newest.version}"
    same_dataset = serving is not None and serving.dataset == newest.name
    before = serving.dataset_seconds / 3600 if serving is not None and same_dataset else 0.0
    new_hours = known.hours - before
    train, reason = _whether(known, reference, new_hours, min_new_hours)
    decision = TrainingDecision(
        train=train,
        reason=reason,
        dataset=reference,
        hours=known.hours,
        new_hours=new_hours,
        training=f"{model}-{newest.name}-{newest.version}",
        start_from=serving.checkpoint_id if serving else None,
    )
    refusal = _refusal(serving, codec) if train and serving is not None else None
    return decision.but(refusal) if refusal else decision


def _refusal(serving: CheckpointRow, codec: CodecSpec) -> str | None:
    """Why training cannot start from a checkpoint, with the remedy; None: it can."""
    another = "retrain another --model, which begins with the recipe's weights"
    try:
        trained = codec_of(serving.training, json.loads(serving.config))
    except CheckpointError as error:
        return f"{error}; {another}"
    why = other_latents(trained, codec)
    if why is None:
        return None
    # Codecs that differ in more give latents of another shape: no setting alone mends that.
    alike = trained.kind == codec.kind == "dct" and trained.layout == codec.layout
    keep = f"keep its codec (--set train.codec.scale={trained.scale}), or " if alike else ""
    return f"the serving checkpoint {serving.training} {why}: {keep}{another}"


def _whether(
    known: Known, reference: str, new_hours: float, min_new_hours: float
) -> tuple[bool, str]:
    serving, judged = known.serving, known.judged
    origin = f"{serving.dataset}@{serving.version}" if serving else None
    if origin == reference:
        return False, f"the serving checkpoint was trained on {reference}, and it is the newest"
    if judged is not None:
        return False, (
            f"a checkpoint trained on {reference} was judged already and {judged.decision}: "
            f"{judged.reason}"
        )
    if serving is None:
        return True, f"no checkpoint serves yet: the first is trained on {reference}"
    said = f"{new_hours:.3f} new hours since {origin}, where {min_new_hours:g} are asked for"
    return new_hours >= min_new_hours, said


def decide_promotion(
    candidate: Sequence[EvaluationRow], serving: Sequence[EvaluationRow] | None, rule: PromotionRule
) -> Verdict:
    """Whether the candidate takes over, by the means over all schedules it was judged under.

    Args:
        candidate: its evaluation, a row for each schedule and length.
        serving: that of the checkpoint it would replace, of the same suite; None where none serves.
        rule: when it does.

    Raises:
        ValueError: the evaluations do not know the rule's measure, or cannot be compared.
    """
    mine = means(candidate)
    if rule.measure not in mine:
        raise ValueError(
            f"rule.measure = {rule.measure!r}: the evaluation has {', '.join(sorted(mine))}"
        )
    theirs = means(serving) if serving is not None else {}
    if serving is not None:
        _refuse_incomparable(candidate, serving)
    numbers = {name: _compared(mine[name], theirs.get(name)) for name in sorted(mine)}
    level = mine[rule.measure]
    if rule.floor is not None and level < rule.floor:
        said = f"{rule.measure} is {level:.2f}, and nothing below {rule.floor:g} may serve"
        return Verdict(False, said, numbers)
    if serving is None:
        return Verdict(True, f"it is the first ({rule.measure} {level:.2f})", numbers)
    gain = level - theirs[rule.measure]
    if gain < rule.min_gain:
        said = f"{rule.measure} changes by {gain:+.2f}, where {rule.min_gain:+g} is asked for"
        return Verdict(False, said, numbers)
    fallen = {name: mine[name] - theirs[name] for name in mine.keys() & theirs.keys()}
    worst = min(fallen, key=lambda name: (fallen[name], name))
    if fallen[worst] < -rule.max_loss:
        said = f"{worst} falls by {-fallen[worst]:.2f}, where {rule.max_loss:g} may be lost"
        return Verdict(False, said, numbers)
    return Verdict(True, f"{rule.measure} changes by {gain:+.2f}, and nothing falls far", numbers)


def means(rows: Sequence[EvaluationRow]) -> dict[str, float]:
    """Each metric's mean over the rows of an evaluation, and their total where all have one."""
    of_rows: list[Mapping[str, Mapping[str, Any]]] = [json.loads(row.metrics) for row in rows]
    shared = set.intersection(*(set(found) for found in of_rows)) if of_rows else set()
    found = {name: _mean([float(row[name]["mean"]) for row in of_rows]) for name in shared}
    totals = [row.total for row in rows if row.total is not None]
    if rows and len(totals) == len(rows):
        found[TOTAL] = _mean(totals)
    return found


def _refuse_incomparable(one: Sequence[EvaluationRow], other: Sequence[EvaluationRow]) -> None:
    def asked(rows: Sequence[EvaluationRow]) -> set[tuple[str, str, str, int]]:
        return {(row.suite_sha256, row.profile, row.schedule, row.frames) for row in rows}

    if asked(one) != asked(other):
        raise ValueError(
            "the two evaluations were of another suite, profile or schedules: evaluate both again "
            "with one recipe"
        )


def _compared(mine: float, theirs: float | None) -> dict[str, float]:
    if theirs is None:
        return {"candidate": mine}
    return {"candidate": mine, "serving": theirs, "gain": mine - theirs}


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)

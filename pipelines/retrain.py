"""The job that keeps a model fresh: decide, train, evaluate, and promote what is better.

How the two long parts are carried out is the caller's affair (this process, or Prefect tasks), so
the job is the same on a laptop and on a schedule. Running it again goes on where it stopped: the
training run has a name that follows from the decision, videos and judgements are kept, and a
checkpoint that was judged is not judged twice. A model is retrained by one run at a time: who comes
second (a schedule, an event, a person) waits, and decides by what the first has left. Checkpoints
lie in a home, so a model's name belongs to one home, and the lock is a file in it.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from curation.catalog.datasets import check_name, datasets
from curation.catalog.store import Catalog
from curation.identities import canonical_json
from curation.records import (
    CheckpointRow,
    DatasetRow,
    EvaluationRow,
    PromotionRow,
    ShardRow,
    no_earlier_than,
    now,
)
from pipelines.evaluate import Evaluated
from pipelines.evaluate_config import EvaluateConfig, EvaluateRequest
from pipelines.job import Progress, new_run_id
from pipelines.locks import held
from pipelines.retrain_decision import (
    Known,
    PromotionRule,
    TrainingDecision,
    Verdict,
    decide_promotion,
    decide_training,
)
from pipelines.run_record import RunRecord, failure_recorded
from pipelines.settings import Home
from pipelines.train import Trained, TrainRequest
from training.checkpoint_record import GENERATOR, check_generator
from training.config import TrainConfig
from training.errors import DamagedCheckpointError, TrainingError

PROMOTED, KEPT = "promoted", "kept"

TrainJob = Callable[[TrainRequest], Trained]
EvaluateJob = Callable[[EvaluateRequest], Evaluated]


class RetrainError(TrainingError):
    """A step of retraining that has no result to decide by, or that cannot be begun.

    Attributes:
        refused: what was decided, where that is the reason; None: something else is.
    """

    def __init__(self, message: str, *, refused: "Retrained | None" = None) -> None:
        super().__init__(message)
        self.refused = refused


@dataclasses.dataclass(frozen=True, slots=True)
class RetrainConfig:
    """Everything that retraining is free to choose.

    Attributes:
        recipe: its name.
        train: how; its first weights give way to the serving checkpoint's, where one serves.
        evaluate: how both checkpoints are judged.
        rule: when the new one takes over.
        min_new_hours: of the training side, since the version that the serving one was trained on.
    """

    recipe: str
    train: TrainConfig
    evaluate: EvaluateConfig
    rule: PromotionRule
    min_new_hours: float = 1.0

    def __post_init__(self) -> None:
        if not self.min_new_hours >= 0:
            raise ValueError(f"min_new_hours = {self.min_new_hours}: give 0 or more")
        if not self.train.checkpoint.generator:
            raise ValueError(
                "train.checkpoint.generator = false: what is trained could not be evaluated; "
                "set it to true"
            )


@dataclasses.dataclass(frozen=True, slots=True)
class RetrainRequest:
    """What is asked for.

    Attributes:
        config: of a recipe.
        model: name under which a checkpoint serves.
        dataset: whose newest version is looked at.
        suite: prompts that both checkpoints are judged by; None: the newest version's validation
            side.
        ranks: of the training; None: one for each GPU, or one.
    """

    config: RetrainConfig
    model: str
    dataset: str
    suite: str | None = None
    ranks: int | None = None

    def __post_init__(self) -> None:
        check_name(self.model)
        check_name(self.dataset)


@dataclasses.dataclass(frozen=True, slots=True)
class Retrained:
    """What was decided and done.

    Attributes:
        model: its name.
        decision: about training.
        verdict: about promotion; None: nothing was trained.
        serving: checkpoint_id that serves now; None: none does.
        generator: its folder, for `tempo generate`.
    """

    model: str
    decision: TrainingDecision
    verdict: Verdict | None
    serving: str | None
    generator: Path | None

    def document(self) -> dict[str, Any]:
        """As JSON holds it."""
        generator = str(self.generator) if self.generator else None
        return dataclasses.asdict(self) | {"generator": generator}


def explain(request: RetrainRequest, home: Home) -> Retrained:
    """What `retrain` would decide about training now; hashes what serves. Nothing is written."""
    with Catalog.open(home.catalog()) as catalog:
        return _without_training(request, home, catalog)


def retrain(
    request: RetrainRequest,
    home: Home,
    train: TrainJob,
    evaluate: EvaluateJob,
    progress: Progress,
) -> Retrained:
    """Train on the newest version if that is due, judge it, and promote it if it is better.

    Args:
        request: what is asked for.
        home: where checkpoints, evaluations and the lock are.
        train: carries out a training.
        evaluate: carries out an evaluation.
        progress: told when another run is waited for.

    Raises:
        RetrainError: an evaluation is incomplete; or training is refused, as the serving checkpoint
            is of another codec, or has no whole generator to be judged by.
        TrainingError, CurationError, EvaluationError, ValueError: as the parts raise them.
    """
    what = f"another retraining of {request.model}"
    with (
        held(home.retraining(request.model), what, progress.say),
        Catalog.open(home.catalog()) as catalog,
    ):
        run = RunRecord(new_run_id(), "retrain", request.config.recipe, request.config, now())
        with failure_recorded(run, home.catalog(), progress.say):
            done = _retrain(request, home, catalog, train, evaluate, run.run_id)
        catalog.append("runs", [run.row("ok", done.document())])
    return done


def known(catalog: Catalog, model: str, dataset: str) -> Known:
    """What the catalog says about a model and its dataset."""
    versions = [row for row in datasets(catalog) if row.name == dataset]
    newest = versions[-1] if versions else None
    promotions = sorted(
        catalog.rows(PromotionRow, {"model": model}), key=lambda row: row.decided_at
    )
    checkpoints = {
        row.checkpoint_id: row
        for row in catalog.rows(
            CheckpointRow, {"checkpoint_id": sorted({row.candidate for row in promotions})}
        )
    } if promotions else {}  # fmt: skip
    promoted = [row for row in promotions if row.decision == PROMOTED]
    judged = [row for row in promotions if _is_of(checkpoints.get(row.candidate), newest)]
    return Known(
        newest=newest,
        hours=_training_hours(catalog, newest) if newest else 0.0,
        serving=checkpoints.get(promoted[-1].candidate) if promoted else None,
        judged=judged[-1] if judged else None,
        decided_at=promotions[-1].decided_at if promotions else None,
    )


def _is_of(checkpoint: CheckpointRow | None, version: DatasetRow | None) -> bool:
    return (
        checkpoint is not None
        and version is not None
        and (checkpoint.dataset, checkpoint.version) == (version.name, version.version)
    )


def _training_hours(catalog: Catalog, version: DatasetRow) -> float:
    shards = catalog.rows(ShardRow, {"publish_id": version.publish_id})
    return sum(shard.seconds for shard in shards if shard.split == "train") / 3600


def _retrain(
    request: RetrainRequest,
    home: Home,
    catalog: Catalog,
    train: TrainJob,
    evaluate: EvaluateJob,
    run_id: str,
) -> Retrained:
    before = known(catalog, request.model, request.dataset)
    decision = _decision(request, home, before)
    if decision.refused:
        undone = _result(request, home, decision, None, before.serving)
        raise RetrainError(decision.reason, refused=undone)
    if not decision.train:
        return _without_training(request, home, catalog)
    assert decision.dataset is not None
    trained = train(_training(request, home, decision, before.serving))
    suite = request.suite or decision.dataset
    candidate = _judged(request, catalog, evaluate, trained.checkpoint, suite)
    serving = None
    if before.serving is not None:
        folder = home.root / before.serving.uri
        serving = _judged(request, catalog, evaluate, folder, suite)
    verdict = decide_promotion(candidate, serving, request.config.rule)
    row = PromotionRow(
        model=request.model,
        decision=PROMOTED if verdict.promote else KEPT,
        candidate=_checkpoint(catalog, trained).checkpoint_id,
        incumbent=before.serving.checkpoint_id if before.serving else None,
        reason=verdict.reason,
        rule=canonical_json(request.config.rule),
        numbers=canonical_json(verdict.numbers),
        run_id=run_id,
        decided_at=no_earlier_than(now(), before.decided_at),
    )
    catalog.append("promotions", [row])
    serving_now = known(catalog, request.model, request.dataset).serving
    return _result(request, home, decision, verdict, serving_now)


def _without_training(request: RetrainRequest, home: Home, catalog: Catalog) -> Retrained:
    before = known(catalog, request.model, request.dataset)
    return _result(request, home, _decision(request, home, before), None, before.serving)


def _result(
    request: RetrainRequest,
    home: Home,
    decision: TrainingDecision,
    verdict: Verdict | None,
    serving: CheckpointRow | None,
) -> Retrained:
    return Retrained(
        model=request.model,
        decision=decision,
        verdict=verdict,
        serving=serving.checkpoint_id if serving else None,
        generator=_generator(home, serving),
    )


def _decision(request: RetrainRequest, home: Home, before: Known) -> TrainingDecision:
    config = request.config
    decision = decide_training(
        before, request.model, request.dataset, config.min_new_hours, config.train.codec
    )
    if not decision.train or before.serving is None:
        return decision
    # Before days of training, for the serving checkpoint is judged after them.
    lacking = _unjudgeable(home.root / before.serving.uri)
    return decision.but(lacking) if lacking else decision


def _generator(home: Home, row: CheckpointRow | None) -> Path | None:
    return home.root / row.generator_uri if row and row.generator_uri else None


def _unjudgeable(serving: Path) -> str | None:
    """Why a checkpoint cannot be judged, with the remedy; None: its generator is whole.

    Raises:
        CheckpointError: that cannot be seen now, which another time it may be.
    """
    generator = serving / GENERATOR
    if not generator.is_dir():
        return (
            f"the serving checkpoint {serving} has no {GENERATOR}/ to be judged by: "
            f"`tempo export {serving} --to {generator}` makes it"
        )
    try:
        check_generator(generator)
    except DamagedCheckpointError as error:
        return str(error)
    return None


def _training(
    request: RetrainRequest, home: Home, decision: TrainingDecision, serving: CheckpointRow | None
) -> TrainRequest:
    config = request.config.train
    if serving is not None:
        source = str(home.root / serving.uri)
        first = dataclasses.replace(config.network.init, kind="checkpoint", source=source)
        network = dataclasses.replace(config.network, init=first)
        config = dataclasses.replace(config, network=network)
    assert decision.dataset is not None
    assert decision.training is not None
    return TrainRequest(config, decision.dataset, decision.training, request.ranks)


def _judged(
    request: RetrainRequest,
    catalog: Catalog,
    evaluate: EvaluateJob,
    checkpoint: Path,
    suite: str,
) -> Sequence[EvaluationRow]:
    done = evaluate(EvaluateRequest(request.config.evaluate, checkpoint, suite))
    if not done.complete:
        raise RetrainError(
            f"evaluation {done.evaluation.id} is incomplete "
            f"({len(done.evaluation.failures)} failures, see {done.page}): run again, what was "
            "made and judged is kept"
        )
    return catalog.rows(EvaluationRow, {"evaluation_id": done.evaluation.id})


def _checkpoint(catalog: Catalog, trained: Trained) -> CheckpointRow:
    where = {"training": trained.training, "step": trained.steps}
    (row,) = catalog.rows(CheckpointRow, where)
    return row

"""The two stages of an evaluation: missing videos made, missing judgements made, by an engine.

What is there is left alone, and what cannot be made is a failure that costs itself. The trade-off:
judging begins when the last video is made, so that no device holds the checkpoint and the metrics'
networks at once.
"""

import functools
from collections.abc import Iterable, Iterator

from evaluation.errors import EvaluationError
from evaluation.metrics.cache import ResultCache
from evaluation.results import Failure
from evaluation.variants import labels
from pipelines.crew import Limits, StageSetupError
from pipelines.engine import Engine, Failed, ItemT, Outcome, Stage, StateT, ValueT
from pipelines.evaluate_cells import (
    VIDEO,
    Cell,
    discard_nodes,
    is_made,
    load,
    make,
    read_record,
)
from pipelines.evaluate_config import Resources
from pipelines.evaluate_judging import ToJudge, assemble, judge
from pipelines.evaluate_plan import Prepared
from pipelines.job import Progress
from pipelines.settings import Home

_LONGEST_JUDGEMENT = 3600.0
_LONGEST_LOADING = 3600.0


def make_videos(
    prepared: Prepared, home: Home, engine: Engine, progress: Progress
) -> Iterator[Failure]:
    """Have missing videos made; yields what could not be.

    Raises:
        EvaluationError: no worker can be set up.
    """
    for cell in prepared.cells:
        if is_made(home.generated / cell.key):
            discard_nodes(home.generated / cell.key)
    missing = prepared.missing(home)
    if not missing:  # no checkpoint is loaded for nothing
        return
    resources = prepared.config.resources
    home.generated.mkdir(parents=True, exist_ok=True)
    stage = Stage(
        "make videos",
        functools.partial(load, home.generated, missing[0].job),
        make,
        _limits(resources, resources.hours * 3600, resources.device, resources.ranks),
    )
    progress.stage("videos", len(missing))
    for outcome in _mapped(engine, stage, missing, "no video can be made"):
        progress.advance()
        if isinstance(outcome, Failed):
            failure = _failure(prepared, outcome.item, "video", outcome.kind, outcome.message)
            progress.say(f"no video of {failure.prompt}, {failure.label}: {failure.message}")
            yield failure


def judge_videos(
    prepared: Prepared, home: Home, engine: Engine, progress: Progress
) -> Iterator[Failure]:
    """Have videos judged by the metrics that did not yet; yields what could not be.

    Raises:
        EvaluationError: no worker can be set up.
    """
    work = {item.video: (cell, item) for cell, item in _unjudged(prepared, home)}
    if not work:
        return
    resources = prepared.config.resources
    stage = Stage(
        "judge videos",
        functools.partial(assemble, home.judged, prepared.metrics),
        judge,
        _limits(resources, _LONGEST_JUDGEMENT, prepared.config.metrics.device),
    )
    progress.stage("judge", len(work))
    items = [item for _, item in work.values()]
    for outcome in _mapped(engine, stage, items, "no video can be judged"):
        progress.advance()
        cell, item = work[outcome.item.video]
        if isinstance(outcome, Failed):
            failed, kind = dict.fromkeys(item.metrics, outcome.message), str(outcome.kind)
        else:
            failed, kind = outcome.value, "error"
        for name, message in failed.items():
            failure = _failure(prepared, cell, name, kind, message)
            progress.say(f"{name} cannot judge {failure.prompt}, {failure.label}: {message}")
            yield failure


def _unjudged(prepared: Prepared, home: Home) -> Iterator[tuple[Cell, ToJudge]]:
    """Videos that are there, and which metrics have said nothing of them."""
    cache = ResultCache(home.judged)
    for cell in prepared.cells:
        folder = home.generated / cell.key
        if not is_made(folder):
            continue
        sha256 = read_record(folder)["sha256"]
        wanted = [p.name for p in prepared.metrics if cache.get(sha256, p.fingerprint) is None]
        if wanted:
            yield cell, ToJudge(folder / VIDEO, sha256, tuple(wanted))


def _limits(resources: Resources, seconds: float, device: str | None, ranks: int = 1) -> Limits:
    return Limits(
        timeout_seconds=seconds,
        memory_bytes=resources.memory_bytes,
        setup_timeout_seconds=_LONGEST_LOADING,
        threads=resources.threads,
        cpus=float(resources.threads * ranks),
        gpus=float(ranks) if device is not None and device.startswith("cuda") else 0.0,
    )


def _mapped(
    engine: Engine, stage: Stage[StateT, ItemT, ValueT], items: Iterable[ItemT], what: str
) -> Iterator[Outcome[ItemT, ValueT]]:
    try:
        yield from engine.map(stage, items)
    except StageSetupError as error:
        # Not every exception has words: what a worker says of its stage always does.
        raise EvaluationError(f"{what}: {str(error.__cause__ or '') or error}") from error


def _failure(prepared: Prepared, cell: Cell, what: str, kind: str, message: str) -> Failure:
    label = labels(prepared.config.variants)[cell.variant]
    return Failure(cell.prompt, label, cell.seed, what, kind, message)

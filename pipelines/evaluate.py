"""The job that judges a checkpoint: videos made, judged, averaged, recorded, shown.

prepare (nothing is written) -> make missing videos -> judge them -> average -> record -> report.
Videos and judgements are kept by what decides them (`generated/`), so a run that was killed, or
that another one overlaps with, is finished by asking again, and ends with the same numbers. No lock
is held over the home: an evaluation takes days of GPUs, and curation and training go on meanwhile.
"""

import dataclasses
import functools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from curation.catalog.store import Catalog
from curation.records import (
    CheckpointRow,
    EvaluationRow,
    canonical_json,
    digest,
    now,
)
from curation.traces import replacing
from evaluation.aggregate import differences, variant_results
from evaluation.errors import EvaluationError, MissingWeightsError
from evaluation.metrics.build import MetricPlan, plan_metrics
from evaluation.metrics.cache import ResultCache
from evaluation.results import (
    SCHEMA_VERSION,
    Cost,
    Evaluation,
    Failure,
    JudgedVideo,
    Origin,
    PromptShown,
)
from evaluation.statistics import Draws
from evaluation.suites import Suite
from evaluation.variants import labels
from model.errors import CheckpointError
from model.generator_folder import read_spec, warnings_of
from model.tree import plan_tree
from pipelines.crew import Limits, StageSetupError
from pipelines.engine import Engine, Failed, Stage
from pipelines.evaluate_cells import (
    VIDEO,
    Cell,
    cells_of,
    checkpoint_fingerprint,
    is_made,
    load,
    make,
    petaflops,
    read_record,
)
from pipelines.evaluate_config import EvaluateConfig, EvaluateRequest
from pipelines.evaluate_judging import ToJudge, assemble, judge
from pipelines.job import Progress, new_run_id
from pipelines.report_eval import NUMBERS, images_of, write_page, written_alone
from pipelines.run_record import RunRecord, failure_recorded
from pipelines.settings import Home
from pipelines.suites import named_suite
from pipelines.version import code_version

_GENERATOR = "generator"
_LONGEST_JUDGEMENT = 3600.0
_LONGEST_LOADING = 3600.0


@dataclasses.dataclass(frozen=True)
class Prepared:
    """An evaluation that is checked and planned.

    Attributes:
        id: of the evaluation: a hash of all that decides its numbers, after the recipe's name.
        config: with its device and dtype.
        checkpoint: folder of the generator.
        checkpoint_id: of the catalog's checkpoint, where it is one.
        fingerprint: of the generator's files.
        suite: what is shown.
        cells: every video.
        petaflops: of a video of each variant.
        metrics: what judges.
        warnings: what may turn out badly, each with its remedy.
    """

    id: str
    config: EvaluateConfig
    checkpoint: Path
    checkpoint_id: str | None
    fingerprint: str
    suite: Suite
    cells: tuple[Cell, ...]
    petaflops: tuple[float, ...]
    metrics: tuple[MetricPlan, ...]
    warnings: tuple[str, ...]

    def missing(self, home: Home) -> list[Cell]:
        """Cells that have no video yet."""
        return [cell for cell in self.cells if not is_made(home.generated / cell.key)]

    def document(self, home: Home) -> dict[str, Any]:
        """The plan as JSON holds it."""
        missing = Counter(cell.variant for cell in self.missing(home))
        per_variant = len(self.suite.prompts) * len(self.config.seeds)
        rows = [
            {"schedule": label, "videos": per_variant, "missing": missing[number],
             "petaflops": cost, "missing_petaflops": cost * missing[number]}
            for number, (label, cost) in enumerate(
                zip(labels(self.config.variants), self.petaflops, strict=True)
            )
        ]  # fmt: skip
        return {
            "evaluation": self.id,
            "checkpoint": str(self.checkpoint),
            "suite": self.suite.name,
            "prompts": len(self.suite.prompts),
            "metrics": [plan.name for plan in self.metrics],
            "variants": rows,
        }


@dataclasses.dataclass(frozen=True, slots=True)
class Evaluated:
    """What a run found, and where it is.

    Attributes:
        evaluation: all numbers.
        numbers: `evaluation.json`.
        page: the report.
        made: videos made by this run; others were there.
    """

    evaluation: Evaluation
    numbers: Path
    page: Path
    made: int

    @property
    def complete(self) -> bool:
        """Whether every video was made and judged by every metric."""
        return not self.evaluation.failures

    def document(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {
            "evaluation": self.evaluation.id,
            "complete": self.complete,
            "made": self.made,
            "table": self.evaluation.table(),
            "differences": [dataclasses.asdict(d) for d in self.evaluation.differences],
            "failures": [dataclasses.asdict(failure) for failure in self.evaluation.failures],
            "numbers": str(self.numbers),
            "page": str(self.page),
        }


def prepare(request: EvaluateRequest, home: Home, *, tolerant: bool = False) -> Prepared:
    """Check everything that can be checked before a GPU is used; nothing but a suite is written.

    Args:
        request: what is asked for.
        home: where it would be made.
        tolerant: weights of metrics that are missing are a warning, and no metric is planned.

    Raises:
        CheckpointError: the checkpoint cannot be one.
        EvaluationError: weights of a metric are missing.
        CurationError, TrainingError: the suite's dataset cannot be read.
        ValueError: the suite, a size or a schedule is refused.
    """
    checkpoint = _generator(request.checkpoint)
    read_spec(checkpoint)
    config = _on_this_machine(request.config)
    row = _catalogued(home, request.checkpoint, checkpoint)
    suite = named_suite(request.suite or _trained_on(row, checkpoint), home)
    metrics, lacking = _metrics(config, home, tolerant=tolerant)
    fingerprint = checkpoint_fingerprint(checkpoint)
    plans = [plan_tree(variant.tree, variant.frames) for variant in config.variants]
    warnings = [
        *lacking,
        *warnings_of(checkpoint),
        *(text for plan in plans for text in plan.warnings),
    ]
    decisive = {
        "checkpoint": fingerprint,
        "suite": suite.sha256,
        "variants": config.variants,
        "seeds": config.seeds,
        "sampler": config.sampler,
        "confidence": config.confidence,
        "metrics": [[plan.name, plan.fingerprint] for plan in metrics],
    }
    decisive["variants"] = [dataclasses.asdict(variant) for variant in config.variants]
    return Prepared(
        id=f"{config.recipe}-{digest('evaluation', canonical_json(decisive))[:12]}",
        config=config,
        checkpoint=checkpoint,
        checkpoint_id=row.checkpoint_id if row else None,
        fingerprint=fingerprint,
        suite=suite,
        cells=tuple(cells_of(config, suite.prompts, checkpoint, fingerprint)),
        petaflops=tuple(petaflops(variant, config, checkpoint) for variant in config.variants),
        metrics=metrics,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def evaluate(request: EvaluateRequest, home: Home, engine: Engine, progress: Progress) -> Evaluated:
    """Make, judge and average the videos of a checkpoint.

    Failures of single videos or metrics are in the result, and everything else is kept: asking
    again tries them again, and nothing else.

    Args:
        request: what.
        home: where videos, numbers and rows go.
        engine: who does the work.
        progress: who watches.

    Raises:
        CheckpointError, CurationError, TrainingError, ValueError: as `prepare`.
        EvaluationError: no video could be made or judged at all.
    """
    begun, run_id = now(), new_run_id()
    prepared = prepare(request, home)
    for warning in prepared.warnings:
        progress.say(f"warning: {warning}")
    run = RunRecord(run_id, "evaluate", prepared.config.recipe, prepared.config, begun)
    with failure_recorded(run, home.catalog(), progress.say):
        evaluated = _run(prepared, home, engine, progress, run_id)
    status = "ok" if evaluated.complete else "failed"
    rows = _rows(prepared, evaluated, home) if evaluated.complete else []
    with Catalog.open(home.catalog()) as catalog:
        catalog.append("evaluations", rows)
        catalog.append("runs", [run.row(status, evaluated.document())])
    return evaluated


def _run(
    prepared: Prepared, home: Home, engine: Engine, progress: Progress, run_id: str
) -> Evaluated:
    missing = len(prepared.missing(home))
    failures = [*_make(prepared, home, engine, progress), *_judge(prepared, home, engine, progress)]
    evaluation = _evaluation(prepared, home, failures, run_id)
    # Keys are not sorted: metrics keep VBench's order.
    text = json.dumps(evaluation.document(), ensure_ascii=False, separators=(",", ":"))
    with written_alone(home, evaluation.id) as folder:
        numbers = folder / NUMBERS
        with replacing(numbers) as partial:
            partial.write_text(text + "\n", encoding="utf-8")
    page = write_page(home, evaluation, None, images_of(prepared.suite)).page
    made = missing - len(prepared.missing(home))
    return Evaluated(evaluation, numbers, Path(page), made)


def _make(prepared: Prepared, home: Home, engine: Engine, progress: Progress) -> Iterator[Failure]:
    """Have missing videos made; yields what could not be."""
    missing = prepared.missing(home)
    if not missing:  # no checkpoint is loaded for nothing
        return
    resources = prepared.config.resources
    home.generated.mkdir(parents=True, exist_ok=True)
    stage = Stage(
        "make videos",
        functools.partial(load, home.generated, missing[0].job),
        make,
        Limits(
            timeout_seconds=resources.hours * 3600,
            memory_bytes=resources.memory_bytes,
            setup_timeout_seconds=_LONGEST_LOADING,
            threads=resources.threads,
        ),
    )
    progress.stage("videos", len(missing))
    for outcome in _mapped(engine, stage, missing, "no video can be made"):
        progress.advance()
        if isinstance(outcome, Failed):
            failure = _failure(prepared, outcome.item, "video", outcome.kind, outcome.message)
            progress.say(f"no video of {failure.prompt}, {failure.label}: {failure.message}")
            yield failure


def _judge(prepared: Prepared, home: Home, engine: Engine, progress: Progress) -> Iterator[Failure]:
    """Have videos judged by the metrics that did not yet; yields what could not be."""
    cache = ResultCache(home.judged)
    work: dict[Path, tuple[Cell, ToJudge]] = {}
    for cell in prepared.cells:
        folder = home.generated / cell.key
        if not is_made(folder):
            continue
        sha256 = read_record(folder)["sha256"]
        wanted = [p.name for p in prepared.metrics if cache.get(sha256, p.fingerprint) is None]
        if wanted:
            video = folder / VIDEO
            work[video] = cell, ToJudge(video, sha256, tuple(wanted))
    if not work:
        return
    resources = prepared.config.resources
    stage = Stage(
        "judge videos",
        functools.partial(assemble, home.judged, prepared.metrics),
        judge,
        Limits(
            timeout_seconds=_LONGEST_JUDGEMENT,
            memory_bytes=resources.memory_bytes,
            setup_timeout_seconds=_LONGEST_LOADING,
            threads=resources.threads,
        ),
    )
    progress.stage("judge", len(work))
    items = [item for _, item in work.values()]
    for outcome in _mapped(engine, stage, items, "no video can be judged"):
        progress.advance()
        cell, item = work[outcome.item.video]
        if isinstance(outcome, Failed):
            failed = dict.fromkeys(item.metrics, outcome.message)
            kind: str = outcome.kind
        else:
            failed, kind = outcome.value, "error"
        for name, message in failed.items():
            failure = _failure(prepared, cell, name, kind, message)
            progress.say(f"{name} cannot judge {failure.prompt}, {failure.label}: {message}")
            yield failure


def _mapped(engine: Engine, stage: Any, items: Sequence[Any], what: str) -> Iterator[Any]:  # noqa: ANN401 - either stage of this module
    try:
        yield from engine.map(stage, items)
    except StageSetupError as error:
        cause = error.__cause__
        raise EvaluationError(f"{what}: {cause or error}") from error


def _failure(prepared: Prepared, cell: Cell, what: str, kind: str, message: str) -> Failure:
    label = labels(prepared.config.variants)[cell.variant]
    return Failure(cell.prompt, label, cell.seed, what, kind, message)


def _evaluation(
    prepared: Prepared, home: Home, failures: Sequence[Failure], run_id: str
) -> Evaluation:
    config = prepared.config
    prompts = tuple(
        PromptShown(p.id, p.text, p.licence, p.image_sha256, p.dimensions)
        for p in prepared.suite.prompts
    )
    records = {
        cell.key: read_record(home.generated / cell.key)
        for cell in prepared.cells
        if is_made(home.generated / cell.key)
    }
    videos = [
        _judged(prepared, home, cell, records) for cell in prepared.cells if cell.key in records
    ]
    if not any(video.metrics for video in videos):
        first = failures[0].message if failures else "there is no video"
        raise EvaluationError(f"{prepared.id}: nothing could be judged: {first}")
    confidence = config.confidence
    draws = Draws(
        [prompt.id for prompt in prompts],
        confidence.level,
        confidence.resamples,
        confidence.seed,
    )
    return Evaluation(
        schema_version=SCHEMA_VERSION,
        id=prepared.id,
        origin=Origin(
            checkpoint=str(prepared.checkpoint),
            checkpoint_id=prepared.checkpoint_id,
            fingerprint=prepared.fingerprint,
            suite=prepared.suite.name,
            suite_sha256=prepared.suite.sha256,
            recipe=config.recipe,
            profile=config.metrics.profile,
            config=json.loads(canonical_json(config)),
            metrics={plan.name: plan.fingerprint for plan in prepared.metrics},
            machines=tuple(sorted({record["device"] for record in records.values()})),
            code=code_version(),
            run_id=run_id,
            finished=now().isoformat(timespec="seconds"),
        ),
        level=confidence.level,
        prompts=prompts,
        variants=variant_results(config.variants, prompts, videos, prepared.petaflops, draws),
        differences=differences(config.variants, prompts, videos, draws),
        videos=tuple(videos),
        failures=tuple(failures),
    )


def _judged(
    prepared: Prepared, home: Home, cell: Cell, records: dict[str, dict[str, Any]]
) -> JudgedVideo:
    record, cache = records[cell.key], ResultCache(home.judged)
    parts = [record]
    if cell.base is not None:
        parts.insert(0, read_record(home.generated / cell.base.key))
    seconds = [part["seconds"] for part in parts]
    peaks = [part["peak_bytes"] for part in parts]
    found = {
        plan.name: result
        for plan in prepared.metrics
        if (result := cache.get(record["sha256"], plan.fingerprint)) is not None
    }
    return JudgedVideo(
        prompt=cell.prompt,
        variant=cell.variant,
        seed=cell.seed,
        key=cell.key,
        sha256=record["sha256"],
        frames=record["frames"],
        cost=Cost(
            petaflops=prepared.petaflops[cell.variant],
            seconds=None if None in seconds else sum(seconds),
            first_segment_seconds=parts[0]["first_segment_seconds"],
            peak_bytes=None if None in peaks else max(peaks),
        ),
        metrics=found,
    )


def _on_this_machine(config: EvaluateConfig) -> EvaluateConfig:
    """The config with its device and dtype decided."""
    import torch

    device = config.resources.device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = config.sampler.dtype or ("bfloat16" if device.startswith("cuda") else "float32")
    return dataclasses.replace(
        config,
        resources=dataclasses.replace(config.resources, device=device),
        sampler=dataclasses.replace(config.sampler, dtype=dtype),
    )


def _metrics(
    config: EvaluateConfig, home: Home, *, tolerant: bool
) -> tuple[tuple[MetricPlan, ...], list[str]]:
    """What judges, and what is said instead where weights are missing and that is tolerated."""
    try:
        return tuple(plan_metrics(config.metrics, home.weights)), []
    except MissingWeightsError as error:
        if not tolerant:
            raise
        return (), [f"no video could be judged: {error}"]


def _generator(checkpoint: Path) -> Path:
    """The generator's folder: the checkpoint itself, or the one inside of it."""
    if not checkpoint.is_dir():
        raise CheckpointError(f"checkpoint {checkpoint}: there is no such folder")
    inside = checkpoint / _GENERATOR
    return (inside if inside.is_dir() else checkpoint).absolute()


def _catalogued(home: Home, *folders: Path) -> CheckpointRow | None:
    """The catalog's checkpoint that lies in one of these folders."""
    wanted = {folder.resolve() for folder in folders}
    with Catalog.open(home.catalog()) as catalog:
        rows = catalog.rows(CheckpointRow)
    for row in rows:
        places = {(home.root / uri).resolve() for uri in (row.uri, row.generator_uri) if uri}
        if places & wanted:
            return row
    return None


def _trained_on(row: CheckpointRow | None, checkpoint: Path) -> str:
    if row is None:
        raise ValueError(
            f"suite: name a manifest or a dataset (NAME@VERSION); the catalog does not know what "
            f"{checkpoint} was trained on"
        )
    return f"{row.dataset}@{row.version}"


def _rows(prepared: Prepared, evaluated: Evaluated, home: Home) -> list[EvaluationRow]:
    evaluation = evaluated.evaluation
    origin = evaluation.origin
    return [
        EvaluationRow(
            evaluation_id=evaluation.id,
            schedule=result.label,
            frames=result.variant.length,
            checkpoint=origin.checkpoint,
            checkpoint_id=origin.checkpoint_id,
            suite=origin.suite,
            suite_sha256=origin.suite_sha256,
            profile=origin.profile,
            videos=result.videos,
            total=result.total.mean if result.total else None,
            metrics=canonical_json(
                {
                    name: {"mean": found.mean, "low": found.low, "high": found.high}
                    for name, found in result.metrics.items()
                }
            ),
            cost=canonical_json(result.cost),
            uri=str(evaluated.numbers.parent.relative_to(home.root)),
            recipe=origin.recipe,
            config=canonical_json(prepared.config),
            code_version=origin.code,
            run_id=origin.run_id,
            recorded_at=now(),
        )
        for result in evaluation.variants
    ]

"""The main job: films in, a published dataset version out.

identify -> ingest (scan, derive) -> score -> choose (select) -> refine (deduplicate, balance) ->
caption -> plan -> pack -> publish -> report. Each step finds in the catalog what an earlier run has
done already, so running again costs what is new.
"""

import dataclasses
import json

from curation.balance import BalanceConfig
from curation.catalog.datasets import check_name
from curation.derive import DeriveConfig
from curation.duplicates import DuplicateConfig
from curation.identities import canonical_json
from curation.measure.shots.judged import TransNetRule
from curation.multishot import MultiShotConfig
from curation.records import VideoRow, now
from curation.scan import ScanConfig
from curation.scoring.film import LAION, ScoreConfig, ScorerPlan
from curation.selection import SelectionPolicy
from curation.shards.planning import PackConfig
from curation.splits import SplitConfig
from pipelines.engine import Engine
from pipelines.inputs import FilmInput
from pipelines.job import Job, Progress, started
from pipelines.run_record import RunRecord, failure_recorded
from pipelines.settings import Home
from pipelines.steps.caption import caption
from pipelines.steps.captioners import CaptionConfig, Ready, check_captioners, prepare
from pipelines.steps.choose import SCORE, choose, clip_rows, refuse_if_nothing
from pipelines.steps.identify import Library, identify
from pipelines.steps.ingest import IngestConfig, ingest, pending
from pipelines.steps.pack import pack_dataset
from pipelines.steps.plan import Origin, pack_fingerprint, plan_dataset
from pipelines.steps.refine import SCORER_OF_LOOK, refine
from pipelines.steps.score import score
from pipelines.steps.sides import earlier_sides
from pipelines.summary import Summary, WorkDone, summarise, with_dataset, write_summary


@dataclasses.dataclass(frozen=True, slots=True)
class CurateConfig:
    """Everything that a curation run is free to choose."""

    recipe: str
    captioners: tuple[str, ...]
    """Asked in this order; the first that has words for a clip is heard. A person's edits
    (`tempo caption import`) come before all of them."""
    caption: CaptionConfig = dataclasses.field(default_factory=CaptionConfig)
    scan: ScanConfig = dataclasses.field(default_factory=ScanConfig)
    derive: DeriveConfig = dataclasses.field(default_factory=DeriveConfig)
    score: ScoreConfig = dataclasses.field(default_factory=ScoreConfig)
    select: SelectionPolicy = dataclasses.field(default_factory=SelectionPolicy)
    duplicates: DuplicateConfig = dataclasses.field(default_factory=DuplicateConfig)
    balance: BalanceConfig = dataclasses.field(default_factory=BalanceConfig)
    split: SplitConfig = dataclasses.field(default_factory=SplitConfig)
    multishot: MultiShotConfig = dataclasses.field(default_factory=MultiShotConfig)
    pack: PackConfig = dataclasses.field(default_factory=PackConfig)
    ingest: IngestConfig = dataclasses.field(default_factory=IngestConfig)

    def __post_init__(self) -> None:
        if not self.captioners:
            raise ValueError("captioners: name at least one, such as sidecar,describe")
        check_captioners(self.captioners)

    def settled(self, home: Home) -> "CurateConfig":
        """The same, with what decides fingerprints found in a home.

        Raises:
            CurationError: a file is absent, or is not what it should be.
            ValueError: thresholds of a network are moved, and there is none.
        """
        if self.derive.shots.transnet != TransNetRule() and not self.scan.transnet.wanted:
            raise ValueError(
                "derive.shots.transnet counts only with a network: give scan.transnet.weights too"
            )
        return dataclasses.replace(self, scan=self.scan.settled(home.weights))

    def check_scorers(self) -> None:
        """Refuse settings that ask for scores which no scorer makes.

        Apart from `__post_init__`, because a recorded config is also read for its parts alone.

        Raises:
            ValueError: naming the setting, and what it needs.
        """
        needs = {f"select.{name}": scorer for name, scorer in self.select.scores().items()}
        if self.duplicates.look is not None:
            needs["duplicates.look"] = SCORER_OF_LOOK[self.duplicates.look]
        if self.balance.clusters:
            needs["balance.clusters"] = LAION
        for setting, scorer in needs.items():
            if scorer not in self.score.scorers:
                raise ValueError(
                    f"{setting} needs the scorer {scorer!r}: add it to score.scorers, or open "
                    f"{setting}"
                )
        if self.balance.per_cluster is not None and not self.balance.clusters:
            raise ValueError("balance.per_cluster caps clusters: give balance.clusters too")


@dataclasses.dataclass(frozen=True, slots=True)
class CurateRequest:
    """What a run is asked to do."""

    films: list[FilmInput]
    dataset: str
    config: CurateConfig
    retry: bool = False
    """Also try films whose quarantine is permanent."""
    inputs: tuple[str, ...] = ()
    """The arguments that named the films (`pipelines.inputs.repeatable`), to be named again."""

    def __post_init__(self) -> None:
        check_name(self.dataset)
        if not self.films:
            raise ValueError("no film was named: give files, folders, globs or a manifest")
        self.config.check_scorers()


def curate(request: CurateRequest, home: Home, engine: Engine, progress: Progress) -> Summary:
    """Curate films into the next version of a dataset.

    Raises:
        CurationError: nothing could be read or kept, or the home cannot be written to. What was
            done until then stays, and another run goes on from there.
    """
    begun = now()
    with started(home, engine, progress) as job:
        config = request.config
        run = RunRecord(job.run_id, "curate", config.recipe, config, begun, request.inputs)
        with failure_recorded(run, home.catalog(), progress.say):
            summary = _run(job, request)
        job.catalog.append("runs", [run.row("ok", summary.document())])
        _report(home, summary, progress)
        return summary


def _run(job: Job, request: CurateRequest) -> Summary:
    config = request.config.settled(job.home)
    captioners = prepare(
        config.captioners, config.caption, config.derive.fingerprint(config.scan.fingerprint)
    )
    plans = config.score.plans(job.home.weights)
    library = identify(job, request.films)
    work = pending(job, library, config.scan, config.derive, retry=request.retry)
    ingested = ingest(job, work, config.scan, config.derive, config.ingest)
    videos = _videos(job, library, config.scan)
    origin = _origin(request.dataset, config, captioners, plans)
    scan, derive = (origin.fingerprints[name] for name in ("scan", "derive"))
    scored = score(job, plans, scan, derive, set(library.films))
    licences = {film.video_id: film.licence for film in library.films.values()}
    made_by = {plan.name: plan.fingerprint(scan) for plan in plans}
    chosen = choose(job.catalog, licences, config.scan, config.derive, config.select, made_by)
    refined = refine(job.catalog, chosen, made_by, config.duplicates, config.balance)
    done = WorkDone(
        files=library.files,
        duplicates=library.duplicates,
        taken_down=library.taken_down,
        scanned=ingested.scanned,
        derived=ingested.derived,
        scored=scored,
        decodes=ingested.decodes,
    )
    summary = summarise(done, videos, chosen.clips, chosen.selection, refined.outcome)
    job.progress.report(summary)
    refuse_if_nothing(chosen, summary.readable)
    job.catalog.append("refinements", refined.dropped)
    origin = dataclasses.replace(
        origin, config=origin.config | {"refinements": refined.fingerprint}
    )
    clips = clip_rows(job.catalog, derive, refined.kept["clip_id"])
    said = caption(job, library, list(clips.values()), captioners, config.scan)
    plan = plan_dataset(
        refined.kept,
        refined.group_of_film,
        said.captions,
        origin,
        config.split,
        earlier_sides(job.catalog, job.home, request.dataset, config.split),
        config.multishot,
        config.pack,
    )
    published = pack_dataset(job, library, plan, clips, origin)
    summary = with_dataset(
        summary,
        published.version,
        published.folder,
        str(job.catalog.settings.shown),
        fresh=published.fresh,
        encoded=published.encoded,
        copied=published.copied,
        lost=published.lost,
        uncaptioned=said.missing,
    )
    return write_summary(job.home, summary)


def _report(home: Home, summary: Summary, progress: Progress) -> None:
    # The report predicts other policies, and so knows this job's config.
    from pipelines.report import write_report

    assert summary.dataset is not None
    write_report(home, summary.dataset.reference, None, progress)


def _videos(job: Job, library: Library, scan: ScanConfig) -> list[VideoRow]:
    rows = job.catalog.rows(VideoRow, {"scan_fingerprint": scan.fingerprint})
    return [row for row in rows if row.video_id in library.films]


def _origin(
    dataset: str, config: CurateConfig, captioners: list[Ready], plans: list[ScorerPlan]
) -> Origin:
    recorded = json.loads(canonical_json(config))
    # What a film or a caption may cost does not decide what is made of it.
    del recorded["ingest"]
    # Weights by their hash: where they lie is this machine's affair. What nobody uses is left out,
    # so that a version from before there were such settings is still the same one.
    del recorded["scan"]["transnet"]
    if config.scan.transnet.wanted:
        recorded["scan"]["transnet"] = config.scan.transnet.identity()
    if config.derive.shots.transnet == TransNetRule():
        del recorded["derive"]["shots"]["transnet"]
    recorded["caption"] = {captioner.name: captioner.words for captioner in captioners}
    recorded["score"] = {plan.name: plan.identity | {"batch": plan.batch} for plan in plans}
    scan = config.scan.fingerprint
    return Origin(
        dataset=dataset,
        recipe=config.recipe,
        config=recorded,
        fingerprints={
            "scan": scan,
            "derive": config.derive.fingerprint(scan),
            "pack": pack_fingerprint(config.pack, scan),
        }
        | {f"{SCORE}{plan.name}": plan.fingerprint(scan) for plan in plans},
    )

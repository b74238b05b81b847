"""What is said of each kept clip: a person's edits first, then captioners in the recipe's order.

A captioner is asked once per clip and fingerprint, and only about clips that nobody before it had
words for. Answers that cost something are on the disk as they come (`curation.captioning.spool`)
and go to the catalog in batches: a killed run pays for nothing twice but what was under way.
"""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from curation.captioning.edits import CAPTIONER as EDITED
from curation.captioning.spool import Spool, spooled, spools
from curation.captioning.words import Answer, Captioner, CaptionRequest
from curation.errors import CaptionError
from curation.records import CaptionRow, ClipRow, VideoRow, now
from curation.scan import ScanConfig
from curation.traces import trace_folder
from pipelines.crew import StageSetupError
from pipelines.engine import Done, Stage
from pipelines.job import Job
from pipelines.steps.captioners import InWorkers, Ready, Served
from pipelines.steps.identify import Library

if TYPE_CHECKING:  # workers import this module, and have no use for a catalog
    from curation.catalog.store import Catalog
    from pipelines.settings import Home

_COMMIT_EVERY = 20_000


@dataclasses.dataclass(frozen=True, slots=True)
class Caption:
    """The words that a clip goes into the dataset with."""

    text: str
    captioner: str
    fingerprint: str


@dataclasses.dataclass(slots=True)
class Captioned:
    """What came of asking."""

    captions: dict[str, Caption] = dataclasses.field(default_factory=dict)
    """By clip_id."""
    reasons: dict[str, str] = dataclasses.field(default_factory=dict)
    """Why a clip has no words, by clip_id: what the last captioner said."""
    asked: Counter[str] = dataclasses.field(default_factory=Counter)
    """Captioner -> clips that it was asked about in this run."""
    stored: Counter[str] = dataclasses.field(default_factory=Counter)
    """Captioner -> clips that it had been asked about before."""
    spent: dict[str, int] = dataclasses.field(default_factory=dict)
    """Requests and tokens of served models."""

    @property
    def missing(self) -> Counter[str]:
        """How many clips have no words, by reason."""
        return Counter(self.reasons.values())

    @property
    def heard(self) -> Counter[str]:
        """How many clips have their words from whom."""
        return Counter(caption.captioner for caption in self.captions.values())

    def hear(self, answer: Answer) -> None:
        """Take an answer about a clip that has no words yet."""
        assert answer.clip_id not in self.captions
        if answer.caption is None:
            self.reasons[answer.clip_id] = answer.reason or "no_caption"
        else:
            self.reasons.pop(answer.clip_id, None)
            self.captions[answer.clip_id] = Caption(
                answer.caption, answer.captioner, answer.fingerprint
            )


def caption(
    job: Job,
    library: Library,
    kept: list[ClipRow],
    captioners: list[Ready],
    scan: ScanConfig,
) -> Captioned:
    """Give every kept clip the words of whoever has some first.

    Raises:
        CaptionError: a captioner cannot work at all. What was answered until then is kept.
    """
    absorb(job.home, job.catalog)
    requests = {request.clip.clip_id: request for request in _requests(job, library, kept, scan)}
    outcome = Captioned()
    for row in edited_captions(job.catalog).values():
        if row.clip_id in requests:
            outcome.hear(_answer(row))
    for captioner in captioners:
        wordless = [
            request for clip_id, request in requests.items() if clip_id not in outcome.captions
        ]
        if wordless:
            _ask(job, captioner, wordless, outcome)
    return outcome


def absorb(home: "Home", catalog: "Catalog") -> None:
    """Bring into the catalog what killed runs had been answered."""
    for path in spools(_spool_folder(home)):
        answers, _ = spooled(path)
        _commit(catalog, answers)
        path.unlink()


def edited_captions(catalog: "Catalog") -> dict[str, CaptionRow]:
    """A person's newest words for each clip that a person has edited, by clip_id."""
    newest: dict[str, CaptionRow] = {}
    for row in catalog.rows(CaptionRow, {"captioner": EDITED}):
        known = newest.get(row.clip_id)
        if known is None or known.recorded_at < row.recorded_at:
            newest[row.clip_id] = row
    return newest


def _requests(
    job: Job, library: Library, kept: list[ClipRow], scan: ScanConfig
) -> Iterator[CaptionRequest]:
    """By film, and within a film by clip_id: batches are cut from this order."""
    videos = {
        row.video_id: row
        for row in job.catalog.rows(VideoRow, {"scan_fingerprint": scan.fingerprint})
    }
    for clip in sorted(kept, key=lambda clip: (clip.video_id, clip.clip_id)):
        film = library.films[clip.video_id]
        traces = trace_folder(job.home.films, clip.video_id, scan.fingerprint)
        # Words beside a film are looked for on disks only; elsewhere a manifest brings them.
        beside = film.path if isinstance(film.path, Path) else Path(film.uri)
        yield CaptionRequest(clip, videos[clip.video_id], beside, film.caption, traces)


def _ask(job: Job, ready: Ready, requests: list[CaptionRequest], outcome: Captioned) -> None:
    """Ask one captioner about clips, but those that it has been asked about before."""
    stored = _stored(job.catalog, ready.fingerprint)
    fresh = []
    for request in requests:
        known = stored.get(request.clip.clip_id)
        if known is None:
            fresh.append(request)
        else:
            outcome.stored[ready.name] += 1
            outcome.hear(known)
    job.progress.stage("caption", len(fresh))
    uncommitted: list[Answer] = []
    with Spool(_spool_folder(job.home), job.run_id) as spool:
        for answer in _answers(job, ready, fresh, spool):
            job.progress.advance()
            outcome.asked[ready.name] += 1
            outcome.hear(answer)
            if answer.final:
                uncommitted.append(answer)
            if len(uncommitted) >= _COMMIT_EVERY:
                _commit(job.catalog, uncommitted)
                uncommitted = []
    _commit(job.catalog, uncommitted)
    absorb(job.home, job.catalog)  # all of it is there: this removes the file
    if isinstance(ready, Served):
        outcome.spent |= dataclasses.asdict(ready.captioner.spent)


def _answers(
    job: Job, ready: Ready, requests: list[CaptionRequest], spool: Spool
) -> Iterator[Answer]:
    """An answer for each request, in any order; final ones are durable where they cost something.

    Raises:
        CaptionError: the captioner cannot work at all.
    """
    if isinstance(ready, Served):
        yield from ready.captioner.answers(requests, spool.add)
    else:
        for said in _worked(job, ready, requests):
            if ready.fingerprint is not None:
                spool.add(*(answer for answer in said if answer.final))
            yield from said


def _worked(job: Job, ready: InWorkers, requests: list[CaptionRequest]) -> Iterator[list[Answer]]:
    """Answers from the engine's workers; an item that fails costs its own clips only."""
    stage = Stage(f"caption-{ready.name}", ready.setup, _caption_clips, ready.limits)
    engine = job.engine if ready.processes is None else job.engine.at_most(ready.processes)
    failures = 0
    try:
        for outcome in engine.map(stage, _batches(requests, ready.clips_at_once)):
            if isinstance(outcome, Done):
                yield outcome.value
                continue
            failures += 1
            if failures == 1:
                job.progress.say(f"captioner {ready.name} failed: {outcome.message}")
            yield [_failure(ready, request) for request in outcome.item]
    except StageSetupError as error:
        raise CaptionError(f"captioner {ready.name} cannot be started: {error}") from error


def _batches(requests: list[CaptionRequest], size: int | None) -> Iterator[list[CaptionRequest]]:
    """Requests of one film at a time, in order, no more than `size` together."""
    for _, film in itertools.groupby(requests, key=lambda request: request.clip.video_id):
        clips = list(film)
        step = size or len(clips)
        for start in range(0, len(clips), step):
            yield clips[start : start + step]


def _caption_clips(captioner: Captioner, requests: list[CaptionRequest]) -> list[Answer]:
    """In a worker: no caption may stand at another clip."""
    answers = captioner.caption(requests)
    assert [answer.clip_id for answer in answers] == [request.clip.clip_id for request in requests]
    return answers


def _failure(ready: InWorkers, request: CaptionRequest) -> Answer:
    made_by = ready.fingerprint or ""
    reason = "captioner_failed"
    return Answer(request.clip.clip_id, ready.name, made_by, None, reason, None, final=False)


def _stored(catalog: "Catalog", fingerprint: str | None) -> dict[str, Answer]:
    """The answers that need not be made again, by clip_id."""
    if fingerprint is None:
        return {}
    rows = catalog.rows(CaptionRow, {"fingerprint": fingerprint})
    return {row.clip_id: _answer(row) for row in rows}


def _commit(catalog: "Catalog", answers: Iterable[Answer]) -> None:
    catalog.append("captions", [_row(answer) for answer in answers])


def _spool_folder(home: "Home") -> Path:
    return home.root / "spool"


def _answer(row: CaptionRow) -> Answer:
    return Answer(row.clip_id, row.captioner, row.fingerprint, row.caption, row.reason, row.source)


def _row(answer: Answer) -> CaptionRow:
    return CaptionRow(
        clip_id=answer.clip_id,
        fingerprint=answer.fingerprint,
        captioner=answer.captioner,
        caption=answer.caption,
        reason=answer.reason,
        source=answer.source,
        recorded_at=now(),
    )

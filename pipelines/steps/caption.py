"""What is said of each kept clip: captioners are asked in order, once per clip and fingerprint."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterable, Iterator

from curation.captioning.describe import DescribeCaptioner
from curation.captioning.sidecar import SidecarCaptioner
from curation.captioning.words import Answer, Captioner, CaptionRequest
from curation.records import CaptionRow, ClipRow, VideoRow, now
from curation.scan import ScanConfig
from curation.traces import trace_folder
from pipelines.crew import Limits
from pipelines.engine import Done, Stage
from pipelines.job import Job
from pipelines.steps.identify import Library

CAPTIONERS: dict[str, type[Captioner]] = {
    "sidecar": SidecarCaptioner,
    "describe": DescribeCaptioner,
}
_COMMIT_EVERY = 20_000
_LIMITS = Limits(timeout_seconds=3600.0, memory_bytes=4 << 30)


@dataclasses.dataclass(frozen=True, slots=True)
class Caption:
    """The words that a clip goes into the dataset with."""

    text: str
    captioner: str
    fingerprint: str


@dataclasses.dataclass(frozen=True, slots=True)
class _ClipToCaption:
    """A clip that wants words, and those that captioners have said of it before."""

    request: CaptionRequest
    stored: dict[str, Answer]
    """Captioner -> its answer."""


def caption(
    job: Job,
    library: Library,
    kept: list[ClipRow],
    captioners: tuple[str, ...],
    scan: ScanConfig,
) -> tuple[dict[str, Caption], Counter[str]]:
    """Give every kept clip the words of the first captioner that has some.

    Captions are stored with their fingerprint; one that is there already is not made again.

    Returns:
        Captions by clip_id, and how many clips got none, by reason.
    """
    stage = Stage(
        "caption",
        setup=functools.partial(_captioners, captioners),
        run=_caption_film,
        limits=_LIMITS,
    )
    captions: dict[str, Caption] = {}
    missing: Counter[str] = Counter()
    answers: list[Answer] = []
    work = list(_films_to_caption(job, library, kept, captioners, scan))
    job.progress.stage("caption", len(work))
    for outcome in job.engine.map(stage, work):
        job.progress.advance()
        if not isinstance(outcome, Done):
            missing["captioner_failed"] += len(outcome.item)
            continue
        for said in outcome.value:
            answers += said
            last = said[-1]
            if last.caption is None:
                missing[last.reason or "no_caption"] += 1
            else:
                captions[last.clip_id] = Caption(last.caption, last.captioner, last.fingerprint)
    for start in range(0, len(answers), _COMMIT_EVERY):
        batch = answers[start : start + _COMMIT_EVERY]
        job.catalog.append("captions", [_row(answer) for answer in batch])
    return captions, missing


def check_captioners(names: Iterable[str]) -> None:
    """Refuse captioners that do not exist.

    Raises:
        ValueError: naming those there are.
    """
    for name in names:
        if name not in CAPTIONERS:
            known = ", ".join(CAPTIONERS)
            raise ValueError(f"captioners: no captioner {name!r}; there are {known}")


def _captioners(names: tuple[str, ...]) -> list[Captioner]:
    return [CAPTIONERS[name]() for name in names]


def _stored(job: Job, captioners: tuple[str, ...]) -> dict[str, dict[str, Answer]]:
    """clip_id -> captioner -> the answer that need not be made again."""
    made_by = [captioner.fingerprint for captioner in _captioners(captioners)]
    reusable = [fingerprint for fingerprint in made_by if fingerprint]
    stored: dict[str, dict[str, Answer]] = {}
    if reusable:
        for row in job.catalog.rows(CaptionRow, {"fingerprint": reusable}):
            answer = Answer(
                row.clip_id, row.captioner, row.fingerprint, row.caption, row.reason, row.source
            )
            stored.setdefault(row.clip_id, {})[row.captioner] = answer
    return stored


def _films_to_caption(
    job: Job,
    library: Library,
    kept: list[ClipRow],
    captioners: tuple[str, ...],
    scan: ScanConfig,
) -> Iterator[list[_ClipToCaption]]:
    videos = {
        row.video_id: row
        for row in job.catalog.rows(VideoRow, {"scan_fingerprint": scan.fingerprint})
    }
    stored = _stored(job, captioners)
    by_film: dict[str, list[ClipRow]] = {}
    for clip in sorted(kept, key=lambda clip: clip.clip_id):
        by_film.setdefault(clip.video_id, []).append(clip)
    for video_id, clips in sorted(by_film.items()):
        film = library.films[video_id]
        traces = trace_folder(job.home.films, video_id, scan.fingerprint)
        yield [
            _ClipToCaption(
                CaptionRequest(clip, videos[video_id], film.path, film.caption, traces),
                stored.get(clip.clip_id, {}),
            )
            for clip in clips
        ]


def _caption_film(captioners: list[Captioner], clips: list[_ClipToCaption]) -> list[list[Answer]]:
    """In a worker: ask the captioners about each clip, in order, until one has words."""
    return [_ask(captioners, clip) for clip in clips]


def _ask(captioners: list[Captioner], clip: _ClipToCaption) -> list[Answer]:
    answers: list[Answer] = []
    for captioner in captioners:
        answer = clip.stored.get(captioner.name) or captioner.caption(clip.request)
        assert answer.clip_id == clip.request.clip.clip_id  # no caption stands at another clip
        answers.append(answer)
        if answer.caption is not None:
            break
    return answers


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

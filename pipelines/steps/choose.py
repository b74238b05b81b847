"""Which clips are kept, and what is said of each: select, then caption only the kept."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.captioning.describe import DescribeCaptioner
from curation.captioning.sidecar import SidecarCaptioner
from curation.captioning.words import Answer, Captioner, CaptionRequest
from curation.catalog.store import Catalog
from curation.derive import DeriveConfig
from curation.errors import CurationError
from curation.records import CaptionRow, ClipRow, VideoRow, now
from curation.scan import ScanConfig
from curation.selection import Selection, SelectionPolicy, select
from curation.traces import trace_folder
from pipelines.crew import Limits
from pipelines.engine import Done, Stage
from pipelines.job import Job
from pipelines.steps.identify import Library
from pipelines.summary import dropped_by_rule

CAPTIONERS: dict[str, type[Captioner]] = {
    "sidecar": SidecarCaptioner,
    "describe": DescribeCaptioner,
}
_COMMIT_EVERY = 20_000
_LIMITS = Limits(timeout_seconds=3600.0, memory_bytes=4 << 30)


_PLANNED = ("clip_id", "video_id", "seconds", "frame_count", "width", "height")
"""What planning needs of a clip; its measurements are read again when they are wanted."""


@dataclasses.dataclass(frozen=True, slots=True)
class Chosen:
    """The verdict on every clip of the library."""

    clips: pa.Table
    """All clips: what planning needs of each, and its licence."""
    selection: Selection

    def kept(self) -> pa.Table:
        """The clips that the policy keeps."""
        return self.clips.filter(pa.array(self.selection.kept))


def choose(
    catalog: Catalog,
    licences: dict[str, str | None],
    scan: ScanConfig,
    derive: DeriveConfig,
    policy: SelectionPolicy,
) -> Chosen:
    """Hold every clip of some films against a policy. Nothing is decoded or written.

    Clips are read a data file at a time, and only the columns that the policy asks about.

    Args:
        catalog: where the clips are.
        licences: the films (video_id) and their licences.
        scan: which scan's clips.
        derive: which derivation's clips.
        policy: the thresholds.
    """
    where = {"derive_fingerprint": derive.fingerprint(scan.fingerprint)}
    columns = list(dict.fromkeys([*_PLANNED, *policy.columns()]))
    films = pa.array(list(licences), pa.string())
    licence = pa.array(list(licences.values()), pa.string())
    pieces: list[pa.Table] = []
    verdicts: list[Selection] = []
    for stored in catalog.batches("clips", where, columns):
        position = pc.index_in(stored["video_id"], value_set=films)
        clips = stored.append_column("licence", licence.take(position))
        clips = clips.filter(pc.is_valid(position))
        verdicts.append(select(clips, policy))
        pieces.append(clips.select([*_PLANNED, "licence"]))
    if not pieces:
        empty = catalog.read("clips", where, columns).append_column(
            "licence", pa.array([], pa.string())
        )
        return Chosen(empty, select(empty, policy))
    failed = np.concatenate([verdict.failed for verdict in verdicts])
    return Chosen(pa.concat_tables(pieces), Selection(verdicts[0].rules, failed))


def clip_rows(catalog: Catalog, made_by: str, wanted: pa.ChunkedArray) -> dict[str, ClipRow]:
    """The whole rows of some clips, by clip_id.

    Args:
        catalog: where the clips are.
        made_by: the derivation's fingerprint.
        wanted: clip_ids.
    """
    found = {}
    for piece in catalog.batches("clips", {"derive_fingerprint": made_by}):
        rows = piece.filter(pc.is_in(piece["clip_id"], value_set=wanted)).to_pylist()
        found.update({row["clip_id"]: ClipRow(**row) for row in rows})
    return found


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


def refuse_if_nothing(chosen: Chosen, readable: int) -> None:
    """A dataset of nothing is an error, with the reasons.

    Raises:
        CurationError: no film could be read, or no clip is kept.
    """
    if not readable:
        raise CurationError("no film could be read: every file was quarantined (reasons above)")
    if not chosen.selection.kept.any():
        losses = dropped_by_rule(chosen.clips, chosen.selection)
        listed = ", ".join(f"{rule} {loss.clips}" for rule, loss in list(losses.items())[:5])
        raise CurationError(
            f"none of {chosen.clips.num_rows} clips is kept ({listed}); loosen the policy with "
            "--set select.NAME.min=… or max=…"
        )

"""Scores: what models and formulas say of evidence frames, once per clip and fingerprint.

No film is opened: a changed model costs its own passes and nothing else. A film whose clips all
have a score of this fingerprint is skipped; any other is judged whole, since a frame's score must
not depend on which clips were wanted.
"""

import dataclasses
import functools
import time
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from curation.errors import CurationError
from curation.records import ScoreRow, now
from curation.scoring.film import FilmToScore, ScorerPlan, score_film
from curation.scoring.frames import ClipScore, Scorer
from curation.traces import trace_folder
from pipelines.crew import Limits, StageSetupError
from pipelines.engine import Done, Outcome, Stage
from pipelines.job import Job

_LIMITS = Limits(timeout_seconds=24 * 3600.0, memory_bytes=16 << 30)
_BATCH_CLIPS = 4096
_BATCH_SECONDS = 20.0
_SHOWN_FAILURES = 3


def score(job: Job, plans: list[ScorerPlan], scan: str, derive: str, films: set[str]) -> int:
    """Have every clip of some films scored by every scorer.

    A film that cannot be scored is reported and left without: the next run tries it again.

    Args:
        job: the job.
        plans: the scorers.
        scan: fingerprint of the scan that left the evidence.
        derive: fingerprint of the derivation that made the clips.
        films: video_ids.

    Returns:
        How many films were judged by at least one scorer in this run.
    """
    judged: set[str] = set()
    for plan in plans:
        judged |= _score_by(job, plan, scan, derive, films)
    return len(judged)


def _score_by(job: Job, plan: ScorerPlan, scan: str, derive: str, films: set[str]) -> set[str]:
    made_by = plan.fingerprint(scan)
    work = list(_films_to_score(job, made_by, scan, derive, films))
    stage: Stage[Scorer, FilmToScore, dict[str, ClipScore]] = Stage(
        f"score-{plan.name}",
        setup=plan.make,
        run=functools.partial(score_film, plan.batch),
        limits=dataclasses.replace(_LIMITS, gpus=float(plan.device == "cuda")),
    )
    judged: set[str] = set()
    failed: list[str] = []
    rows: list[ScoreRow] = []
    since = time.monotonic()
    job.progress.stage("score", len(work))
    for outcome in _outcomes(job, stage, work):
        job.progress.advance()
        film = outcome.item
        if not isinstance(outcome, Done):
            failed.append(f"{film.video_id} ({outcome.kind}: {outcome.message})")
            continue
        judged.add(film.video_id)
        rows += [_row(plan, made_by, film, *scored) for scored in outcome.value.items()]
        if len(rows) >= _BATCH_CLIPS or time.monotonic() - since > _BATCH_SECONDS:
            job.catalog.append("scores", rows)
            rows, since = [], time.monotonic()
    job.catalog.append("scores", rows)
    if failed:
        listed = "; ".join(failed[:_SHOWN_FAILURES])
        job.progress.say(f"{plan.name}: {len(failed)} films could not be scored: {listed}")
    return judged


def _outcomes(
    job: Job, stage: Stage[Scorer, FilmToScore, dict[str, ClipScore]], work: list[FilmToScore]
) -> Iterator[Outcome[FilmToScore, dict[str, ClipScore]]]:
    if not work:  # no model is loaded for nothing
        return
    try:
        yield from job.engine.map(stage, work)
    except StageSetupError as error:
        raise CurationError(f"no film can be scored: {error}") from error


def _films_to_score(
    job: Job, made_by: str, scan: str, derive: str, films: set[str]
) -> Iterator[FilmToScore]:
    """Films with a clip that has no score yet, with all of their clips."""
    columns = ["clip_id", "video_id", "start_frame", "end_frame"]
    clips = job.catalog.read("clips", {"derive_fingerprint": derive}, columns)
    wanted = pa.array(sorted(films), pa.string())
    clips = clips.filter(pc.is_in(clips["video_id"], value_set=wanted))
    stored = job.catalog.read("scores", {"fingerprint": made_by}, ["clip_id"])["clip_id"]
    unscored = pc.invert(pc.is_in(clips["clip_id"], value_set=stored.combine_chunks()))
    pending = set(clips.filter(unscored)["video_id"].to_pylist())
    spans: dict[str, list[tuple[str, int, int]]] = {video_id: [] for video_id in sorted(pending)}
    for row in clips.filter(
        pc.is_in(clips["video_id"], value_set=pa.array(sorted(pending), pa.string()))
    ).to_pylist():
        spans[row["video_id"]].append((row["clip_id"], row["start_frame"], row["end_frame"]))
    for video_id, of_film in spans.items():
        traces = trace_folder(job.home.films, video_id, scan)
        yield FilmToScore(video_id, traces, tuple(sorted(of_film)))


def _row(
    plan: ScorerPlan, made_by: str, film: FilmToScore, clip_id: str, scored: ClipScore
) -> ScoreRow:
    return ScoreRow(
        clip_id=clip_id,
        fingerprint=made_by,
        video_id=film.video_id,
        scorer=plan.name,
        score=scored.score,
        frames=scored.frames,
        frame_scores=scored.frame_scores,
        embedding=scored.embedding,
        frame_hashes=scored.frame_hashes,
        reason=scored.reason,
        recorded_at=now(),
    )

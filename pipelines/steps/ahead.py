"""Encode film by film, before any shard is written, what sample by sample would cost too much.

Optional work: where a film fails here, its samples are encoded one by one with their shards, and
whatever is wrong with one of them is said there.
"""

from collections.abc import Sequence

from curation.errors import refuse_if_full
from curation.shards.ahead import FilmResult, FilmTask, encode_film
from pipelines.crew import Limits
from pipelines.engine import Failed, Stage
from pipelines.job import Job

AHEAD = ".ahead"
"""Folder, beside the shards that are being built, of what was encoded for them."""
_LIMITS = Limits(timeout_seconds=12 * 3600.0, memory_bytes=6 << 30)


def encode_ahead(job: Job, tasks: Sequence[FilmTask]) -> list[FilmResult]:
    """Encode the samples of these films, each film in one pass.

    Raises:
        CurationError: the disk is full.
    """
    if not tasks:
        return []
    job.progress.stage("encode", len(tasks))
    results = []
    for outcome in job.engine.map(Stage.stateless("encode", encode_film, _LIMITS), tasks):
        job.progress.advance()
        if isinstance(outcome, Failed):
            refuse_if_full(outcome.error)
            film = outcome.item.samples[0].clips[0].source.path.name
            job.progress.say(f"{film} failed ({outcome.message}): its samples are tried one by one")
        else:
            results.append(outcome.value)
    return results

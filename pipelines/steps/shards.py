"""Write the shards of a plan in processes that may crash, and let no sample cost more than itself.

A shard is written by one worker. When that fails, nobody knows which sample did it: each is then
tried on its own, and the shard is written again without the culprits, which are lost with a reason
as if their film had vanished. The price is that the samples of such a shard are encoded twice.
"""

import dataclasses
from collections.abc import Iterable, Iterator

from curation.errors import CurationError, DatasetError, EncodeError, FilmError, refuse_if_full
from curation.shards.writing import ShardResult, ShardTask, try_sample, write_shard
from pipelines.crew import Limits
from pipelines.engine import Done, Failed, Stage
from pipelines.job import Job

_SHARD_LIMITS = Limits(timeout_seconds=12 * 3600.0, memory_bytes=6 << 30)
_SAMPLE_LIMITS = dataclasses.replace(_SHARD_LIMITS, timeout_seconds=4 * 3600.0)
"""A sample's film may have to be decoded from its beginning."""
_COST = {
    "crash": "the worker that encoded it died",
    "timeout": f"not encoded after {_SAMPLE_LIMITS.timeout_seconds:g} s",
    "memory": f"needs more than {_SAMPLE_LIMITS.memory_bytes >> 20} MiB",
}
"""Words that are the same in every run: they stand in the manifest."""


def write_shards(job: Job, tasks: Iterable[ShardTask], count: int) -> list[ShardResult]:
    """Write shards, in the order of their names.

    Args:
        job: the job.
        tasks: taken one by one, when it is their turn.
        count: how many they are.

    Raises:
        CurationError: the disk is full, or a shard fails for no sample's fault.
    """
    job.progress.stage("pack", count)
    results: list[ShardResult] = []
    failed: list[Failed[ShardTask]] = []
    _write(job, tasks, results, failed)
    mended: list[ShardTask] = []
    for failure in failed:
        name = failure.item.name
        job.progress.say(f"{name} failed ({failure.message}): its samples are tried one by one")
        given_up = dict(_culprits(job, failure.item))
        mended.append(dataclasses.replace(failure.item, given_up=given_up))
    failed.clear()
    _write(job, mended, results, failed)
    if failed:
        raise CurationError(
            f"shard {failed[0].item.name} could not be written ({failed[0].kind}): "
            f"{failed[0].message}; run again: finished shards are kept"
        )
    return sorted(results, key=lambda result: result.name)


def _write(
    job: Job,
    tasks: Iterable[ShardTask],
    results: list[ShardResult],
    failed: list[Failed[ShardTask]],
) -> None:
    stage = Stage.stateless("pack", write_shard, _SHARD_LIMITS)
    for outcome in job.engine.map(stage, tasks):
        if isinstance(outcome, Done):
            job.progress.advance()
            results.append(outcome.value)
        else:
            refuse_if_full(outcome.error)
            failed.append(outcome)


def _culprits(job: Job, task: ShardTask) -> Iterator[tuple[str, FilmError]]:
    """The samples of a shard that cannot be packed, and what is said of each."""
    stage = Stage.stateless("try", try_sample, _SAMPLE_LIMITS)
    for outcome in job.engine.map(stage, _one_by_one(task)):
        if isinstance(outcome, Failed):
            refuse_if_full(outcome.error)
            yield outcome.item.samples[0].sample_id, _verdict(outcome)


def _one_by_one(task: ShardTask) -> Iterator[ShardTask]:
    for plan in task.samples:
        stored = {name: task.stored[name] for name in {plan.sample_id} & task.stored.keys()}
        yield dataclasses.replace(task, samples=(plan,), stored=stored)


def _verdict(outcome: Failed[ShardTask]) -> FilmError:
    error = outcome.error
    if isinstance(error, EncodeError | DatasetError):
        return FilmError("encode_failed", str(error))
    if isinstance(error, OSError):
        return FilmError("io_error", str(error), transient=True)
    if outcome.kind == "error":
        return FilmError("internal_error", outcome.message)
    return FilmError(f"encode_{outcome.kind}", _COST[outcome.kind])

"""What workers run in the tests of healing: the job's own work, with films that are bad for it."""

import os
import signal
from typing import Any
from unittest.mock import patch

from curation.derive import DeriveConfig, Derived, derive_film
from curation.errors import FilmError
from curation.scan import ScanConfig
from curation.shards import writing
from curation.shards.encoding import ClipSource, EncodedSample, encode_sample
from pipelines.steps import ingest

BAD = "second.mp4"
WORK_ON, WRITE_SHARD, TRY_SAMPLE = ingest._work_on, writing.write_shard, writing.try_sample
AS_LOST = {
    "first.mp4": FilmError("internal_error", "AssertionError: never the same frame twice"),
    BAD: FilmError("encode_crash", "the worker that encoded it died"),
}
"""Films whose samples fell their worker, and how these stand in the manifest."""


def dies_when_scanned(scan: ScanConfig, derive: DeriveConfig, *work: Any) -> ingest.FilmDone:
    """Ends the worker between a film's traces and its answer."""
    with patch.object(ingest, "derive_film", _derive_or_die):
        return WORK_ON(scan, derive, *work)


def _derive_or_die(video: Any, *given: Any) -> Derived:
    if video.uri.endswith(BAD):
        os.kill(os.getpid(), signal.SIGKILL)
    return derive_film(video, *given)


def write_shard_or_fall(task: writing.ShardTask) -> writing.ShardResult:
    """`write_shard` that the samples of bad films end."""
    with patch.object(writing, "encode_sample", _encode_or_fall):
        return WRITE_SHARD(task)


def try_sample_or_fall(task: writing.ShardTask) -> None:
    """`try_sample` that the samples of bad films end."""
    with patch.object(writing, "encode_sample", _encode_or_fall):
        TRY_SAMPLE(task)


def write_shard_or_lose(task: writing.ShardTask) -> writing.ShardResult:
    """`write_shard` that loses the samples of bad films in the ordinary way."""
    with patch.object(writing, "encode_sample", _encode_or_lose):
        return WRITE_SHARD(task)


def _encode_or_fall(clips: list[ClipSource], *given: Any) -> EncodedSample:
    if clips[0].path.name == BAD:
        os.kill(os.getpid(), signal.SIGSEGV)
    assert clips[0].path.name not in AS_LOST, "never the same frame twice"
    return encode_sample(clips, *given)


def _encode_or_lose(clips: list[ClipSource], *given: Any) -> EncodedSample:
    if clips[0].path.name in AS_LOST:
        raise AS_LOST[clips[0].path.name]
    return encode_sample(clips, *given)

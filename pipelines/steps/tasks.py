"""What the workers of a pack are given: films, spans and places, looked up from a plan's ids."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation.captioning import tags
from curation.catalog.datasets import datasets
from curation.errors import FilmError
from curation.records import ClipRow, VideoRow
from curation.shards.ahead import FilmResult, FilmTask
from curation.shards.document import SampleClip, SamplePlan
from curation.shards.encoding import ClipSource
from curation.shards.writing import ShardTask, StoredVideo, index_of
from curation.traces import trace_folder
from curation.video.spans import enterable
from pipelines.job import Job
from pipelines.steps.ahead import AHEAD
from pipelines.steps.identify import Library
from pipelines.steps.plan import DatasetPlan, Origin


class Tasks:
    """Makes tasks when it is their turn: a plan of millions stays columnar.

    Args:
        job: the job.
        library: where the films are.
        plan: the samples and their shards.
        clips: every clip of the plan.
        origin: what the version is made from.
        folder: where the shards are built.
        publish_id: the version's identity.
    """

    def __init__(
        self,
        job: Job,
        library: Library,
        plan: DatasetPlan,
        clips: dict[str, ClipRow],
        origin: Origin,
        folder: Path,
        publish_id: str,
    ) -> None:
        self._job, self._library, self._plan, self._clips = job, library, plan, clips
        self._origin, self._folder, self._publish_id = origin, folder, publish_id
        scanned = {"scan_fingerprint": origin.fingerprints["scan"]}
        self._videos = {row.video_id: row for row in job.catalog.rows(VideoRow, scanned)}
        self._stored = _stored_videos(job, origin)
        self.shards: list[str] = plan.samples["shard"].unique().to_pylist()
        """Names of the shards, in their order."""

    def of_films(self) -> Iterator[FilmTask]:
        """Films that every sample would decode from the start, if two or more are to be encoded."""
        samples = self._plan.samples
        whole = [film for film in samples["video_id"].unique().to_pylist() if self._is_whole(film)]
        open_shards = [name for name in self.shards if not index_of(self._folder, name).is_file()]
        samples = samples.filter(
            pc.and_(
                pc.is_in(samples["video_id"], pa.array(whole, pa.string())),
                pc.is_in(samples["shard"], pa.array(open_shards, pa.string())),
            )
        )
        for film in whole:
            rows = samples.filter(pc.equal(samples["video_id"], film)).to_pylist()
            rows = [row for row in rows if row["sample_id"] not in self._stored]
            if len(rows) > 1:
                yield FilmTask(
                    video_id=film,
                    folder=self._folder / AHEAD,
                    samples=tuple(self._sample(row) for row in rows),
                    settings=self._plan.pack.encode,
                )

    def _is_whole(self, film: str) -> bool:
        """Whether this film can be read from its start only."""
        video = self._videos[film]
        assert video.container is not None  # it was read, as it has clips
        assert video.codec is not None
        damaged = video.decode_errors or video.mended_timestamps
        return bool(damaged) or not enterable(video.container, video.codec)

    def of_shards(self, ahead: Iterable[FilmResult]) -> Iterator[ShardTask]:
        """All shards of the plan.

        Args:
            ahead: what was encoded film by film.
        """
        stored = dict(self._stored)
        given_up: dict[str, FilmError] = {}
        for film in ahead:
            stored |= film.stored
            given_up |= film.given_up
        samples = self._plan.samples
        for name in self.shards:
            rows = samples.filter(pc.equal(samples["shard"], name)).to_pylist()
            ids = {row["sample_id"] for row in rows}
            yield ShardTask(
                name=name,
                folder=self._folder,
                samples=tuple(self._sample(row) for row in rows),
                stored={sample: stored[sample] for sample in ids & stored.keys()},
                settings=self._plan.pack.encode,
                publish_id=self._publish_id,
                pack_fingerprint=self._origin.fingerprints["pack"],
                given_up={sample: given_up[sample] for sample in ids & given_up.keys()},
            )

    def _sample(self, row: dict[str, Any]) -> SamplePlan:
        film = self._library.films[row["video_id"]]
        traces = trace_folder(
            self._job.home.films, film.video_id, self._origin.fingerprints["scan"]
        )
        video = self._videos[film.video_id]
        parts = []
        said = zip(tags.split(row["caption"]), row["captioners"], strict=True)
        for clip_id, (caption, captioner) in zip(row["clip_ids"], said, strict=True):
            clip = self._clips[clip_id]
            source = ClipSource(clip_id, video, film.path, traces, clip.start_frame, clip.end_frame)
            parts.append(SampleClip(source, clip, caption, captioner))
        return SamplePlan(
            sample_id=row["sample_id"],
            kind=row["kind"],
            split=row["split"],
            clips=tuple(parts),
            caption=row["caption"],
            size=(row["width"], row["height"]),
            licence=row["licence"],
            fingerprints=self._origin.fingerprints,
        )


def _stored_videos(job: Job, origin: Origin) -> dict[str, StoredVideo]:
    """Samples whose video an earlier version of any dataset holds, coded in the same way."""
    folders = {
        row.publish_id: job.home.datasets / row.name / str(row.version)
        for row in datasets(job.catalog)
    }
    columns = [
        "sample_id", "publish_id", "shard", "mp4_offset", "mp4_size", "mp4_sha256",
        "json_offset", "json_size",
    ]  # fmt: skip
    table = job.catalog.read("samples", {"pack_fingerprint": origin.fingerprints["pack"]}, columns)
    return {
        row["sample_id"]: StoredVideo(
            tar=folders[row["publish_id"]] / f"{row['shard']}.tar",
            mp4_offset=row["mp4_offset"],
            mp4_size=row["mp4_size"],
            mp4_sha256=row["mp4_sha256"],
            json_offset=row["json_offset"],
            json_size=row["json_size"],
        )
        for row in table.to_pylist()
        if row["publish_id"] in folders
    }

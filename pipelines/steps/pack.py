"""From kept clips to a published dataset version: assemble, plan, write shards, publish.

Shards are built in a folder named after the publish id, which is a function of what goes in. A run
that was killed finds that folder again and goes on. The folder is renamed to its version's number
just before the one append to the catalog that makes the version real.
"""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation.captioning import tags
from curation.catalog.datasets import check_name, datasets, publish_dataset
from curation.components import fingerprint
from curation.errors import CurationError
from curation.multishot import MULTI, MultiShotConfig, assemble
from curation.records import ClipRow, DatasetRow, VideoRow, canonical_json, digest, now
from curation.shards.document import SampleClip, SamplePlan
from curation.shards.encoding import ClipSource
from curation.shards.manifest import MANIFEST, ManifestHead, write_manifest
from curation.shards.planning import PackConfig, plan_shards
from curation.shards.writing import ShardResult, ShardTask, StoredVideo
from curation.splits import SplitConfig, Standing, sides_of_films
from curation.traces import sync_folder, trace_folder
from curation.video.geometry import packed_size
from pipelines.job import Job
from pipelines.steps.caption import Caption
from pipelines.steps.identify import Library
from pipelines.steps.shards import write_shards

_BUILDING = ".building-"
_STRINGS = pa.list_(pa.string())


@dataclasses.dataclass(frozen=True, slots=True)
class Origin:
    """What a version is made from: recorded in its manifest and in every sample."""

    dataset: str
    recipe: str
    config: dict[str, Any]
    fingerprints: dict[str, str]
    """Of 'scan', 'derive' and 'pack'."""


@dataclasses.dataclass(frozen=True, slots=True)
class DatasetPlan:
    """A version before anything is encoded."""

    samples: pa.Table
    """`plan_shards`' columns, and caption, captioners (one for each clip), licence."""
    pack: PackConfig
    content: str
    """Hash of all that decides the version's bytes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Published:
    """What became of a plan."""

    version: DatasetRow
    folder: Path
    fresh: bool
    """False when the newest version holds exactly this already."""
    encoded: int
    copied: int
    lost: list[dict[str, Any]]


def plan_dataset(
    kept: pa.Table,
    groups: dict[str, str],
    captions: dict[str, Caption],
    origin: Origin,
    split: SplitConfig,
    earlier: Mapping[str, Standing],
    multishot: MultiShotConfig,
    pack: PackConfig,
) -> DatasetPlan:
    """Assemble samples from kept clips and lay them out in shards. Writes nothing.

    Clips without a caption are left out, of sequences too; the caller has counted them. Films of
    one duplicate group (film -> group) are on one side of the split: on that where the dataset's
    earlier versions have one of them.

    Raises:
        CurationError: no clip has a caption.
        DatasetError: validation is asked for and all clips are of one film.
    """
    captioned = pa.array([clip in captions for clip in kept["clip_id"].to_pylist()], pa.bool_())
    clips = _resized(kept.filter(captioned), pack)
    if not clips.num_rows:
        raise CurationError(
            f"none of {kept.num_rows} kept clips has a caption; give words beside the films, or "
            "let --set captioners=sidecar,describe describe the rest"
        )
    films = clips["video_id"].unique().to_pylist()
    sides = sides_of_films({film: groups[film] for film in films}, split, earlier)
    samples = plan_shards(assemble(clips, sides, multishot), pack)
    words = [[captions[clip] for clip in ids] for ids in samples["clip_ids"].to_pylist()]
    licence = dict(zip(clips["clip_id"].to_pylist(), clips["licence"].to_pylist(), strict=True))
    for name, values, kind in (
        ("caption", [tags.join([word.text for word in said]) for said in words], pa.string()),
        ("captioners", [[word.captioner for word in said] for said in words], _STRINGS),
        # The clips of a sample are of one film, and so of one licence.
        ("licence", [licence[ids[0]] for ids in samples["clip_ids"].to_pylist()], pa.string()),
    ):
        samples = samples.append_column(name, pa.array(values, kind))
    return DatasetPlan(samples, pack, _content(samples, origin))


def pack_fingerprint(pack: PackConfig, scan_fingerprint: str) -> str:
    """What makes a sample's video: coding, size, and the scan that found frames and borders."""
    coded = {"encode": pack.encode, "short_side": pack.short_side, "scan": scan_fingerprint}
    return fingerprint("pack", coded)


def _resized(clips: pa.Table, pack: PackConfig) -> pa.Table:
    """Clips with the size at which they will be packed."""
    sizes = [
        packed_size(width, height, pack.short_side)
        for width, height in zip(
            clips["width"].to_pylist(), clips["height"].to_pylist(), strict=True
        )
    ]
    for position, name in enumerate(("width", "height")):
        column = clips.schema.get_field_index(name)
        values = pa.array([size[position] for size in sizes], pa.int64())
        clips = clips.set_column(column, name, values)
    return clips


def _content(samples: pa.Table, origin: Origin) -> str:
    hasher = hashlib.sha256()
    for name in ("sample_id", "shard", "caption", "captioners", "licence", "width", "height"):
        hasher.update("\0".join(map(str, samples[name].to_pylist())).encode())
    identity = {"config": origin.config, "fingerprints": origin.fingerprints}
    return digest("content", hasher.hexdigest(), canonical_json(identity))


def pack_dataset(
    job: Job, library: Library, plan: DatasetPlan, clips: dict[str, ClipRow], origin: Origin
) -> Published:
    """Write the shards of a plan and publish them as the dataset's next version.

    Args:
        job: the job.
        library: where the films are.
        plan: the samples and their shards.
        clips: every clip of the plan.
        origin: what the version is made from.

    Raises:
        CurationError: the disk is full, or a shard could not be written.
        DatasetError: what was written does not add up.
    """
    check_name(origin.dataset)
    root = job.home.datasets / origin.dataset
    versions = [row for row in datasets(job.catalog) if row.name == origin.dataset]
    chain = ["", *(row.publish_id for row in versions)]
    if versions and chain[-1] == _publish_id(origin, plan, chain[-2]):
        folder = root / str(versions[-1].version)
        lost = _manifest(folder)["lost"]
        if not any(row["transient"] for row in lost):
            return Published(versions[-1], folder, False, 0, 0, lost)
    publish_id = _publish_id(origin, plan, chain[-1])
    building = _workshop(root, publish_id)
    tasks = _shard_tasks(job, library, plan, clips, origin, building, publish_id)
    try:
        results = write_shards(job, tasks, len(plan.samples["shard"].unique()))
    finally:
        for partial in building.glob(".*.partial"):  # of workers that were killed
            partial.unlink()
    return _publish(job, library, origin, building, publish_id, results)


def _publish_id(origin: Origin, plan: DatasetPlan, before: str) -> str:
    """Identity of a version: its content, on top of the version before."""
    return digest("publish", origin.dataset, before, plan.content)


def _manifest(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
    return document


def _workshop(root: Path, publish_id: str) -> Path:
    """The folder that shards are built in.

    A run that was killed after it renamed the folder, and before the catalog knew, left it under a
    version's number: it is taken back.
    """
    building = root / f"{_BUILDING}{publish_id}"
    building.mkdir(parents=True, exist_ok=True)
    for manifest in root.glob(f"[0-9]*/{MANIFEST}"):
        if _manifest(manifest.parent)["publish_id"] == publish_id:
            shutil.rmtree(building)
            manifest.parent.rename(building)
    return building


def _shard_tasks(
    job: Job,
    library: Library,
    plan: DatasetPlan,
    clips: dict[str, ClipRow],
    origin: Origin,
    folder: Path,
    publish_id: str,
) -> Iterator[ShardTask]:
    """One task per shard, made when it is its turn: a plan of millions stays columnar."""
    videos = {
        row.video_id: row
        for row in job.catalog.rows(VideoRow, {"scan_fingerprint": origin.fingerprints["scan"]})
    }
    stored = _stored_videos(job, origin)
    for name in plan.samples["shard"].unique().to_pylist():
        rows = plan.samples.filter(pc.equal(plan.samples["shard"], name)).to_pylist()
        yield ShardTask(
            name=name,
            folder=folder,
            samples=tuple(_sample_plan(job, library, origin, row, clips, videos) for row in rows),
            stored={
                row["sample_id"]: stored[row["sample_id"]]
                for row in rows
                if row["sample_id"] in stored
            },
            settings=plan.pack.encode,
            publish_id=publish_id,
            pack_fingerprint=origin.fingerprints["pack"],
        )


def _sample_plan(
    job: Job,
    library: Library,
    origin: Origin,
    row: dict[str, Any],
    clips: dict[str, ClipRow],
    videos: dict[str, VideoRow],
) -> SamplePlan:
    film = library.films[row["video_id"]]
    traces = trace_folder(job.home.films, film.video_id, origin.fingerprints["scan"])
    video = videos[film.video_id]
    parts = []
    said = zip(tags.split(row["caption"]), row["captioners"], strict=True)
    for clip_id, (caption, captioner) in zip(row["clip_ids"], said, strict=True):
        clip = clips[clip_id]
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
        fingerprints=origin.fingerprints,
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


def _publish(
    job: Job,
    library: Library,
    origin: Origin,
    building: Path,
    publish_id: str,
    results: list[ShardResult],
) -> Published:
    shards = [result.shard for result in results if result.shard]
    samples = [row for result in results for row in result.samples]
    lost = [row for result in results for row in result.lost]
    if not samples:
        reasons = ", ".join(sorted({row["reason"] for row in lost}))
        raise CurationError(f"not one sample could be packed ({reasons}); are the films in place?")
    head = ManifestHead(
        dataset=origin.dataset,
        publish_id=publish_id,
        recipe=origin.recipe,
        config=origin.config,
        fingerprints=origin.fingerprints,
        films=sorted(library.films),
    )
    manifest_sha256 = write_manifest(building, head, shards, samples, lost)
    row = DatasetRow(
        name=origin.dataset,
        version=0,
        publish_id=publish_id,
        manifest_uri="",
        manifest_sha256=manifest_sha256,
        recipe=origin.recipe,
        films=len({sample.video_id for sample in samples}),
        samples=len(samples),
        train_samples=sum(sample.split == "train" for sample in samples),
        val_samples=sum(sample.split == "val" for sample in samples),
        multi_samples=sum(sample.kind == MULTI for sample in samples),
        shards=len(shards),
        seconds=sum(shard.seconds for shard in shards),
        bytes=sum(shard.bytes for shard in shards),
        snapshots="",
        run_id=job.run_id,
        recorded_at=now(),
    )
    place = _Place(building)
    try:
        version = publish_dataset(job.catalog, row, samples, shards, place)
    except CurationError:
        if not job.catalog.rows(
            DatasetRow, {"publish_id": publish_id}
        ):  # the append has not landed
            place.folder.rename(building)
        raise
    _tidy(building.parent)
    return Published(
        version=version,
        folder=place.folder,
        fresh=True,
        encoded=sum(result.encoded for result in results),
        copied=len(samples) - sum(result.encoded for result in results),
        lost=lost,
    )


class _Place:
    """Puts the built folder where its version belongs, before the catalog names it."""

    def __init__(self, building: Path) -> None:
        self.folder = building

    def __call__(self, version: int) -> str:
        """Rename the folder to the version's number; returns the manifest's place in the home."""
        root = self.folder.parent
        target = root / str(version)
        if target != self.folder:
            if target.exists():
                # Left by a run that died before its append: it becomes a building site again.
                left = _manifest(target)["publish_id"]
                target.rename(root / f"{_BUILDING}{left}")
            self.folder.rename(target)
            sync_folder(root)
            self.folder = target
        return f"datasets/{root.name}/{version}/{MANIFEST}"


def _tidy(root: Path) -> None:
    """Remove the building sites of plans that were given up: a newer version stands now."""
    for abandoned in root.glob(f"{_BUILDING}*"):
        shutil.rmtree(abandoned)

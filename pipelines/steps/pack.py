"""From a plan to a published dataset version: write its shards, and publish them.

Shards are built in a folder named after the publish id, which is a function of what goes in. A run
that was killed finds that folder again and goes on. The folder is renamed to its version's number
just before the one append to the catalog that makes the version real.
"""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

from curation.catalog.datasets import check_name, datasets, publish_dataset
from curation.errors import CurationError
from curation.identities import digest
from curation.multishot import MULTI
from curation.records import ClipRow, DatasetRow, now
from curation.remote import store_folder
from curation.shards.manifest import MANIFEST, ManifestHead, write_manifest
from curation.shards.writing import ShardResult
from curation.unfinished import sync_folder
from pipelines.job import Job
from pipelines.steps.ahead import AHEAD, encode_ahead
from pipelines.steps.identify import Library
from pipelines.steps.plan import DatasetPlan, Origin
from pipelines.steps.shards import write_shards
from pipelines.steps.tasks import Tasks

_BUILDING = ".building-"


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
    publish_id = _publish_id(origin, plan, chain[-1])
    if versions and chain[-1] == _publish_id(origin, plan, chain[-2]):
        folder = root / str(versions[-1].version)
        lost = _manifest(folder)["lost"] if (folder / MANIFEST).is_file() else None
        if lost is None:
            publish_id = chain[-1]  # of another home, or removed: it is made again, byte for byte
        elif not any(row["transient"] for row in lost):
            return Published(versions[-1], folder, False, 0, 0, lost)
    building = _workshop(root, publish_id)
    tasks = Tasks(job, library, plan, clips, origin, building, publish_id)
    try:
        ahead = encode_ahead(job, list(tasks.of_films()))
        results = write_shards(job, tasks.of_shards(ahead), len(tasks.shards))
    finally:
        for partial in building.rglob(".*.partial"):  # of workers that were killed
            partial.unlink()
    if (building / AHEAD).exists():
        shutil.rmtree(building / AHEAD)
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
    place = _Place(building, _stored(job, building, manifest_sha256))
    try:
        version = publish_dataset(job.catalog, row, samples, shards, place)
    except CurationError:
        if not job.catalog.rows(
            DatasetRow, {"publish_id": publish_id}
        ):  # the append has not landed
            place.folder.rename(building)
        raise
    place(version.version)  # another home may have published the same: the files are this one's too
    _tidy(building.parent)
    return Published(
        version=version,
        folder=place.folder,
        fresh=True,
        encoded=sum(result.encoded for result in results),
        copied=len(samples) - sum(result.encoded for result in results),
        lost=lost,
    )


def _stored(job: Job, building: Path, manifest_sha256: str) -> str | None:
    """Copy a built version to the object store, where there is one; the manifest's address there.

    It lies under its manifest's hash, and so of all its bytes: publishers that race for a number
    cannot mix their files, and one that is killed in between leaves what its next try needs.

    Raises:
        CurationError: the store cannot be reached, or refuses.
    """
    if job.home.published is None:
        return None
    address = f"{job.home.published}/{building.parent.name}/{manifest_sha256}"
    try:
        store_folder(building, address, last=MANIFEST)
    except OSError as error:
        raise CurationError(
            f"the version cannot be stored at {address}: {error}; run again: what is built is kept"
        ) from error
    return f"{address}/{MANIFEST}"


class _Place:
    """Puts the built folder where its version belongs, before the catalog names it."""

    def __init__(self, building: Path, stored: str | None) -> None:
        self.folder = building
        self._stored = stored

    def __call__(self, version: int) -> str:
        """Rename the folder to the version's number; returns where its manifest is.

        That is an address in the object store, or a place in the home.
        """
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
        return self._stored or f"datasets/{root.name}/{version}/{MANIFEST}"


def _tidy(root: Path) -> None:
    """Remove the building sites of plans that were given up: a newer version stands now."""
    for abandoned in root.glob(f"{_BUILDING}*"):
        shutil.rmtree(abandoned)

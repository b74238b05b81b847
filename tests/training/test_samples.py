"""Samples by their offsets: what stock tools find in the tars, and what is wrong said plainly."""

import json
import shutil
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest

from curation.catalog.store import Catalog
from curation.errors import DatasetError
from pipelines.settings import Home
from tests.training.tiny_dataset import TinyDataset
from training.errors import DamagedSampleError, TrainingDataError
from training.samples import Samples, shard_paths
from training.storage import ShardFolder
from training.versions import published_version


@pytest.fixture
def copy(tiny: TinyDataset, tmp_path: Path) -> Path:
    """A manifest whose folder may be damaged."""
    shutil.copytree(tiny.manifest.parent, tmp_path / "1")
    return tmp_path / "1" / "manifest.json"


def members(manifest: Path) -> dict[str, bytes]:
    found = {}
    for tar in manifest.parent.glob("*.tar"):
        with tarfile.open(tar) as archive:
            for member in archive:
                content = archive.extractfile(member)
                assert content is not None
                found[member.name] = content.read()
    return found


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_samples_are_what_is_in_the_tars(tiny: TinyDataset, prefix: str) -> None:
    stored = members(tiny.manifest)
    seen = set()
    for split in ("train", "val"):
        samples = Samples.open(f"{prefix}{tiny.manifest}", split)
        for index in range(len(samples)):
            sample = samples.read(index)
            document = tiny.documents[sample.sample_id]
            assert sample.mp4 == stored[f"{sample.sample_id}.mp4"]
            assert sample.sample_id == samples.sample_id(index)
            assert document["split"] == split
            assert sample.frame_count == document["frame_count"] == samples.frame_counts[index]
            assert (samples.widths[index], samples.heights[index]) == (
                document["width"],
                document["height"],
            )
            assert [(shot.start, shot.end, shot.caption) for shot in sample.shots] == [
                (shot["start_frame"], shot["end_frame"], shot["caption"])
                for shot in document["shots"]
            ]
            seen.add(sample.sample_id)
        samples.close()
    assert seen == tiny.documents.keys()


def test_a_name_leads_to_the_manifest_and_its_hash(tiny: TinyDataset) -> None:
    with Catalog.open(Home(tiny.home).catalog()) as catalog:
        version = published_version(catalog, "tiny")
        with pytest.raises(DatasetError, match="tiny@1"):
            published_version(catalog, "tiny@2")
    assert version.reference == "tiny@1"
    assert Path(version.manifest) == tiny.manifest
    samples = Samples.open(version.manifest, sha256=version.sha256)
    assert len(samples) == len(tiny.of_split("train"))
    with pytest.raises(TrainingDataError, match="changed after it was published"):
        Samples.open(version.manifest, sha256="0" * 64)


def test_versions_that_are_not_whole_are_refused(copy: Path) -> None:
    tar = next(copy.parent.glob("train-*.tar"))
    whole = tar.read_bytes()
    tar.write_bytes(whole[:-512])
    for look in (lambda: Samples.open(copy), lambda: shard_paths(copy, "train")):
        with pytest.raises(TrainingDataError, match=rf"{tar.name}: \d+ bytes, .* copy it again"):
            look()
    tar.unlink()
    with pytest.raises(TrainingDataError, match=rf"{tar.name}: missing"):
        Samples.open(copy)
    tar.write_bytes(whole)
    index = copy.parent / "samples.parquet"
    index.write_bytes(index.read_bytes() + b" ")
    with pytest.raises(TrainingDataError, match=r"samples\.parquet is not the one"):
        Samples.open(copy)


def test_manifests_that_are_none_are_refused(copy: Path) -> None:
    with pytest.raises(TrainingDataError, match=r"manifest\.json of a version whose folder is"):
        Samples.open(copy.parent / "none.json")
    document = json.loads(copy.read_bytes())
    copy.write_text(json.dumps(document | {"schema_version": 99}))
    with pytest.raises(TrainingDataError, match="schema_version 99"):
        Samples.open(copy)
    copy.write_text("[1]")
    with pytest.raises(TrainingDataError, match="is not a manifest"):
        Samples.open(copy)
    with pytest.raises(ValueError, match="nowhere://"):
        Samples.open("nowhere://bucket/manifest.json")


def test_a_split_that_is_empty_is_named(tiny: TinyDataset) -> None:
    with pytest.raises(TrainingDataError, match=r"'test', all are in train, val"):
        Samples.open(tiny.manifest, "test")


def test_flipped_bits_are_damage_and_a_missing_shard_is_an_error(copy: Path) -> None:
    samples = Samples.open(copy)
    first = samples.read(0)
    tar = next(path for path in copy.parent.glob("*.tar") if first.mp4 in path.read_bytes())
    data = bytearray(tar.read_bytes())
    data[bytes(data).index(first.mp4) + len(first.mp4) // 2] ^= 1
    tar.write_bytes(data)
    with pytest.raises(DamagedSampleError, match=f"{first.sample_id}: .*other bytes"):
        samples.read(0)
    # The JSON has no hash of its own, so what it says is held against the index.
    data[bytes(data).index(b'"end_frame":') + 13] ^= 1
    tar.write_bytes(data)
    damaged = 0
    for index in range(len(samples)):
        try:
            samples.read(index)
        except DamagedSampleError:
            damaged += 1
    assert damaged >= 1
    samples.close()
    tar.unlink()
    with pytest.raises(TrainingDataError, match="cannot be read"):
        samples.read(0)


def test_few_files_stay_open_and_threads_share_them(tmp_path: Path) -> None:
    for k in range(12):
        (tmp_path / f"{k}.tar").write_bytes(bytes([k]) * 10_000)
    folder = ShardFolder(tmp_path, open_files=3)
    wrong: list[int] = []

    def read(seed: int) -> None:
        order = np.random.default_rng(seed).integers(12, size=300).tolist()
        wrong.extend(k for k in order if folder.read(f"{k}.tar", 5_000, 100) != bytes([k]) * 100)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert folder.open_files == 3
    folder.close()
    assert folder.open_files == 0
    assert folder.read("3.tar", 9_990) == bytes([3]) * 10
    assert folder.read("3.tar", 9_990, 500) == bytes([3]) * 10

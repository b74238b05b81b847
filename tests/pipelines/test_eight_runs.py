"""Eight runs at once, from eight homes, into one catalog: nothing lost, nothing twice."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from curation.catalog.datasets import datasets
from curation.catalog.schema import TABLES
from curation.catalog.store import Catalog
from curation.records import ClipRow, RunRow, SampleRow
from curation.shards.manifest import MANIFEST
from pipelines.curate import curate
from pipelines.engine import SerialEngine
from pipelines.job import Silence
from pipelines.settings import Home
from tests.conftest import REPOSITORY
from tests.pipelines.eight_runs import RUNS
from tests.pipelines.tiny_library import render, request
from tests.postgres import address, postgres_server


def test_eight_runs_into_one_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    films, alone = render(tmp_path / "films"), Home(tmp_path / "alone")
    curate(request(films), alone, SerialEngine(), Silence())
    with Catalog.open(alone.catalog()) as catalog:
        clips = {row.clip_id for row in catalog.rows(ClipRow)}
        samples = {row.sample_id: row.mp4_sha256 for row in catalog.rows(SampleRow)}
    homes = tmp_path / "homes"
    with postgres_server() as port:
        uri = address(port).render_as_string(hide_password=False)
        monkeypatch.setenv("TEMPO_CATALOG_URI", uri)
        monkeypatch.setenv("TEMPO_WAREHOUSE", str(tmp_path / "warehouse"))
        runs = subprocess.run(
            [sys.executable, "-m", "tests.pipelines.eight_runs", str(homes), str(films)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=540,
            env=os.environ,
        )
        assert runs.returncode == 0, runs.stdout + runs.stderr
        with Catalog.open(Home(homes / "0").catalog()) as catalog:
            for name, spec in TABLES.items():
                stored = catalog.table(name).scan().to_arrow().select(list(spec.identity))
                twice = [key for key, n in Counter(map(repr, stored.to_pylist())).items() if n > 1]
                assert not twice, f"{name}: {twice}"
            assert [row.status for row in catalog.rows(RunRow)] == ["ok"] * RUNS
            assert {row.clip_id for row in catalog.rows(ClipRow)} == clips
            versions = datasets(catalog)
            assert [row.version for row in versions] == list(range(1, len(versions) + 1))
            assert len({row.publish_id for row in versions}) == len(versions)
            at_full_size = set()
            for version in versions:
                rows = catalog.rows(SampleRow, {"publish_id": version.publish_id})
                assert {row.sample_id for row in rows} == samples.keys()
                if {row.sample_id: row.mp4_sha256 for row in rows} == samples:
                    at_full_size.add(version.publish_id)
    # Each home holds, under its version's number, the files of what it asked for.
    published = {row.version: row.publish_id for row in versions}
    for number in range(RUNS):
        (manifest,) = homes.glob(f"{number}/datasets/tiny/*/{MANIFEST}")
        publish_id = json.loads(manifest.read_bytes())["publish_id"]
        assert published[int(manifest.parent.name)] == publish_id
        assert (publish_id in at_full_size) == (number % 2 == 0)
        assert not list(homes.glob(f"{number}/datasets/tiny/.building-*"))

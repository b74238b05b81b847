"""What a process imports is what it waits for: seconds, for the catalog's and torch's libraries."""

import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

CATALOG = {"pyiceberg", "sqlalchemy", "duckdb"}
MODELS = {"torch", "transformers", "diffusers", "open_clip", "webdataset"}
NETWORKS = {"transformers", "diffusers", "peft", "deepspeed", "torch._dynamo", "open_clip"}
MEDIA = {"av", "cv2", "decord", "numpy", "pyarrow"}


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("pipelines.cli", CATALOG | MODELS | MEDIA),
        ("pipelines.devices", CATALOG | MODELS | MEDIA),
        # What workers run stands in these.
        ("pipelines.steps.identify", CATALOG | MODELS),
        ("pipelines.steps.ingest", CATALOG | MODELS),
        ("pipelines.steps.caption", CATALOG | MODELS),
        ("curation.shards.writing", CATALOG | MODELS),
        # Clusters and earlier versions are few runs' concern.
        ("pipelines.curate", MODELS | {"scipy.stats", "scipy.cluster"}),
        # The job of training starts others that import these; a dry run needs none of them.
        ("pipelines.train", NETWORKS),
        ("pipelines.train_dry_run", NETWORKS),
    ],
)
def test_no_process_imports_what_it_does_not_need(module: str, unwanted: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert module in done.stdout.split()
    assert not unwanted & set(done.stdout.split())

"""What a process imports is what it waits for: seconds, for the catalog's and torch's libraries."""

import gc
import subprocess
import sys

import pytest

from pipelines.imports import lasting_imports
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


def test_garbage_is_looked_for_again_afterwards_also_where_an_import_fails() -> None:
    kept = gc.get_freeze_count()
    with pytest.raises(ImportError), lasting_imports():
        assert not gc.isenabled()
        made = [[] for _ in range(1000)]
        raise ImportError
    assert gc.isenabled()
    assert gc.get_freeze_count() >= kept + len(made)

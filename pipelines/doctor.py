"""What is present, what is missing, and how to mend it."""

import dataclasses
import importlib.metadata
import os
import shutil
from collections.abc import Iterator

import psutil

from curation.catalog.store import Catalog
from curation.errors import CatalogError
from curation.video.codecs import missing_decoders, missing_encoders
from pipelines.settings import Home

_LOW_DISK = 5 << 30
_PACKAGES = ("av", "decord", "opencv-python", "scenedetect", "pyiceberg", "duckdb", "webdataset")


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: str
    """'ok', 'note' (works without) or 'missing' (curation cannot run)."""
    detail: str
    remedy: str | None = None


def examine(home: Home) -> list[Finding]:
    """Look at everything that curation needs."""
    return [
        _packages(),
        *_codecs(),
        _machine(),
        _gpu(),
        _disk(home),
        _catalog(home),
        Finding(
            "weights",
            "note",
            "curate_offline loads none; what another recipe loads, and what of it is absent: "
            "tempo curate FOLDER --recipe curate_production --dry-run",
        ),
    ]


def _packages() -> Finding:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    return Finding("packages", "ok", versions)


def _codecs() -> Iterator[Finding]:
    for name, missing in (("decoders", missing_decoders()), ("encoders", missing_encoders())):
        if missing:
            remedy = "reinstall PyAV's own wheel: uv pip install --reinstall av"
            yield Finding(name, "missing", f"not in this build: {', '.join(missing)}", remedy)
        else:
            yield Finding(name, "ok", "all that are needed are in PyAV's own FFmpeg")


def _machine() -> Finding:
    memory = psutil.virtual_memory()
    detail = f"{os.cpu_count()} cores, {memory.available >> 30} of {memory.total >> 30} GiB free"
    return Finding("machine", "ok", detail)


def _gpu() -> Finding:
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return Finding("gpu", "note", "none found; curation does not need one")
    return Finding("gpu", "ok", f"driver tools at {smi}; curation does not need one")


def _disk(home: Home) -> Finding:
    place = home.root
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    detail = f"{free / 2**30:.1f} GiB free under {home.root}"
    if not os.access(place, os.W_OK):
        return Finding("home", "missing", f"{place} cannot be written to", "choose another --home")
    if free < _LOW_DISK:
        return Finding("home", "note", detail, "free some space: evidence and shards need it")
    return Finding("home", "ok", detail)


def _catalog(home: Home) -> Finding:
    settings = home.catalog()
    if settings.uri is None and not home.root.exists():
        return Finding("catalog", "ok", "none yet; the first curation makes it")
    try:
        with Catalog.open(settings) as catalog:
            tables = len(catalog.snapshots())
    except CatalogError as error:
        return Finding("catalog", "missing", str(error), "see TEMPO_CATALOG_URI")
    return Finding("catalog", "ok", f"{settings.shown}, {tables} tables with rows")

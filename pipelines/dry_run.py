"""What a curation would do, and every model file that it would load: read, and nothing done.

Nothing is fetched or hashed either, so what it says costs seconds and needs no network; how many
clips there will be, only the films themselves can tell.
"""

import dataclasses
from pathlib import Path
from typing import Any

from curation.captioning.local import LocalConfig, Weights
from curation.catalog.store import Catalog
from curation.records import SourceRow
from curation.scoring.weights import ModelFile, absent, found
from pipelines.curate import CurateConfig, CurateRequest
from pipelines.settings import Home
from pipelines.steps.identify import unchanged


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do, as far as it can be known without reading a film."""

    counts: dict[str, int]
    models: list[ModelFile]
    """Files of weights, absent ones too."""

    def document(self) -> dict[str, Any]:
        """As JSON holds it."""
        models = [
            dataclasses.asdict(file) | {"path": file.path and str(file.path)}
            for file in self.models
        ]
        return {**self.counts, "models": models}


def planned(request: CurateRequest, home: Home) -> Plan:
    """Look at the catalog and the folders of weights. Writes nothing."""
    return Plan(_counts(request, home), _models(request.config, home))


def _counts(request: CurateRequest, home: Home) -> dict[str, int]:
    counts = {"files": len(request.films), "unhashed_files": len(request.films)}
    if not home.root.is_dir():
        return counts | {"films_to_scan": len(request.films)}
    with Catalog.open(home.catalog()) as catalog:
        known = {row.uri: row.video_id for row in catalog.rows(SourceRow) if unchanged(row)}
        scan = request.config.scan.fingerprint
        done = catalog.read("videos", {"scan_fingerprint": scan}, ["video_id"])
    scanned = set(done["video_id"].to_pylist())
    hashed = [film for film in request.films if film.uri in known]
    seen = sum(known[film.uri] in scanned for film in hashed)
    return counts | {
        "unhashed_files": len(request.films) - len(hashed),
        "films_scanned_before": seen,
        "films_to_scan": len(request.films) - seen,
    }


def _models(config: CurateConfig, home: Home) -> list[ModelFile]:
    fetched_by_nobody = dataclasses.replace(config.score, fetch=False)
    files = fetched_by_nobody.files(home.weights)
    if "local" in config.captioners:
        files += _caption_files(config.caption.local)
    return files


def _caption_files(config: LocalConfig) -> list[ModelFile]:
    setting, what = "caption.local.model", f"captioner {config.model}"
    folder = Path(config.model)
    if not folder.is_dir():
        cached = _cached(config)
        if cached is None:
            remedy = f"set caption.local.fetch, or get revision {config.revision} from the hub"
            return [absent(setting, what, remedy)]
        folder = cached
    return [found(setting, what, path) for path in Weights(folder, config.model).files()]


def _cached(config: LocalConfig) -> Path | None:
    """Where the hub's library keeps the model on this machine; None where it does not."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(config.model, revision=config.revision, local_files_only=True)
        )
    except LocalEntryNotFoundError:
        return None

"""What a curation would do, and every model file that it would load: read, and nothing done.

Nothing is fetched and no film is hashed, so what it says costs seconds and needs no network; how
many clips there will be, only the films themselves can tell. What is told apart by its first bytes
is a file that can be no film at all: an empty one, a text.
"""

import codecs
import dataclasses
from pathlib import Path
from typing import Any

from curation.captioning.local import LocalConfig, Weights
from curation.catalog.store import Catalog
from curation.derive import DeriveConfig
from curation.errors import CurationError
from curation.records import SourceRow
from curation.scan import ScanConfig
from curation.weights import ModelFile, absent, found
from pipelines.curate import CurateConfig, CurateRequest
from pipelines.inputs import FilmInput
from pipelines.settings import Home
from pipelines.steps.identify import unchanged

_HEAD = 4096
_SPACE = 0x20


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do, as far as it can be known without reading a film."""

    counts: dict[str, int]
    models: list[ModelFile]
    """Files of weights, absent ones too."""
    no_films: list["NoFilm"]
    """Files that need not be decoded to be refused."""

    def document(self) -> dict[str, Any]:
        """As JSON holds it."""
        models = [
            dataclasses.asdict(file) | {"path": file.path and str(file.path)}
            for file in self.models
        ]
        no_films = [dataclasses.asdict(file) for file in self.no_films]
        return {**self.counts, "models": models, "no_films": no_films}


@dataclasses.dataclass(frozen=True, slots=True)
class NoFilm:
    """A file that was offered and is no film."""

    uri: str
    why: str


def planned(request: CurateRequest, home: Home) -> Plan:
    """Look at the catalog and the folders of weights. Writes nothing."""
    looked_at = ((film.uri, _why_no_film(film)) for film in request.films)
    no_films = [NoFilm(uri, why) for uri, why in looked_at if why]
    refused = {file.uri for file in no_films}
    films = [film for film in request.films if film.uri not in refused]
    counts = {"files": len(request.films), "no_films": len(no_films)}
    network, scan = _network(request.config.scan, home)
    counts |= _counts(films, scan, request.config.derive, home)
    return Plan(counts, [*_models(request.config, home), *network], no_films)


def _why_no_film(film: FilmInput) -> str | None:
    """What speaks against a local file; None when only a decoder could tell, or it is elsewhere."""
    if not isinstance(film.path, Path) or "://" in film.uri:
        return None
    try:
        if film.path.is_dir():
            return "a folder that is named like a film"
        with film.path.open("rb") as file:
            head = file.read(_HEAD)
    except (OSError, ValueError) as error:
        return str(error)
    if not head:
        return "the file holds no bytes"
    if _is_text(head):
        return "a text; a list of films is a manifest and ends in .csv, .jsonl or .parquet"
    return None


def _is_text(head: bytes) -> bool:
    """Whether these first bytes are words: UTF-8, but for a last character cut in two."""
    if any(byte < _SPACE and byte not in b"\t\n\v\f\r" for byte in head):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _network(scan: ScanConfig, home: Home) -> tuple[list[ModelFile], str | None]:
    """The file of the network that judges frames, if one is to, and the scan's fingerprint.

    None where that file is absent or no use: nothing was scanned with it.
    """
    if not scan.transnet.wanted:
        return [], scan.fingerprint
    file = scan.transnet.file(home.weights)
    if file.path is None:
        return [file], None
    try:
        return [file], scan.settled(home.weights).fingerprint
    except CurationError as error:
        return [dataclasses.replace(file, remedy=str(error))], None


def _counts(
    films: list[FilmInput], scan: str | None, derive: DeriveConfig, home: Home
) -> dict[str, int]:
    if not home.root.is_dir():
        return {"unhashed_files": len(films), "films_to_scan": len(films)}
    with Catalog.open(home.catalog()) as catalog:
        known = {row.uri: row.video_id for row in catalog.rows(SourceRow) if unchanged(row)}
        made_by = {"derive_fingerprint": derive.fingerprint(scan or "")}
        shots = catalog.read("shots", made_by, ["video_id"])["video_id"]
        done = catalog.read("videos", {"scan_fingerprint": scan or ""}, ["video_id", "status"])
    status = dict(zip(*(done[name].to_pylist() for name in done.column_names), strict=True))
    derived = set(shots.unique().to_pylist())
    hashed = [known[film.uri] for film in films if film.uri in known]
    seen = [video for video in hashed if video in status]
    again = [video for video in seen if status[video] != "quarantined" and video not in derived]
    return {
        "unhashed_files": len(films) - len(hashed),
        "films_scanned_before": len(seen),
        "films_to_scan": len(films) - len(seen),
        "films_to_derive_again": len(again),
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

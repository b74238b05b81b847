"""A library of three short films that is rendered in a second: for whole runs in tests."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from curation.catalog.schema import TABLES
from curation.catalog.store import Catalog
from curation.video.encode import FilmWriter
from pipelines.curate import CurateConfig, CurateRequest
from pipelines.inputs import list_films
from pipelines.recipes.curation import curate_offline
from pipelines.settings import Home, with_overrides

WIDTH, HEIGHT, SHOT_FRAMES = 192, 128, 72
SHOTS = {"first.mp4": (1, 2), "second.mp4": (3,), "third.mp4": (4, 5)}
"""Film -> seeds of its shots, each SHOT_FRAMES long."""
SETTINGS = ["select.short_side.min=none", "select.seconds.min=1", "pack.shard_bytes=1000000"]
_TELLS_TIME = {"recorded_at", "run_id", "scan_seconds", "snapshots", "started_at", "finished_at"}


def render(folder: Path) -> Path:
    """Render the films; the same bytes every time."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, seeds in SHOTS.items():
        with FilmWriter(folder / name, WIDTH, HEIGHT) as writer:
            for seed in seeds:
                for picture in shot(seed):
                    writer.write_rgb(picture)
    return folder


def shot(seed: int, frames: int = SHOT_FRAMES) -> Iterator[npt.NDArray[np.uint8]]:
    """A textured scene of its own colour that drifts past."""
    random = np.random.default_rng(seed)
    noise = random.random((HEIGHT * 2, WIDTH * 3, 3), dtype=np.float32)
    coarse = np.asarray(sum(cv2.GaussianBlur(noise, (0, 0), sigma) * sigma for sigma in (1, 3, 9)))
    tint = random.uniform(0.6, 1.0, 3)
    scene = (coarse - coarse.mean()) / coarse.std() * 45 + 120 * tint
    canvas = np.clip(scene, 0, 255).astype(np.uint8)
    for k in range(frames):
        x, y = 10 + 2 * k, 5 + k // 2
        yield canvas[y : y + HEIGHT, x : x + WIDTH]


def config(*assignments: str) -> CurateConfig:
    """The offline recipe, with room for these tiny films."""
    return with_overrides(curate_offline(), [*SETTINGS, *assignments])


def request(films: Path, *assignments: str, **fields: Any) -> CurateRequest:
    """Curate a folder into the dataset 'tiny'."""
    return CurateRequest(list_films([str(films)]), "tiny", config(*assignments), **fields)


def published_files(home: Home, dataset: str = "tiny") -> dict[str, str]:
    """sha256 of every file under a dataset's versions, by path."""
    root = home.datasets / dataset
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def catalog_rows(home: Home) -> dict[str, list[dict[str, Any]]]:
    """All rows but those of runs, without what tells time; also rows that newer ones supersede."""
    found = {}
    with Catalog.open(home.catalog()) as catalog:
        for name in TABLES.keys() - {"runs"}:
            rows = catalog.table(name).scan().to_arrow().to_pylist()
            plain = [{k: v for k, v in row.items() if k not in _TELLS_TIME} for row in rows]
            found[name] = sorted(plain, key=repr)
    return found

"""A small published version whose every frame says which frame of which film it is.

Films are rendered with a bar code of (film, frame) over a drifting texture, curated by the
project's own job, and read back by tests through the code, whatever was cut and packed in between.
"""

import dataclasses
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.video.encode import FilmWriter
from pipelines.curate import CurateRequest, curate
from pipelines.engine import SerialEngine
from pipelines.inputs import list_films
from pipelines.job import Silence
from pipelines.settings import Home
from tests.pipelines.tiny_library import config, shot

U8 = npt.NDArray[np.uint8]
FILMS = {"a": (100, 60, 80), "b": (180,), "c": (72, 72), "d": (150,), "e": (48,)}
"""Film -> frames of its shots. Landscape 192x128, but for 'd', which is portrait 128x192."""
SETTINGS = [
    "select.seconds.max=none", "split.val_share=0.15", "multishot.share=1", "multishot.max_shots=3",
]  # fmt: skip
_BITS, _SIDE = 14, 12


def render(folder: Path) -> Path:
    """Render the films."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, shots) in enumerate(FILMS.items()):
        width, height = (128, 192) if name == "d" else (192, 128)
        pictures = (
            picture for k, frames in enumerate(shots) for picture in shot(10 * number + k, frames)
        )
        with FilmWriter(folder / f"{name}.mp4", width, height) as writer:
            for frame, picture in enumerate(pictures):
                turned = picture.transpose(1, 0, 2) if name == "d" else picture
                writer.write_rgb(stamped(turned, number << 10 | frame))
    return folder


def stamped(picture: U8, number: int) -> U8:
    """A picture with a number written into its middle: two rows of black and white blocks."""
    marked = np.ascontiguousarray(picture).copy()
    for bit, (rows, columns) in enumerate(_blocks(picture.shape[0], picture.shape[1])):
        marked[rows, columns] = 235 if number >> bit & 1 else 20
    return marked


def stamp(picture: U8) -> tuple[int, int]:
    """Film and frame that a picture's bar code tells, at the size it was rendered."""
    number = 0
    for bit, (rows, columns) in enumerate(_blocks(picture.shape[0], picture.shape[1])):
        inner = picture[rows.start + 3 : rows.stop - 3, columns.start + 3 : columns.stop - 3]
        number |= int(inner.mean() > 128) << bit
    return number >> 10, number & 1023


def _blocks(height: int, width: int) -> list[tuple[slice, slice]]:
    top, left = height // 2 - _SIDE, width // 2 - _BITS // 4 * _SIDE
    corners = [(top + bit % 2 * _SIDE, left + bit // 2 * _SIDE) for bit in range(_BITS)]
    return [(slice(y, y + _SIDE), slice(x, x + _SIDE)) for y, x in corners]


@dataclasses.dataclass(frozen=True)
class TinyDataset:
    """Where the version is, and what stock tools say is in it."""

    home: Path
    manifest: Path
    documents: dict[str, dict[str, Any]]
    """sample_id -> its JSON, by Python's tarfile."""

    def of_split(self, split: str) -> dict[str, dict[str, Any]]:
        """The documents of one side."""
        return {key: found for key, found in self.documents.items() if found["split"] == split}

    def stamps(self, sample_id: str) -> list[tuple[int, int]]:
        """Film and frame that each frame of a sample must show."""
        shown = []
        for part in self.documents[sample_id]["shots"]:
            film = list(FILMS).index(Path(part["source"]["uri"]).stem)
            shown += [(film, frame) for frame in part["source"]["frames"]]
        return shown


def make(folder: Path) -> TinyDataset:
    """Render, curate and publish."""
    home = Home(folder / "home")
    films = render(folder / "films")
    request = CurateRequest(list_films([str(films)]), "tiny", config(*SETTINGS))
    curate(request, home, SerialEngine(), Silence())
    version = home.datasets / "tiny" / "1"
    documents = {}
    for tar in sorted(version.glob("*.tar")):
        with tarfile.open(tar) as archive:
            for member in archive:
                if member.name.endswith(".json"):
                    content = archive.extractfile(member)
                    assert content is not None
                    documents[member.name.removesuffix(".json")] = json.load(content)
    return TinyDataset(home.root, version / "manifest.json", documents)

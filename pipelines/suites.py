"""Suites made from what a home holds: prompts and first frames of a version's validation side.

Training never saw those films, and there is something to compare with: the film went on somehow.
The trade-off: a small library has few of them, and then several prompts are moments of one shot.
"""

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from curation.catalog.store import Catalog
from curation.records import SampleRow
from curation.unfinished import replacing
from curation.video.film import Film
from curation.video.playback import played, rgb_of
from evaluation.suites import Prompt, Suite, checked_picture, read_suite, write_suite
from pipelines.settings import Home
from training.samples import Samples
from training.versions import PublishedVersion, published_version

SUITE = "suite.jsonl"
_UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True, slots=True)
class FromDataset:
    """How many prompts a version gives.

    Attributes:
        prompts: at most.
        every: frames at 24 fps from one moment of a shot to the next that may begin a video; all
            first frames come before any second ones.
    """

    prompts: int = 6
    every: int = 48

    def __post_init__(self) -> None:
        if self.prompts < 1 or self.every < 1:
            raise ValueError(f"prompts={self.prompts}, every={self.every}: both must be 1 or more")


@dataclasses.dataclass(frozen=True, slots=True)
class _Moment:
    sample: int
    frame: int
    """Of the sample's video."""
    clip_id: str
    into: int
    """Frames since the beginning of the clip."""
    caption: str


def named_suite(text: str, home: Home) -> Suite:
    """A suite as the command line names it: a manifest, or ``NAME@VERSION`` of a dataset.

    Raises:
        ValueError: no such file, or it is none.
        DatasetError, TrainingDataError: no such version, or it has no validation side.
    """
    if Path(text).suffix in {".jsonl", ".csv"}:
        return read_suite(Path(text))
    return dataset_suite(home, text)[0]


def dataset_suite(home: Home, reference: str, how: FromDataset | None = None) -> tuple[Suite, Path]:
    """The suite of a dataset version, written under ``suites/`` if it is not there yet; its file.

    Args:
        home: that published the version.
        reference: ``NAME``, ``NAME@latest`` or ``NAME@3``.
        how: how many prompts.

    Raises:
        DatasetError, TrainingDataError: no such version, or it has no validation side.
    """
    how = how or FromDataset()
    with Catalog.open(home.catalog()) as catalog:
        version = published_version(catalog, reference)
        rows = catalog.rows(SampleRow, {"split": "val"})
    folder = home.suites / f"{version.reference}-{how.prompts}x{how.every}"
    if not (folder / SUITE).is_file():
        known = {row.sample_id: row for row in rows}
        write_suite(folder / SUITE, _prompts(version, how, folder / "images", known))
    suite = read_suite(folder / SUITE)
    return dataclasses.replace(suite, name=version.reference), folder / SUITE


def _prompts(
    version: PublishedVersion, how: FromDataset, images: Path, known: dict[str, SampleRow]
) -> Iterator[Prompt]:
    samples = Samples.open(version.manifest, "val", version.sha256)
    try:
        chosen = sorted(_moments(samples, known, how.every), key=lambda m: (m.into, m.clip_id))
        for moment in chosen[: how.prompts]:
            name = f"{moment.clip_id[:8]}-{moment.into:04d}"
            picture = _picture(samples, moment, images / f"{name}.png")
            licence = known[samples.sample_id(moment.sample)].licence or _UNKNOWN
            yield Prompt(name, moment.caption, picture, checked_picture(picture, name), licence)
    finally:
        samples.close()


def _moments(samples: Samples, known: dict[str, SampleRow], every: int) -> Iterator[_Moment]:
    """Moments of each clip that has a caption; a clip may stand in several samples."""
    seen: set[str] = set()
    for index in sorted(range(len(samples)), key=samples.sample_id):
        stored = samples.read(index)
        clips = known[stored.sample_id].clip_ids
        for clip_id, shot in zip(clips, stored.shots, strict=True):
            if clip_id in seen or not shot.caption:
                continue
            seen.add(clip_id)
            for into in range(0, shot.end - shot.start, every):
                yield _Moment(index, shot.start + into, clip_id, into, shot.caption)


def _picture(samples: Samples, moment: _Moment, out: Path) -> Path:
    stored = samples.read(moment.sample)
    width, height = (int(side[moment.sample]) for side in (samples.widths, samples.heights))
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        file.write(stored.mp4)
        file.flush()
        film = Film(Path(file.name))
        for number, frame in enumerate(played(film, width, height)):
            if number == moment.frame:
                with replacing(out) as partial:
                    Image.fromarray(rgb_of(frame, film.info.colour)).save(partial, format="PNG")
                return out
    raise AssertionError(f"{stored.sample_id} has no frame {moment.frame}")

"""The videos of a study: found by name in each system's folder, brought into one container.

What a rater could tell systems apart by, other than the picture, is taken away: size, rate, codec,
colour tags, metadata, file name, file time. Every video is decoded to RGB and encoded again by the
same settings, also one that would fit as it is; the price is one more generation of (nearly
lossless) coding, the same for all. What stays is the number of frames, unless all are trimmed.
"""

import csv
import dataclasses
import hashlib
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

from curation.video.encode import EncodeSettings, FilmWriter
from curation.video.film import Film
from curation.video.playback import played, rgb_of
from evaluation.study.document import Clip, Container, Mode
from pipelines.crew import Limits
from pipelines.inputs import FILM_SUFFIXES

LIMITS = Limits(timeout_seconds=3600.0, memory_bytes=3 << 30)
_SIDES = ("left", "right")
_SAME_SHAPE = 0.01
"""Two videos are of one shape when width / height differs by no more than this share."""


@dataclasses.dataclass(frozen=True, slots=True)
class Material:
    """What a study is about.

    Attributes:
        items: item -> system -> video; every item has every system.
        prompts: item -> the text it was made from.
        notes: what the owner should know about it.
    """

    items: dict[str, dict[str, Path]]
    prompts: dict[str, str]
    notes: tuple[str, ...] = ()

    @property
    def systems(self) -> tuple[str, ...]:
        """In their order."""
        return tuple(next(iter(self.items.values())))


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """A video to bring into the container.

    Attributes:
        path: what to read.
        clip: its id in the study.
        target: what to write.
        container: how.
        frames: keep at most so many; None: all.
        frozen: show the first frame for as long as the video lasts: a question whose answer is
            known, for nothing moves.
    """

    path: Path
    clip: str
    target: Path
    container: Container
    frames: int | None = None
    frozen: bool = False


def encode(source: Source) -> Clip:
    """Write a video in the study's container.

    Raises:
        FilmError: the source cannot be read.
        EncodeError: the target cannot be written.
    """
    box = source.container
    film = Film(source.path)
    settings = EncodeSettings(crf=box.crf, gop=box.fps)
    pictures = played(film, box.width, box.height, rate=box.fps)
    held = None
    with FilmWriter(
        source.target, box.width, box.height, fps=Fraction(box.fps), settings=settings
    ) as writer:
        for frame in itertools.islice(pictures, source.frames):
            picture = rgb_of(frame, film.info.colour)
            held = picture if held is None else held
            writer.write_rgb(held if source.frozen else picture)
    os.utime(source.target, (0, 0))
    content = source.target.read_bytes()
    return Clip(
        frames=writer.frames,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        source=f"{source.path}{' (first frame held)' if source.frozen else ''}",
    )


def material_in(systems: Mapping[str, Path], prompts: Path | None) -> Material:
    """Videos of the same name in each system's folder.

    Args:
        systems: name -> folder.
        prompts: as `find_prompts` takes it.

    Raises:
        ValueError: a folder is missing or empty, a system lacks an item, or an item its prompt.
    """
    items = find_items(systems)
    videos = {name: [*by_system.values()] for name, by_system in items.items()}
    return Material(items, find_prompts(videos, prompts))


def find_items(systems: Mapping[str, Path]) -> dict[str, dict[str, Path]]:
    """Item -> system -> video: files of the same name, whatever their suffix.

    Raises:
        ValueError: a folder is missing or empty, or a system lacks an item.
    """
    by_system = {system: videos_in(folder) for system, folder in systems.items()}
    everything = sorted({name for videos in by_system.values() for name in videos})
    for system, videos in by_system.items():
        lacking = [name for name in everything if name not in videos]
        if lacking:
            raise ValueError(
                f"system {system!r}: {systems[system]} has no video called {lacking[0]} "
                f"({len(lacking)} of {len(everything)} missing); every system shows every item"
            )
    return {name: {system: by_system[system][name] for system in systems} for name in everything}


def videos_in(folder: Path) -> dict[str, Path]:
    """Videos of a folder by name without suffix.

    Raises:
        ValueError: there is no such folder, no video in it, or two of one name.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in FILM_SUFFIXES and not path.name.startswith("."):
            if path.stem in found:
                raise ValueError(f"{folder}: {found[path.stem].name} and {path.name} are one item")
            found[path.stem] = path
    if not found:
        raise ValueError(f"{folder}: no videos in it")
    return found


def find_prompts(items: Mapping[str, Sequence[Path]], file: Path | None) -> dict[str, str]:
    """The text that each item was made from.

    Args:
        items: item -> its videos.
        file: JSON ``{item: prompt}`` or CSV with columns item and prompt; None: ``NAME.txt`` beside
            a video, or the record that `tempo generate` writes beside it.

    Raises:
        ValueError: an item has none; without it nobody can judge alignment.
    """
    given = _read_prompts(file) if file else {}
    prompts = {}
    for item, videos in items.items():
        beside = (_prompt_beside(video) for video in videos)
        prompt = given.get(item) if file else next((words for words in beside if words), None)
        if not prompt or not prompt.strip():
            beside_it = f"write {videos[0].with_suffix('.txt')} or give --prompts FILE"
            remedy = f"add it to {file}" if file else beside_it
            raise ValueError(f"item {item}: no prompt; {remedy}")
        prompts[item] = prompt.strip()
    return prompts


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """Videos that are shown at a time, and the text that they were made from."""

    videos: tuple[Path, ...]
    prompt: str


def questions_in(folder: Path, mode: Mode) -> dict[str, Question]:
    """Practice or gold of a folder, by name: single videos, or pairs of sides.

    Raises:
        ValueError: there is none, one has no prompt, or a pair lacks a side.
    """
    shown = _pairs_in(folder) if mode is Mode.PAIRWISE else _singles_in(folder)
    found = {}
    for name, videos in shown.items():
        prompt = (_prompt_beside(folder / f"{name}.mp4") or "").strip()
        if not prompt:
            raise ValueError(f"{folder}: {name} has no prompt; write {folder / f'{name}.txt'}")
        found[name] = Question(videos, prompt)
    return found


def _singles_in(folder: Path) -> dict[str, tuple[Path, ...]]:
    return {name: (video,) for name, video in videos_in(folder).items()}


def _pairs_in(folder: Path) -> dict[str, tuple[Path, ...]]:
    videos = videos_in(folder)
    names = dict.fromkeys(name.removesuffix(".left").removesuffix(".right") for name in videos)
    for name in names:
        if name in videos or any(f"{name}.{side}" not in videos for side in _SIDES):
            raise ValueError(
                f"{folder}: {name} is no pair; a pairwise study shows two videos at a time, "
                f"{name}.left.mp4 and {name}.right.mp4"
            )
    return {name: tuple(videos[f"{name}.{side}"] for side in _SIDES) for name in names}


def common_size(videos: Sequence[Path]) -> tuple[int, int]:
    """The smallest size among videos of one shape, so that none is enlarged.

    Raises:
        FilmError: a video cannot be read.
        ValueError: their shapes differ.
    """
    sizes = {}
    for video in videos:
        info = Film(video).info
        sizes[video] = info.display_size(info.whole)
    smallest = min(sizes, key=lambda video: sizes[video][0] * sizes[video][1])
    width, height = sizes[smallest]
    for video, (wide, high) in sizes.items():
        if abs(wide * height / (high * width) - 1) > _SAME_SHAPE:
            raise ValueError(
                f"{video} is {wide}x{high}, {smallest} is {width}x{height}: of different shapes; "
                "choose one with --size WIDTHxHEIGHT, pictures fill it and are cut evenly"
            )
    return width // 2 * 2, height // 2 * 2


def _prompt_beside(video: Path) -> str | None:
    words, record = video.with_suffix(".txt"), video.with_suffix(".json")
    if words.is_file():
        return words.read_text(encoding="utf-8")
    if record.is_file():
        content = json.loads(record.read_text(encoding="utf-8"))
        job = content.get("job") if isinstance(content, dict) else None
        prompt = job.get("prompt") if isinstance(job, dict) else None
        return prompt if isinstance(prompt, str) else None
    return None


def _read_prompts(file: Path) -> dict[str, str]:
    try:
        text = file.read_text(encoding="utf-8-sig")
        if file.suffix.lower() == ".csv":
            return {row["item"]: row["prompt"] for row in csv.DictReader(text.splitlines())}
        content = json.loads(text)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError) as error:
        raise ValueError(
            f"prompts {file}: cannot be read ({error!r}); give JSON {{item: prompt}} or a CSV with "
            "columns item and prompt"
        ) from error
    if not isinstance(content, dict) or not all(isinstance(v, str) for v in content.values()):
        raise ValueError(f"prompts {file}: give one JSON object, {{item: prompt}}")
    return content

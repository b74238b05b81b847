"""The study file: all that is fixed before the first rater comes, in one JSON or TOML file.

It holds the unblinding map, so it stays with the owner; and it holds the exclusion rules and the
tests, so that nobody can choose them after seeing results: its fingerprint is registered when the
study is first served, and a study with ratings refuses another one. The price is that a mistake
found later needs a new study.
"""

import collections
import dataclasses
import hashlib
import json
import re
import tomllib
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any

import pydantic

from curation.unfinished import replacing
from evaluation.study.scales import APPENDIX_C, HIGHEST, LOWEST, Dimension

SCHEMA_VERSION = 1
SIGNIFICANT = 0.05
"""Two systems are told apart when the corrected p is below."""
VIDEOS = "videos"
_CLIP_ID = re.compile(r"[0-9a-f]{16}")
_FORBID = pydantic.ConfigDict(extra="forbid")


class Mode(StrEnum):
    """What a rater is shown."""

    RATING = "rating"
    """One video at a time, 1 to 5 on each dimension."""
    PAIRWISE = "pairwise"
    """Two videos of one prompt, which of them is better on each dimension."""


@dataclasses.dataclass(frozen=True, slots=True)
class Container:
    """What every video of the study is encoded as, whatever made it."""

    width: int
    height: int
    fps: int = 24
    crf: int = 12

    __pydantic_config__ = _FORBID

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 16 or self.width % 2 or self.height % 2:
            raise ValueError(f"container {self.width}x{self.height}: give even sides, at least 16")
        if not 1 <= self.fps <= 60:
            raise ValueError(f"container.fps = {self.fps}: give 1 to 60")
        if not 0 <= self.crf <= 51:
            raise ValueError(f"container.crf = {self.crf}: libx264 takes 0 (lossless) to 51")


@dataclasses.dataclass(frozen=True, slots=True)
class Clip:
    """A video as raters see it: `videos/ID.mp4` beside the study file."""

    frames: int
    bytes: int
    sha256: str
    source: str
    """What it was made from; for the owner's eyes."""

    __pydantic_config__ = _FORBID

    def __post_init__(self) -> None:
        if self.frames < 1 or self.bytes < 1:
            raise ValueError(f"clip from {self.source}: frames and bytes are at least 1")


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
    """One prompt, and the video that each system made of it."""

    id: str
    prompt: str
    videos: dict[str, str]
    """System -> clip."""

    __pydantic_config__ = _FORBID


@dataclasses.dataclass(frozen=True, slots=True)
class Training:
    """Shown first, explained after it is answered, never counted."""

    prompt: str
    videos: tuple[str, ...]
    """One clip, or two (left and right) in pairwise mode."""
    note: str
    """What a practised rater would say of it."""

    __pydantic_config__ = _FORBID


@dataclasses.dataclass(frozen=True, slots=True)
class Gold:
    """A question whose answer is known; it looks like any other."""

    prompt: str
    videos: tuple[str, ...]
    accept: dict[str, tuple[int, int]]
    """Dimension -> lowest and highest answer that passes: 1 to 5; pairwise, -1 (the first video is
    better), 0 or 1 (the second). Shown with sides swapped, the answer is turned back first."""

    __pydantic_config__ = _FORBID


@dataclasses.dataclass(frozen=True, slots=True)
class Exclusion:
    """When a rater's answers do not count. Each rule is off where it is None."""

    min_gold_share: float | None = 0.7
    """Share of gold questions that must pass."""
    max_repeat_gap: float | None = 1.25
    """Mean absolute difference between a rater's answers to the same video shown twice."""
    max_same_share: float | None = 0.95
    """Share of the most frequent answer among all of a rater's answers."""
    min_completed: float | None = 0.5
    """Share of the rater's own list that must be answered."""

    __pydantic_config__ = _FORBID

    def __post_init__(self) -> None:
        for name in ("min_gold_share", "max_same_share", "min_completed"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"exclusion.{name} = {value}: give a share, 0 to 1, or null")
        if self.max_repeat_gap is not None and self.max_repeat_gap < 0:
            raise ValueError(
                f"exclusion.max_repeat_gap = {self.max_repeat_gap}: at least 0, or null"
            )


@dataclasses.dataclass(frozen=True, slots=True)
class Study:
    """A study, complete."""

    title: str
    mode: Mode
    seed: int
    systems: tuple[str, ...]
    container: Container
    clips: dict[str, Clip]
    items: tuple[Item, ...]
    dimensions: tuple[Dimension, ...] = APPENDIX_C
    training: tuple[Training, ...] = ()
    gold: tuple[Gold, ...] = ()
    repeats: int = 0
    """Videos (or pairs) that each rater is shown again, unannounced."""
    items_per_rater: int | None = None
    """None: each rater sees every item."""
    showings_per_item: int | None = None
    """Of the systems (pairwise: of the pairs of systems), how many a rater sees of an item."""
    reference: str | None = None
    """Compare this system with each other one; None: every pair of systems."""
    exclusion: Exclusion = dataclasses.field(default_factory=Exclusion)
    schema_version: int = SCHEMA_VERSION

    __pydantic_config__ = _FORBID

    def __post_init__(self) -> None:
        if self.schema_version != SCHEMA_VERSION:
            raise ValueError(
                f"schema_version = {self.schema_version}: this version reads {SCHEMA_VERSION}"
            )
        if not self.title.strip():
            raise ValueError("title: raters read it first, it cannot be empty")
        self._check_systems()
        self._check_items()
        self._check_clips()
        self._check_questions()
        self._check_amounts()

    @property
    def slots(self) -> int:
        """Videos on the screen at a time."""
        return 2 if self.mode is Mode.PAIRWISE else 1

    @property
    def answers(self) -> range:
        """What may be answered on a dimension."""
        return range(-1, 2) if self.mode is Mode.PAIRWISE else range(LOWEST, HIGHEST + 1)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Pairs of systems that are compared; the reference comes first."""
        if self.reference is not None:
            return tuple((self.reference, s) for s in self.systems if s != self.reference)
        return tuple((a, b) for k, a in enumerate(self.systems) for b in self.systems[k + 1 :])

    @property
    def treatments(self) -> tuple[tuple[str, ...], ...]:
        """What an item can be shown as: a system, or a pair of them."""
        return self.pairs if self.mode is Mode.PAIRWISE else tuple((s,) for s in self.systems)

    def seconds(self, clip: str) -> float:
        """How long a clip plays."""
        return self.clips[clip].frames / self.container.fps

    def _extras(self) -> list[tuple[str, ...]]:
        """Videos of training, then of gold."""
        return [extra.videos for extra in self.training] + [gold.videos for gold in self.gold]

    def _check_systems(self) -> None:
        _refuse_repeated("systems", self.systems)
        least = self.slots
        if len(self.systems) < least:
            raise ValueError(
                f"systems = {list(self.systems)}: a {self.mode} study needs at least {least}"
            )
        if self.reference is not None and self.reference not in self.systems:
            raise ValueError(
                f"reference = {self.reference!r}: no such system; there are "
                f"{', '.join(self.systems)}"
            )

    def _check_items(self) -> None:
        if not self.items:
            raise ValueError("items: a study needs at least one")
        _refuse_repeated("items", [item.id for item in self.items])
        for item in self.items:
            if set(item.videos) != set(self.systems):
                raise ValueError(
                    f"item {item.id!r}: videos of {sorted(item.videos)}, but the systems are "
                    f"{sorted(self.systems)}; every system shows every item"
                )

    def _check_clips(self) -> None:
        for clip in self.clips:
            if not _CLIP_ID.fullmatch(clip):
                raise ValueError(f"clip {clip!r}: ids are 16 hex digits, so that they tell nothing")
        used = [clip for item in self.items for clip in item.videos.values()]
        used += [clip for videos in self._extras() for clip in videos]
        missing = sorted(set(used) - set(self.clips))
        if missing:
            raise ValueError(f"clips: {missing[0]} is shown, but not described ({len(missing)} so)")

    def _check_questions(self) -> None:
        if not self.dimensions:
            raise ValueError("dimensions: ask at least one thing")
        names = [dimension.name for dimension in self.dimensions]
        _refuse_repeated("dimensions", names)
        for place, videos in enumerate(self._extras()):
            if len(videos) != self.slots:
                raise ValueError(
                    f"training and gold {place}: {len(videos)} videos, a {self.mode} study "
                    f"shows {self.slots} at a time"
                )
        for place, gold in enumerate(self.gold):
            for name, (low, high) in gold.accept.items():
                if name not in names:
                    raise ValueError(
                        f"gold[{place}].accept: no dimension {name!r}; there are {names}"
                    )
                if low > high or low not in self.answers or high not in self.answers:
                    raise ValueError(
                        f"gold[{place}].accept[{name!r}] = [{low}, {high}]: give lowest and "
                        f"highest of {self.answers.start} to {self.answers.stop - 1}"
                    )
            if not gold.accept:
                raise ValueError(f"gold[{place}].accept: name at least one dimension")

    def _check_amounts(self) -> None:
        for name, most in (
            ("items_per_rater", len(self.items)),
            ("showings_per_item", len(self.treatments)),
        ):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= most:
                raise ValueError(f"{name} = {value}: give 1 to {most}, or null for all")
        shown = (self.items_per_rater or len(self.items)) * (
            self.showings_per_item or len(self.treatments)
        )
        if not 0 <= self.repeats <= shown // 2:
            raise ValueError(
                f"repeats = {self.repeats}: give 0 to {shown // 2}, half of the {shown} that a "
                "rater sees"
            )


def fingerprint(study: Study) -> str:
    """What is registered when a study opens: a hash of everything in the file."""
    return hashlib.sha256(_text(study).encode()).hexdigest()


def load(folder: Path) -> Study:
    """Read the study file of a folder: study.json or study.toml.

    Raises:
        ValueError: it is not there, is no study, or contradicts itself; the message says where.
    """
    found = [path for path in (folder / "study.json", folder / "study.toml") if path.is_file()]
    if len(found) != 1:
        raise ValueError(
            f"{folder}: {'both study.json and study.toml' if found else 'no study.json'} here; "
            + ("keep one" if found else "make a study with tempo study new")
        )
    return _checked(_read(found[0]), found[0])


def save(study: Study, folder: Path) -> Path:
    """Write study.json, all at once."""
    target = folder / "study.json"
    with replacing(target) as unfinished:
        text = json.dumps(json.loads(_text(study)), indent=2) + "\n"
        unfinished.write_text(text, encoding="utf-8")
    return target


def clip_path(folder: Path, clip: str) -> Path:
    """Where a clip's video is."""
    return folder / VIDEOS / f"{clip}.mp4"


def check_videos(study: Study, folder: Path) -> None:
    """Look whether every video is in place and of its size.

    Raises:
        ValueError: naming one that is not.
    """
    for clip, known in study.clips.items():
        path = clip_path(folder, clip)
        size = path.stat().st_size if path.is_file() else None
        if size != known.bytes:
            raise ValueError(
                f"{path}: {'missing' if size is None else f'{size} bytes, not {known.bytes}'}; "
                "put the file back, or make the study again with tempo study new"
            )


def _text(study: Study) -> str:
    return json.dumps(dataclasses.asdict(study), sort_keys=True, ensure_ascii=False)


def _read(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    try:
        text = path.read_text(encoding="utf-8")
        return tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (UnicodeDecodeError, json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path}: not {path.suffix[1:].upper()}: {error}") from error


def _checked(content: Any, path: Path) -> Study:  # noqa: ANN401 - whatever the file holds
    try:
        return pydantic.TypeAdapter(Study).validate_python(content)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the study"
        more = error.error_count() - 1
        raise ValueError(
            f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}"
            + (f" (and {more} more)" if more else "")
        ) from error


def _refuse_repeated(what: str, names: Iterable[str]) -> None:
    counts = collections.Counter(names)
    wrong = [name for name, count in counts.items() if count > 1 or not name.strip()]
    if wrong:
        raise ValueError(f"{what}: {wrong[0]!r} is empty or stands there twice")

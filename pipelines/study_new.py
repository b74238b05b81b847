"""Make a human study: its videos alike, its file, its secrets, in one folder.

A study is made under another name and renamed when it is whole; one whose making was killed is made
from its beginning by the same command. Whatever is wrong with the request is found before the first
video is encoded.
"""

import contextlib
import dataclasses
import math
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import filelock
import pydantic

from curation.errors import CurationError
from evaluation.study.credentials import make_credentials
from evaluation.study.document import (
    SIGNIFICANT,
    VIDEOS,
    Clip,
    Container,
    Exclusion,
    Gold,
    Item,
    Mode,
    Study,
    Training,
    save,
)
from pipelines.engine import Done, Engine, Stage
from pipelines.job import Progress
from pipelines.study_videos import (
    LIMITS,
    Material,
    Source,
    common_size,
    encode,
    questions_in,
)

_LOCK = ".lock"
_FROZEN_HIGHEST = 2
"""A picture that stands still can be rated so much for motion, no more."""


@dataclasses.dataclass(frozen=True, slots=True)
class StudyRequest:
    """What a study is made from.

    Attributes:
        folder: the study's own, which must not exist yet.
        material: videos of each system for each item, and the items' prompts.
        title: what raters read.
        mode: ratings, or pairs.
        training: folder of practice, each with NAME.txt (prompt) and NAME.note.txt (what a
            practised rater says). A video is NAME.mp4; in pairs NAME.left.mp4 and NAME.right.mp4.
        gold: folder of videos with a known answer, likewise, each with NAME.txt and
            NAME.accept.json, such as ``{"motion_quality": [1, 2]}``; in pairs ``[-1, -1]`` where
            the left one must win.
        frozen_gold: so many items are shown once more, standing still, as gold.
        repeats: shown twice to each rater.
        items_per_rater: None for all.
        showings_per_item: None for all.
        reference: compared with each other system; None: all pairs.
        exclusion: whose answers will not count.
        size: of all videos; None: the smallest there is.
        fps: of all videos.
        frames: trim all videos to so many; None: keep their lengths.
        seed: of orders and sides.
    """

    folder: Path
    material: Material
    title: str
    mode: Mode = Mode.RATING
    training: Path | None = None
    gold: Path | None = None
    frozen_gold: int = 0
    repeats: int = 0
    items_per_rater: int | None = None
    showings_per_item: int | None = None
    reference: str | None = None
    exclusion: Exclusion = dataclasses.field(default_factory=Exclusion)
    size: tuple[int, int] | None = None
    fps: int = 24
    frames: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.frames is not None and self.frames < 1:
            raise ValueError(f"frames = {self.frames}: keep at least 1")
        if self.frozen_gold < 0:
            raise ValueError(f"frozen_gold = {self.frozen_gold}: at least 0")


@dataclasses.dataclass(frozen=True, slots=True)
class MadeStudy:
    """A study that is ready to be served, and what its owner should know."""

    folder: Path
    study: Study
    warnings: tuple[str, ...]


@dataclasses.dataclass
class _Reel:
    """Videos that are to be encoded, under ids that tell nothing."""

    request: StudyRequest
    container: Container
    folder: Path
    sources: list[Source] = dataclasses.field(default_factory=list)

    def add(self, path: Path, *, frozen: bool = False) -> str:
        clip = secrets.token_hex(8)
        target = self.folder / VIDEOS / f"{clip}.mp4"
        frames = self.request.frames
        self.sources.append(Source(path, clip, target, self.container, frames, frozen))
        return clip

    def add_all(self, paths: Iterable[Path]) -> tuple[str, ...]:
        return tuple(map(self.add, paths))


def new_study(request: StudyRequest, engine: Engine, progress: Progress) -> MadeStudy:
    """Make a study: encode its videos alike, write its file and its secrets.

    Raises:
        CurationError: a video cannot be read or written.
        ValueError: the request contradicts itself or what lies in the folders.
    """
    _refuse_existing(request.folder)
    items = request.material.items
    originals = [video for videos in items.values() for video in videos.values()]
    width, height = request.size or common_size(originals)
    container = Container(width, height, request.fps)
    building = _building(request.folder)
    reel = _Reel(request, container, building)
    draft = _draft(request, reel)
    with _becoming(request.folder):
        (building / VIDEOS).mkdir()
        clips = _encode_all(reel.sources, engine, progress)
        study = dataclasses.replace(draft, clips=clips)
        save(study, building)
        make_credentials(building)
    return MadeStudy(request.folder, study, (*request.material.notes, *_warnings(study)))


def _building(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.part")


@contextlib.contextmanager
def _becoming(folder: Path) -> Iterator[None]:
    """Make `_building` an empty folder of our own, which becomes `folder` when all went well.

    What a killed process left there goes, and so does what we have made when we fail. The lock goes
    last, so that nobody takes for left what is being made, renamed or removed.

    Raises:
        ValueError: another process is making the same study, or has made it meanwhile.
    """
    building = _building(folder)
    building.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(building / _LOCK)
    try:
        building.chmod(0o700)  # the unblinding map is for the owner alone
        lock.acquire(timeout=0)
    except (filelock.Timeout, FileNotFoundError) as error:
        raise ValueError(f"{folder}: another process is making it just now") from error
    try:
        _refuse_existing(folder)
        _empty(building)
        yield
        building.rename(folder)
        (folder / _LOCK).unlink()
    except BaseException:
        with contextlib.suppress(OSError):
            _empty(building)
            (building / _LOCK).unlink()
            building.rmdir()  # refused where the next process has come in
        raise
    finally:
        lock.release()


def _refuse_existing(folder: Path) -> None:
    if folder.exists():
        raise ValueError(f"{folder}: is there already; name a folder that is not")


def _empty(building: Path) -> None:
    for left in building.iterdir():
        if left.is_dir():
            shutil.rmtree(left)
        elif left.name != _LOCK:
            left.unlink()


def _draft(request: StudyRequest, reel: _Reel) -> Study:
    """The study before its videos are measured: whatever else is wrong is found before encoding."""
    material = request.material
    shown = [
        Item(name, material.prompts[name], {system: reel.add(v) for system, v in videos.items()})
        for name, videos in material.items.items()
    ]
    # Not in the order of their systems: a folder listing must tell nothing either.
    reel.sources.sort(key=lambda source: source.clip)
    gold = [*_gold_in(request, reel), *_frozen(request, reel)]
    training = _training_in(request, reel)
    unmeasured = {source.clip: Clip(1, 1, "", str(source.path)) for source in reel.sources}
    return Study(
        title=request.title,
        mode=request.mode,
        seed=request.seed,
        systems=material.systems,
        container=reel.container,
        clips=unmeasured,
        items=tuple(shown),
        training=tuple(training),
        gold=tuple(gold),
        repeats=request.repeats,
        items_per_rater=request.items_per_rater,
        showings_per_item=request.showings_per_item,
        reference=request.reference,
        exclusion=request.exclusion,
    )


def _training_in(request: StudyRequest, reel: _Reel) -> list[Training]:
    if request.training is None:
        return []
    found = []
    for name, question in questions_in(request.training, request.mode).items():
        note = request.training / f"{name}.note.txt"
        if not note.is_file():
            raise ValueError(f"training {name}: write what a practised rater says into {note}")
        words = note.read_text(encoding="utf-8").strip()
        found.append(Training(question.prompt, reel.add_all(question.videos), words))
    return found


def _gold_in(request: StudyRequest, reel: _Reel) -> list[Gold]:
    if request.gold is None:
        return []
    return [
        Gold(
            question.prompt,
            reel.add_all(question.videos),
            _accepted(request.gold / f"{name}.accept.json", request.mode),
        )
        for name, question in questions_in(request.gold, request.mode).items()
    ]


def _accepted(path: Path, mode: Mode) -> dict[str, tuple[int, int]]:
    try:
        return pydantic.TypeAdapter(dict[str, tuple[int, int]]).validate_json(path.read_bytes())
    except (OSError, pydantic.ValidationError) as error:
        passing = "[-1, -1]" if mode is Mode.PAIRWISE else "[1, 2]"
        raise ValueError(
            f"{path}: cannot be read; write which answers pass, e.g. "
            f'{{"motion_quality": {passing}}}'
        ) from error


def _frozen(request: StudyRequest, reel: _Reel) -> list[Gold]:
    """Items that stand still. In pairs, beside the same video moving, which must win."""
    items, prompts = request.material.items, request.material.prompts
    if request.frozen_gold > len(items):
        raise ValueError(f"frozen_gold = {request.frozen_gold}: there are {len(items)} items")
    found = []
    systems = request.material.systems
    for place, name in enumerate(list(items)[: request.frozen_gold]):
        video = items[name][systems[place % len(systems)]]
        still = reel.add(video, frozen=True)
        if request.mode is Mode.PAIRWISE:
            gold = Gold(prompts[name], (reel.add(video), still), {"motion_quality": (-1, -1)})
        else:
            gold = Gold(prompts[name], (still,), {"motion_quality": (1, _FROZEN_HIGHEST)})
        found.append(gold)
    return found


def _encode_all(sources: Iterable[Source], engine: Engine, progress: Progress) -> dict[str, Clip]:
    listed = list(sources)
    progress.stage("prepare", len(listed))
    clips = {}
    for outcome in engine.map(Stage.stateless("prepare", encode, LIMITS), listed):
        if not isinstance(outcome, Done):
            raise CurationError(f"{outcome.item.path}: {outcome.message}") from outcome.error
        clips[outcome.item.clip] = outcome.value
        progress.advance()
    return dict(sorted(clips.items()))


def _warnings(study: Study) -> list[str]:
    found = []
    uneven = [
        item.id
        for item in study.items
        if len({study.clips[clip].frames for clip in item.videos.values()}) > 1
    ]
    if uneven:
        found.append(
            f"videos of {len(uneven)} items (such as {uneven[0]}) differ in length, which tells "
            "systems apart: trim them with --frames"
        )
    tests = len(study.pairs) * (len(study.dimensions) + 1)
    least = math.ceil(math.log2(tests / SIGNIFICANT)) + 1 if tests else 0
    if len(study.items) < least:
        found.append(
            f"{len(study.items)} items cannot tell systems apart, whatever raters say: "
            f"{tests} tests with Holm's correction need {least} items or more; see also --reference"
        )
    if not study.gold:
        found.append("no gold: raters who do not look cannot be told; see --frozen-gold")
    if not study.repeats:
        found.append("no hidden repeats: nothing says how consistent a rater is; see --repeats")
    if not study.training:
        found.append("no practice videos: the first answers will be practice")
    return found


def document_of(made: MadeStudy) -> dict[str, Any]:
    """What was made, as JSON prints it."""
    study = made.study
    return {
        "folder": str(made.folder),
        "mode": study.mode.value,
        "systems": list(study.systems),
        "items": len(study.items),
        "videos": len(study.clips),
        "container": dataclasses.asdict(study.container),
        "warnings": list(made.warnings),
    }

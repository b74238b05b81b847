"""Small studies without video files, and people who answer them."""

import hashlib
from collections.abc import Callable
from typing import Any

from evaluation.study.design import Kind, Task, schedule
from evaluation.study.document import Clip, Container, Gold, Item, Mode, Study, Training
from evaluation.study.storage import Answer, Store

CLIP = Clip(frames=48, bytes=1000, sha256="0" * 64, source="nowhere.mp4")
"""Two seconds long."""
Says = Callable[[Task, str], int]


def clip_id(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def study_of(systems: int = 3, items: int = 4, **fields: Any) -> Study:
    names = tuple(f"system {k}" for k in range(systems))
    shown = tuple(
        Item(f"item {i}", f"Prompt {i}.", {name: clip_id(i, name) for name in names})
        for i in range(items)
    )
    extras = [clip_id("training"), clip_id("gold"), clip_id("gold", 2)]
    clips = {clip: CLIP for item in shown for clip in item.videos.values()}
    settings: dict[str, Any] = {
        "title": "A small study",
        "mode": Mode.RATING,
        "seed": 7,
        "container": Container(192, 128),
        **fields,
    }
    return Study(systems=names, items=shown, clips=clips | dict.fromkeys(extras, CLIP), **settings)


def one_gold(**accept: tuple[int, int]) -> tuple[Gold, ...]:
    return (Gold("A wall.", (clip_id("gold"),), dict(accept)),)


def one_training() -> tuple[Training, ...]:
    return (Training("A door.", (clip_id("training"),), "Motion 2: it hardly moves."),)


def answers_of(study: Study, places: int, says: Callable[[int, Task, str], int]) -> list[Answer]:
    """What people answer who finish their lists."""
    return [
        Answer(
            rater=f"R{place:03d}",
            task=number,
            kind=task.kind,
            subject=task.subject,
            clips=task.clips,
            systems=task.systems,
            swapped=task.swapped,
            scores={d.name: says(place, task, d.name) for d in study.dimensions},
            answered_at="2026-01-01T00:00:00+00:00",
        )
        for place in range(places)
        for number, task in enumerate(schedule(study, place))
    ]


def asked_of(study: Study, places: int) -> dict[str, int]:
    return {f"R{place:03d}": len(schedule(study, place)) for place in range(places)}


def enrol(store: Store, browser: str) -> str:
    """Invite somebody, who accepts."""
    rater, edition = store.invite(expires_at=4e9)
    assert store.accept(rater, edition, browser)
    return rater


def main_tasks(study: Study, place: int) -> list[Task]:
    return [task for task in schedule(study, place) if task.kind is Kind.MAIN]

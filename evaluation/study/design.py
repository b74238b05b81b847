"""Which rater sees what, in which order: balanced by Williams squares, and reproducible for ever.

Places are handed out one after the other; place and seed decide a rater's whole list. Items are
dealt in laps: within a lap every item once, and from lap to lap an item's systems take the next row
of a Williams square, in which each system stands equally often at each position and follows each
other system equally often. Draws are SHA-256 of (seed, place, what), not a library's generator: an
update of the server in the middle of a study must not deal anew.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from enum import StrEnum
from typing import TypeVar

from evaluation.study.document import Item, Mode, Study

ValueT = TypeVar("ValueT")


class Kind(StrEnum):
    """Why a rater is shown something."""

    TRAINING = "training"
    MAIN = "main"
    REPEAT = "repeat"
    GOLD = "gold"


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """One thing to answer."""

    kind: Kind
    prompt: str
    clips: tuple[str, ...]
    """As shown: one, or left and right."""
    subject: str
    """The item; of training and gold, their number."""
    systems: tuple[str, ...] = ()
    """That made the clips; none of training and gold."""
    swapped: bool = False
    """Left and right are the other way round than the study file lists them."""


def williams(treatments: int) -> tuple[tuple[int, ...], ...]:
    """A Williams design: rows are orders of the treatments.

    Every treatment stands once in each row and equally often in each column, and follows every
    other one equally often (Williams 1949). An even number of treatments needs as many rows, an odd
    one twice as many.
    """
    zigzag = [k // 2 if k % 2 == 0 else treatments - (k + 1) // 2 for k in range(treatments)]
    rows = [tuple((first + row) % treatments for first in zigzag) for row in range(treatments)]
    if treatments % 2 and treatments > 1:
        rows += [row[::-1] for row in rows]
    return tuple(rows)


def schedule(study: Study, place: int) -> tuple[Task, ...]:
    """Everything that the rater at a place is asked, in order.

    Args:
        study: the study.
        place: 0 for the first rater who begins, then 1, and so on.
    """
    training = [
        Task(Kind.TRAINING, extra.prompt, extra.videos, str(number))
        for number, extra in enumerate(study.training)
    ]
    main = _main(study, place)
    placed = [(float(at), task) for at, task in enumerate(main)]
    placed += _repeats(study, place, main)
    placed += _gold(study, place, len(main))
    return (*training, *(task for _, task in sorted(placed, key=lambda one: one[0])))


def _main(study: Study, place: int) -> list[Task]:
    """The rater's own part of items x treatments, block by block: in each block an item once."""
    items = _shuffled(study.items, study.seed, "items")
    square = williams(len(study.treatments))
    treatments = _shuffled(study.treatments, study.seed, "treatments")
    per_rater = study.items_per_rater or len(items)
    dealt = [divmod(place * per_rater + k, len(items)) for k in range(per_rater)]
    tasks: list[Task] = []
    for block in range(study.showings_per_item or len(treatments)):
        for lap, at in _shuffled(dealt, study.seed, place, block):
            row = square[(at + lap) % len(square)]
            tasks.append(_shown(study, items[at], treatments[row[block]], lap, len(square)))
    return tasks


def _shown(study: Study, item: Item, systems: tuple[str, ...], lap: int, rows: int) -> Task:
    """An item as one treatment; sides change from lap to lap, and over whole squares of laps."""
    swapped = False
    if study.mode is Mode.PAIRWISE:
        coin = _draw(2, study.seed, "side", item.id, systems)
        swapped = bool((coin + lap + lap // rows) % 2)
        systems = systems[::-1] if swapped else systems
    clips = tuple(item.videos[system] for system in systems)
    return Task(Kind.MAIN, item.prompt, clips, item.id, systems, swapped)


def _repeats(study: Study, place: int, main: list[Task]) -> list[tuple[float, Task]]:
    """Copies of early tasks among later ones, at least a third of the list away; sides swapped."""
    gap = max(1, len(main) // 3)
    early = range(len(main) - gap)
    chosen = _shuffled(early, study.seed, place, "repeats")[: study.repeats]
    placed = []
    for at in chosen:
        later = at + gap + _draw(len(main) - gap - at, study.seed, place, "later", at)
        task = main[at]
        again = dataclasses.replace(
            task,
            kind=Kind.REPEAT,
            clips=task.clips[::-1],
            systems=task.systems[::-1],
            swapped=not task.swapped if study.mode is Mode.PAIRWISE else False,
        )
        placed.append((later + 0.5, again))
    return placed


def _gold(study: Study, place: int, length: int) -> list[tuple[float, Task]]:
    """Gold questions, one in each of as many equal parts of the list."""
    order = _shuffled(range(len(study.gold)), study.seed, place, "gold")
    placed = []
    for part, number in enumerate(order):
        gold = study.gold[number]
        first, end = part * length // len(order), (part + 1) * length // len(order)
        at = first + _draw(max(1, end - first), study.seed, place, "gold at", number)
        swapped = study.mode is Mode.PAIRWISE and bool(
            _draw(2, study.seed, place, "gold side", number)
        )
        clips = gold.videos[::-1] if swapped else gold.videos
        task = Task(Kind.GOLD, gold.prompt, clips, str(number), swapped=swapped)
        placed.append((at + 0.25, task))
    return placed


def _shuffled(values: Sequence[ValueT], *key: object) -> list[ValueT]:
    numbered = sorted(range(len(values)), key=lambda at: _digest(*key, at))
    return [values[at] for at in numbered]


def _draw(below: int, *key: object) -> int:
    """An integer from 0 to `below` - 1; 256 bits make the remainder's bias nothing."""
    return int.from_bytes(_digest(*key)) % below


def _digest(*key: object) -> bytes:
    return hashlib.sha256(repr(key).encode()).digest()

"""What a rater may do next: the rules of the study without the web around them.

A task is answered once, in order, and only after every video of it has played to its end by the
server's clock. A browser may claim what it likes; the price of believing only our own clock is that
somebody who leaves the room while a video plays cannot be told apart. Gold questions are for them.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from evaluation.study.credentials import Credentials, Play
from evaluation.study.design import Kind, Task, schedule
from evaluation.study.document import Study, clip_path
from evaluation.study.storage import Store

SLACK = 0.25
"""Seconds that a browser may call the end of a video too early: it counts by its sound card."""


class RefusedError(Exception):
    """A request that breaks a rule of the study.

    Attributes:
        status: of the HTTP answer.
        words: for the person; they tell nothing about what is rated.
    """

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status, self.words = status, words


@dataclasses.dataclass(frozen=True)
class Desk:
    """Hands out tasks, takes answers.

    Attributes:
        study: the study, as registered.
        folder: where its videos are.
        store: where answers go.
        credentials: sign plays.
        clock: seconds; never runs backwards by much.
    """

    study: Study
    folder: Path
    store: Store
    credentials: Credentials
    clock: Callable[[], float] = time.time
    deal: Callable[[int], tuple[Task, ...]] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        dealt = functools.lru_cache(maxsize=512)(functools.partial(schedule, self.study))
        object.__setattr__(self, "deal", dealt)

    def tasks(self, rater: str) -> tuple[Task, ...]:
        """The rater's whole list."""
        return self.deal(self.store.place(rater))

    def next_task(self, rater: str) -> dict[str, Any]:
        """What the page shows now. Nothing in it tells systems, items, gold or repeats apart."""
        tasks, at = self.tasks(rater), self.store.answered(rater)
        trained = len(self.study.training)
        progress = {"done": at, "total": len(tasks), "training": trained}
        if at == len(tasks):
            return progress | {"finished": True}
        task = tasks[at]
        return progress | {
            "finished": False,
            "task": at,
            "practice": task.kind is Kind.TRAINING,
            "prompt": task.prompt,
            "seconds": [self.study.seconds(clip) for clip in task.clips],
            "played": sorted(self.store.played(rater, at)),
        }

    def begin_play(self, rater: str, task: int, slot: int) -> str:
        """A video begins.

        Returns:
            What proves later when it began.

        Raises:
            RefusedError: the rater is not at this task.
        """
        self._clip(rater, task, slot)
        if task != self.store.answered(rater):
            raise RefusedError(409, "This is not the video that is to be rated now.")
        return self.credentials.play(Play(rater, task, slot, self.clock()))

    def finish_play(self, rater: str, token: str) -> None:
        """A video is over.

        Raises:
            RefusedError: it cannot be over yet, or somebody else began it.
        """
        play = self.credentials.read_play(token)
        if play is None or play.rater != rater:
            raise RefusedError(403, "This play was not begun here.")
        clip = self._clip(rater, play.task, play.slot)
        seconds = self.clock() - play.began
        if seconds < self.study.seconds(clip) - SLACK:
            raise RefusedError(425, "The video has not played to its end yet.")
        self.store.add_play(rater, play.task, play.slot, clip, seconds)

    def answer(self, rater: str, task: int, scores: Mapping[str, int]) -> str | None:
        """Take an answer. Sent again, it changes nothing.

        Returns:
            After a practice task, what a practised rater says of it.

        Raises:
            RefusedError: a video has not been played, an answer is missing or out of range, the
                task is not the rater's next, or was answered otherwise.
        """
        tasks = self.tasks(rater)
        names = {dimension.name for dimension in self.study.dimensions}
        if set(scores) != names or any(
            score not in self.study.answers for score in scores.values()
        ):
            raise RefusedError(422, "Every question needs one of its answers.")
        if task not in range(min(self.store.answered(rater) + 1, len(tasks))):
            raise RefusedError(409, "This is not the video that is to be rated now.")
        shown = tasks[task]
        if self.store.played(rater, task) != frozenset(range(len(shown.clips))):
            raise RefusedError(409, "The video has not played to its end yet.")
        if not self.store.add_answer(rater, task, shown, dict(scores)):
            raise RefusedError(409, "This was answered already; the first answer stays.")
        if shown.kind is Kind.TRAINING:
            return self.study.training[int(shown.subject)].note
        return None

    def video(self, rater: str, task: int, slot: int) -> Path:
        """The file that a rater sees.

        Raises:
            RefusedError: it is not the rater's to see, or not yet.
        """
        if task > self.store.answered(rater):
            raise RefusedError(404, "There is no such video.")
        return clip_path(self.folder, self._clip(rater, task, slot))

    def _clip(self, rater: str, task: int, slot: int) -> str:
        tasks = self.tasks(rater)
        if task not in range(len(tasks)) or slot not in range(len(tasks[task].clips)):
            raise RefusedError(404, "There is no such video.")
        return tasks[task].clips[slot]

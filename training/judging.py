"""What is looked at between two steps: the average's loss on held-out films, and a video by it.

All ranks do all of it together, also the video, which one alone could make: sharded weights need
them all, and none waits at a barrier that might run out. The trade-off is that ranks with whole
weights repeat one another's work.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from model.generation import TreeGenerator
from training.engine import Engine
from training.journal import Journal
from training.objective import Objective
from training.ranks import World
from training.validation import Validation


class SampleMaker(Protocol):
    """Makes a video with a network that is being trained."""

    def __call__(self, generator: TreeGenerator, step: int, *, write: bool) -> Path:
        """Make it; all ranks call this together, and one of them writes.

        Returns:
            Where its contact sheet is.
        """
        ...


class HeldOutJudge:
    """Measures the averaged weights on held-out films, and writes the figures down.

    Args:
        validation: this rank's share of the windows.
        objective: of the run.
        engine: the network under training.
        world: all ranks.
        journal: on the first rank.
        steps: of the run; after the last there is always a video.
        sample: makes a video; None: none is made.
        show: told of each contact sheet, on the first rank.
    """

    def __init__(
        self,
        validation: Validation,
        objective: Objective,
        engine: Engine,
        world: World,
        journal: Journal | None,
        *,
        steps: int,
        sample: SampleMaker | None,
        show: Callable[[int, Path], None],
    ) -> None:
        assert validation.config.every is not None
        self._every, self._steps = validation.config.every, steps
        self._validation = validation
        self._engine, self._world, self._journal = engine, world, journal
        self._sample, self._show = sample, show
        self._generator = TreeGenerator(engine.network, objective.codec, objective.text)

    def due(self, step: int) -> bool:
        """See `Validator.due`."""
        return step % self._every == 0

    def run(self, step: int) -> float:
        """See `Validator.run`."""
        with self._engine.averaged():
            own = self._validation.losses(self._engine.run)
            sheet = self._video(step)
        # Ranks that share samples have measured the same windows.
        losses = self._world.summed(own) / self._world.context_parallel
        found = float(losses.mean())
        if self._journal is not None:
            names = self._validation.config.names
            means = dict(zip(names, losses.mean(dim=0).tolist(), strict=True))
            self._journal.validated(step, found, means)
            if sheet is not None:
                self._journal.picture(step, sheet)
                self._show(step, sheet)
        return found

    def _video(self, step: int) -> Path | None:
        """After every few measurements, and after the last step."""
        videos = self._validation.config.videos
        if self._sample is None or videos is None:
            return None
        if step < self._steps and step % (self._every * videos):
            return None
        return self._sample(self._generator, step, write=self._world.first)

"""What is looked at between two steps: the average's loss on held-out films, and a video by it.

All ranks do all of it together, also the video, which one alone could make: sharded weights need
them all, and none waits at a barrier that might run out. The trade-off is that ranks with whole
weights repeat one another's work. A video decides nothing: it is made when all that counts of a
step is stored, and one that cannot be written is said and left out.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from curation.errors import EncodeError
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

        Raises:
            OSError, EncodeError: it cannot be written; its part in making it is done nevertheless,
                for the other ranks.
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
        say: hears of a video that could not be written, on the first rank.

    Raises:
        ValueError: videos are asked for, of a network that makes none.
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
        say: Callable[[str], None],
    ) -> None:
        assert validation.config.every is not None
        self._every, self._steps = validation.config.every, steps
        self._validation = validation
        self._engine, self._world, self._journal = engine, world, journal
        self._show, self._say = show, say
        self._videos = validation.config.videos
        self._sample: Callable[[int], Path] | None = None
        if sample is not None and self._videos is not None:
            generator = TreeGenerator(engine.network, objective.codec, objective.text)
            self._sample = functools.partial(sample, generator, write=world.first)

    def due(self, step: int) -> bool:
        """See `Validator.due`."""
        return step % self._every == 0

    def run(self, step: int) -> float:
        """See `Validator.run`."""
        with self._engine.averaged():
            own = self._validation.losses(self._engine.run)
        # Ranks that share samples have measured the same windows.
        losses = self._world.summed(own) / self._world.context_parallel
        found = float(losses.mean())
        if self._journal is not None:
            names = self._validation.config.names
            means = dict(zip(names, losses.mean(dim=0).tolist(), strict=True))
            self._journal.validated(step, found, means)
        return found

    def look(self, step: int) -> None:
        """See `Validator.look`: a video after every few measurements, and after the last step."""
        if self._sample is None or self._videos is None:
            return
        if step < self._steps and step % (self._every * self._videos):
            return
        try:
            with self._engine.averaged():
                sheet = self._sample(step)
            if self._journal is not None:
                self._journal.picture(step, sheet)
                self._show(step, sheet)
        except (OSError, EncodeError) as error:
            self._say(f"warning: no video of step {step}, training goes on: {error}")

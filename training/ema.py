"""The average of the weights over the last steps, which is what videos are generated with.

Its values live in the optimiser (`training.optimiser`); here is how fast they follow. A run of a
few hundred steps would end with an average that still remembers the random start, so the decay can
grow from the first step on; after some 9000 steps that makes no difference at 0.999.
"""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class EmaConfig:
    """How the average follows the weights.

    Attributes:
        decay: share of the old average that is kept at each update (0.999 in the paper).
        ramp: begin with less, (1 + n) / (10 + n) at the n-th update, until that reaches `decay`.
    """

    decay: float = 0.999
    ramp: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise ValueError(f"ema.decay = {self.decay}: give 0 or more, below 1")

    def decay_at(self, updates: int) -> float:
        """The decay of the n-th update, counted from 1."""
        return min(self.decay, (1 + updates) / (10 + updates)) if self.ramp else self.decay

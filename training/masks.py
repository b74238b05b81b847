"""Which frames of a window are given: the mixture of multi-mask conditions (paper section 3.3).

Stage 1 gives 0 to 15 % of the frames, at random. What stage 2 gives is not in the paper; generation
asks for regular anchors (a 6-fps parent gives every 4th frame of a 24-fps child), a first frame,
first and last, a prefix (continuation) and nothing at all, so the network is shown all of these.
The trade-off: one mixture for all rates, simpler to read than the tree's own combinations.
"""

import dataclasses
import math
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from training.draws import Draws

Bool = npt.NDArray[np.bool_]
MaskKind = Literal["random", "every2", "every4", "first", "first_last", "prefix", "none"]
FIXED_KINDS: tuple[MaskKind, ...] = ("every2", "every4", "first", "first_last")
"""Kinds that give the same frames of every window, at least one, unless a shot loses its own."""


@dataclasses.dataclass(frozen=True, slots=True)
class MaskMixture:
    """Weight of each kind of mask; they need not add up to 1. The default is stage 1.

    Attributes:
        random: a random number of random frames, up to `MaskConfig.max_random_share`.
        every2: frames 0, 2, 4, …
        every4: frames 0, 4, 8, …
        first: the first frame.
        first_last: the first and the last frame.
        prefix: a random number of frames from the first, up to `MaskConfig.max_prefix_share`.
        none: nothing; the caption alone.
    """

    random: float = 1.0
    every2: float = 0.0
    every4: float = 0.0
    first: float = 0.0
    first_last: float = 0.0
    prefix: float = 0.0
    none: float = 0.0

    def __post_init__(self) -> None:
        for kind, weight in self.weights().items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"masks.mixture.{kind} = {weight}: give 0 or more")
        if not sum(self.weights().values()) > 0:
            raise ValueError("masks.mixture: all weights are 0; give at least one kind a weight")

    def weights(self) -> dict[MaskKind, float]:
        """Kind -> weight."""
        return {kind: getattr(self, kind) for kind in get_args(MaskKind)}

    def kind_at(self, share: float) -> MaskKind:
        """The kind at a place in [0, 1) of the mixture laid out in order."""
        weights = self.weights()
        left = share * sum(weights.values())
        kinds = [kind for kind, weight in weights.items() if weight > 0]
        for kind in kinds:
            left -= weights[kind]
            if left < 0:
                return kind
        return kinds[-1]  # rounding has used up the last one's weight


@dataclasses.dataclass(frozen=True, slots=True)
class MaskConfig:
    """Which frames are given.

    Attributes:
        mixture: how often each kind is drawn.
        max_random_share: most of a window that `random` gives (0.15 in the paper).
        max_prefix_share: most of a window that `prefix` gives, one frame at least.
        shot_dropout: probability that a shot of a window with a cut loses all its given frames:
            frames of every shot would tell where the cuts are, and new shots would not be learnt.
    """

    mixture: MaskMixture = dataclasses.field(default_factory=MaskMixture)
    max_random_share: float = 0.15
    max_prefix_share: float = 0.5
    shot_dropout: float = 0.5

    def __post_init__(self) -> None:
        for name in ("max_random_share", "max_prefix_share", "shot_dropout"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"masks.{name} = {value}: give a share from 0 to 1")


@dataclasses.dataclass(frozen=True, slots=True)
class FrameMask:
    """Which frames of a window are given."""

    kind: MaskKind
    given: Bool
    """`[F]`, True where the frame is given."""


def draw_mask(config: MaskConfig, shots: npt.NDArray[np.intp], draws: Draws) -> FrameMask:
    """Draw the mask of a window.

    Args:
        config: the mixture.
        shots: `[F]` the number of the shot that each frame belongs to.
        draws: of this sample's place.
    """
    kind = config.mixture.kind_at(draws.uniform())
    given = mask_of(kind, len(shots), config, draws)
    present = np.unique(shots)
    if len(present) > 1:
        emptied = [shot for shot in present if draws.uniform() < config.shot_dropout]
        given &= ~np.isin(shots, emptied)
    return FrameMask(kind, given)


def mask_of(kind: MaskKind, frames: int, config: MaskConfig, draws: Draws) -> Bool:
    """`[F]` the frames that a kind of mask gives, before any shot loses its own."""
    given = np.zeros(frames, np.bool_)
    match kind:
        case "random":
            most = math.floor(config.max_random_share * frames)
            given[draws.subset(draws.below(most + 1), frames)] = True
        case "prefix":
            most = max(1, math.floor(config.max_prefix_share * frames))
            given[: 1 + draws.below(most)] = True
        case _:
            return fixed_mask(kind, frames)
    return given


def fixed_mask(kind: MaskKind, frames: int) -> Bool:
    """`[F]` the frames that a kind gives of which nothing is drawn."""
    given = np.zeros(frames, np.bool_)
    match kind:
        case "every2":
            given[::2] = True
        case "every4":
            given[::4] = True
        case "first":
            given[0] = True
        case "first_last":
            given[[0, -1]] = True
        case _:
            assert kind == "none"
    return given

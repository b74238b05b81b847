"""What a plan costs: operations of the network as built, and the paper's estimate beside them.

The paper's Eq. 5 and 6 count pairs of frames, as if attention were all there is. Here both are
counted: pairs from the tree itself, and every matrix product of the network. Decoding, encoding and
the text encoder are left out of both; they grow linearly and are small beside the network.
"""

import dataclasses
import itertools
from collections.abc import Sequence

from model import flops
from model.presets import DiTConfig
from model.schedule import Schedule
from model.tree import Node, Plan


@dataclasses.dataclass(frozen=True, slots=True)
class LevelCost:
    """One level of a plan.

    Attributes:
        rate: frames per second.
        segments: windows.
        frames: of the longest window.
        latents: of the longest window.
        tokens: of the longest window.
        steps: denoising steps of each window.
        operations: of all windows and steps, one forward a step.
        longest: operations of the longest window and its steps: the level's time when all its
            windows run at once.
    """

    rate: int
    segments: int
    frames: int
    latents: int
    tokens: int
    steps: int
    operations: int
    longest: int


@dataclasses.dataclass(frozen=True, slots=True)
class PlanCost:
    """A plan's cost; `guided` has them with guidance, which runs two forwards a step.

    Attributes:
        levels: coarse to fine.
        operations: of the whole plan, one forward a step.
        critical: of the longest chain when the windows of a level run at once.
        monolithic: of one window over all frames at the leaves' rate, with the first level's steps.
        pairs: pairs of frames over all windows: the sum of Eq. 5, from the tree itself.
        parallel_pairs: of the longest window of each level: the sum of Eq. 6, from the tree itself.
        equation_5: as printed in the paper; None where it does not apply.
        equation_6: likewise.
    """

    levels: tuple[LevelCost, ...]
    operations: int
    critical: int
    monolithic: int
    pairs: int
    parallel_pairs: int
    equation_5: float | None
    equation_6: float | None

    def guided(self, scales: Sequence[float]) -> int:
        """Operations of the whole plan with the forwards that guidance adds.

        Args:
            scales: of guidance, of each level; where it is 1 there is no second forward.
        """
        pairs = zip(self.levels, scales, strict=True)
        return sum(level.operations * (1 + (scale != 1.0)) for level, scale in pairs)


def plan_cost(
    plan: Plan,
    network: DiTConfig,
    height: int,
    width: int,
    text_length: int = flops.TEXT_TOKENS,
) -> PlanCost:
    """Count what a plan costs with a network.

    Args:
        plan: the plan.
        network: its size.
        height: of the video in pixels.
        width: of the video in pixels.
        text_length: text tokens, padding included.

    Raises:
        ValueError: a size that the network's patches do not divide.
    """

    def window(latents: int, steps: int) -> int:
        return steps * flops.exact(network, latents, height, width, text_length)

    def level(nodes: tuple[Node, ...]) -> LevelCost:
        longest = max(nodes, key=lambda node: node.latent_count)
        return LevelCost(
            rate=longest.rate,
            segments=len(nodes),
            frames=len(longest.frames),
            latents=longest.latent_count,
            tokens=flops.tokens(network, longest.latent_count, height, width),
            steps=longest.steps,
            operations=sum(window(node.latent_count, node.steps) for node in nodes),
            longest=window(longest.latent_count, longest.steps),
        )

    numbers = range(len(plan.schedule.rates))
    levels = tuple(level(plan.level(number)) for number in numbers)
    frames = plan.end // plan.schedule.strides[-1]
    squares = [[len(node.frames) ** 2 for node in plan.level(number)] for number in numbers]
    return PlanCost(
        levels=levels,
        operations=sum(level.operations for level in levels),
        critical=sum(level.longest for level in levels),
        monolithic=window(1 + -(-frames // 4), plan.schedule.steps[0]),
        pairs=sum(map(sum, squares)),
        parallel_pairs=sum(map(max, squares)),
        equation_5=_paper(plan.schedule, plan.frames, 1),
        equation_6=_paper(plan.schedule, plan.frames, 2),
    )


def _paper(schedule: Schedule, frames: int, power: int) -> float | None:
    """Eq. 5 (power 1) or Eq. 6 (power 2) as printed: N²/4^K · sum over i < K of (4 / W^power)^i.

    They assume that each level doubles the rate and gives each segment W children, and they set the
    root's rate to 2^-K of the top one, half of what section 3.1 says: so a quarter of the pairs.
    """
    doubling = all(b == 2 * a for a, b in itertools.pairwise(schedule.rates))
    if len(schedule.rates) < 2 or not doubling or schedule.strides[-1] != 1:
        return None
    children, levels = schedule.segments[1], len(schedule.rates)
    if schedule.segments != tuple(children**i for i in range(levels)):
        return None
    ratio = 4.0 / (children if power == 1 else children * children)
    return sum(frames**2 / 4.0**levels * ratio**i for i in range(levels))

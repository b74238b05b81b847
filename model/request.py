"""What is to be generated: a plan, words, pictures, seeds; and the names of what comes of it.

A node's key hashes everything that decides its frames, the keys of the nodes before it included.
So equal keys mean equal frames, and a changed prompt changes the keys of its node and of that
node's descendants, no others. Batch size, ranks and devices are left out on purpose: they move
results within rounding, and a run may be continued on another machine.
"""

import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from model.sampling import LevelSampling, Sampling, derived_seed
from model.tree import Node, Plan
from model.work import useful

KEY_VERSION = "1"
"""Bumped when the same request makes other frames than before."""
SIDE_MULTIPLE = 16
"""Sides of videos are multiples of so many pixels: 8 make a latent, and 2 latents one of Wan's
tokens."""


def check_sides(width: int, height: int) -> None:
    """Refuse a size that no video has.

    Raises:
        ValueError: a side is not a multiple of `SIDE_MULTIPLE`.
    """
    for side, pixels in (("width", width), ("height", height)):
        if pixels < SIDE_MULTIPLE or pixels % SIDE_MULTIPLE:
            near = max(round(pixels / SIDE_MULTIPLE), 1) * SIDE_MULTIPLE
            raise ValueError(f"{side}={pixels}: must be a multiple of {SIDE_MULTIPLE}, e.g. {near}")


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """What one node does differently.

    Attributes:
        prompt: its own, instead of the request's.
        seed: instead of the run's; the node's noise still depends on its id too.
    """

    prompt: str | None = None
    seed: int | None = None


@dataclasses.dataclass(frozen=True)
class Request:
    """A video to be generated.

    Attributes:
        plan: its tree.
        prompt: for all nodes that have none of their own.
        height: pixels.
        width: pixels.
        given: the user's pictures by top-rate frame, float32 `[3,H,W]` in [-1,1]: all that the
            plan was made with, its prefix included.
        negative: what guidance leads away from.
        seed: of the run.
        scope: sets the noise of this request apart from others of the same seed (continuation).
        sampling: guidance, shift and solver.
        paste_given: the user's pictures replace the generated ones in the output. Never anchors.
        changes: by node id.
    """

    plan: Plan
    prompt: str
    height: int
    width: int
    given: Mapping[int, Tensor] = dataclasses.field(default_factory=dict)
    negative: str = ""
    seed: int = 0
    scope: str = ""
    sampling: Sampling = dataclasses.field(default_factory=Sampling)
    paste_given: bool = False
    changes: Mapping[str, Change] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_sides(self.width, self.height)
        check_changes(self.plan, self.changes)
        self.level(self.plan.nodes[0])
        self._check_given()

    def _check_given(self) -> None:
        asked = {placement.asked for node in self.plan.nodes for placement in node.given}
        asked |= {placement.asked for placement in self.plan.placements}
        asked |= set(range(self.plan.prefix))
        if missing := sorted(asked - self.given.keys()):
            raise ValueError(f"given: the plan counts on frame {missing[0]}, which is not supplied")
        if extra := sorted(self.given.keys() - asked):
            raise ValueError(f"given: frame {extra[0]} is not in the plan; plan with it")
        for frame, picture in self.given.items():
            if tuple(picture.shape) != (3, self.height, self.width):
                raise ValueError(
                    f"given: frame {frame} has shape {tuple(picture.shape)}, not "
                    f"(3, {self.height}, {self.width}); scale it to the video's size"
                )
            # NaN fails the comparison too.
            if picture.dtype != torch.float32 or not bool((picture.abs() <= 1.0).all()):
                raise ValueError(f"given: frame {frame} must be float32 within [-1,1]")

    def level(self, node: Node) -> LevelSampling:
        """Guidance and shift of a node."""
        return self.sampling.level(node.level, len(self.plan.schedule.rates))

    def prompt_of(self, node: Node) -> str:
        """The node's own prompt, else the request's."""
        own = self.changes.get(node.id, Change()).prompt
        return self.prompt if own is None else own

    def seed_of(self, node: Node) -> int:
        """Seed of the node's noise."""
        own = self.changes.get(node.id, Change()).seed
        return derived_seed(self.seed if own is None else own, self.scope, node.id)

    def keys(self, maker: str) -> dict[str, str]:
        """The key of each node, by its id.

        Args:
            maker: fingerprint of network, codec and text encoder.
        """
        pictures = {frame: _digest(picture) for frame, picture in self.given.items()}
        keys: dict[str, str] = {}
        for node in self.plan.nodes:  # parents stand before their children
            level = self.level(node)
            decisive = {
                "version": KEY_VERSION,
                "maker": maker,
                "size": [self.height, self.width],
                "window": [node.start, node.end, node.stride, list(node.positions)],
                "sampling": [node.steps, level.guidance, level.shift, self.sampling.solver],
                "text": [self.prompt_of(node), self.negative if level.guidance != 1.0 else None],
                "seed": self.seed_of(node),
                "given": [[p.placed, pictures[p.asked]] for p in node.given],
                "anchors": [
                    [anchor.frame, keys[anchor.node]]
                    for anchor in node.anchors
                    if anchor.frame not in {p.placed for p in node.given}
                ],
            }
            text = json.dumps(decisive, sort_keys=True)
            keys[node.id] = hashlib.sha256(text.encode()).hexdigest()[:32]
        return keys


def check_changes(plan: Plan, changes: Collection[str]) -> None:
    """See that all nodes which are to be changed are run.

    Raises:
        ValueError: the plan has no such node, or none of its frames reach the output.
    """
    run = useful(plan)
    for name in changes:
        plan.node(name)
        if name not in run:
            raise ValueError(
                f"node={name!r}: its frames lie beyond the last one asked for, so it is never "
                "run; ask for more frames, or leave it as it is"
            )


def _digest(picture: Tensor) -> str:
    raw = picture.detach().cpu().contiguous().numpy().tobytes()
    return hashlib.sha256(raw).hexdigest()[:32]

"""In which order a plan's nodes are run, which of them together, and what runs at the same time.

Pure arithmetic over the plan, so that all ranks come to the same answer without talking. Batches
are formed from the plan alone, not from what is left to do: a continued run then repeats the
batches of an undisturbed one, and so its bits.
"""

import dataclasses
import itertools
from collections.abc import Collection, Iterator
from typing import Literal, get_args

from model.presets import DiTConfig
from model.tree import Node, Plan

Order = Literal["breadth", "depth"]
"""Level by level, or leaves from left to right as early as they can be."""


@dataclasses.dataclass(frozen=True, slots=True)
class Execution:
    """How a plan is run; none of it changes the video beyond rounding.

    Attributes:
        order: "breadth" batches best; "depth" finishes the first seconds soonest.
        batch: windows denoised at once, at most; None: breadth first as many as the memory allows,
            spread over the ranks, and depth first one. For results that are bit-equal on any number
            of ranks, name a number.
        memory: bytes that the network's activations for a batch may take, where `batch` is None;
            weights, and encoding and decoding, which run window by window, come on top.
    """

    order: Order = "breadth"
    batch: int | None = None
    memory: int = 4 << 30

    def __post_init__(self) -> None:
        if self.order not in get_args(Order):
            raise ValueError(f"order={self.order!r}: choose one of {', '.join(get_args(Order))}")
        if self.batch is not None and self.batch < 1:
            raise ValueError(f"batch={self.batch}: must be at least 1")
        if self.memory < 1:
            raise ValueError(f"memory={self.memory}: must be positive")


def window_bytes(config: DiTConfig, tokens: int, itemsize: int) -> int:
    """About what one window's forward takes beside the weights and the text.

    The widest moments of a block, when four tensors of the stream's width are alive: either twice
    the feed-forward's inside, or what came of it while it is added to the stream in float32. The
    rotary tables stay all the time. Measured, this is within 5 %; what a device's kernels take for
    themselves is not in it.

    Args:
        config: size of the network.
        tokens: of the window.
        itemsize: bytes of a number of the network's dtype.
    """
    stream, tables = 4 * itemsize * config.width, 2 * 4 * config.attention_head_dim
    feed_forward = 2 * itemsize * config.ffn_dim
    residual = (itemsize + 3 * 4) * config.width
    return tokens * (tables + stream + max(feed_forward, residual))


def batches(
    plan: Plan, execution: Execution, tokens: int, config: DiTConfig, ranks: int, itemsize: int
) -> list[tuple[Node, ...]]:
    """The plan's nodes in the order that they are run, those together that share a batch.

    Nodes of a batch follow each other in that order and have one level and one length, and so the
    shape, steps and guidance of their windows are the same, and none waits for another.

    Args:
        plan: the tree.
        execution: order and limits.
        tokens: of one latent frame.
        config: size of the network.
        ranks: over which an automatic batch is spread.
        itemsize: bytes of a number of the network's dtype.
    """
    nodes = plan.depth_first() if execution.order == "depth" else plan.breadth_first()
    wanted = useful(plan)
    formed: list[tuple[Node, ...]] = []
    kept = (node for node in nodes if node.id in wanted)
    for _, row in itertools.groupby(kept, key=lambda node: node.level):
        by_length = sorted(row, key=lambda node: node.latent_count)
        for latents, alike in itertools.groupby(by_length, key=lambda node: node.latent_count):
            members = tuple(alike)
            fitting = max(execution.memory // window_bytes(config, tokens * latents, itemsize), 1)
            spread = 1 if execution.order == "depth" else -(-len(members) // ranks)
            size = execution.batch or min(fitting, spread)
            formed += [members[at : at + size] for at in range(0, len(members), size)]
    return formed


def useful(plan: Plan) -> set[str]:
    """Nodes whose frames reach the output, themselves or through others."""
    wanted = {piece.node for piece in plan.output}
    for node in reversed(plan.nodes):
        if node.id in wanted:
            wanted.update(node.dependencies)
    return wanted


def rounds(
    formed: list[tuple[Node, ...]], done: Collection[str], ranks: int
) -> Iterator[list[tuple[Node, ...]]]:
    """Batches that run at the same time, one on each rank, as early as their parents allow.

    Args:
        formed: batches in order.
        done: nodes whose frames are there from the start.
        ranks: how many run at the same time.
    """
    finished = set(done)
    waiting = list(formed)
    while waiting:
        ready = [b for b in waiting if all(finished.issuperset(n.dependencies) for n in b)][:ranks]
        assert ready, "a batch waits for a node that is in none"
        yield ready
        waiting = [batch for batch in waiting if batch not in ready]
        finished.update(node.id for batch in ready for node in batch)

"""The plan of a tree generation: which segments at which frame rate, and what conditions what.

Pure data and arithmetic on frame indices (paper sections 3.1 and 3.4). A plan is made before a
single tensor exists, so that coverage, positions and cost can be tested, printed and argued about.
The trade-off: the whole plan is fixed up front; nothing in it can react to what was generated.

Frame indices count frames at the schedule's top rate, from 0. Level i shows every `stride`-th of
them, starting with frame 0. Segments are closed intervals, and siblings share one boundary frame.
"""

import dataclasses
import itertools
import math
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from typing import Any

from model.schedule import TEMPORAL_STRIDE, Schedule

WINDOW_CAP = 153
"""Longest window in frames that the default training recipe shows the network."""
_MOST_ROUNDING, _SHORT = 2, 601
"""For the sake of its segments no video is planned longer than so many times what was asked, for
what is beyond is thrown away; but up to so many frames (a round of a continuation, whose last one
may be short) it is."""


@dataclasses.dataclass(frozen=True, slots=True)
class Anchor:
    """A frame of the level above that conditions a node, and the node that it is taken from."""

    frame: int
    node: str


@dataclasses.dataclass(frozen=True, slots=True)
class Placement:
    """Where a frame that the user gave stands at one level.

    Attributes:
        level: number of the level.
        asked: the frame that the user named.
        placed: the frame of this level that shows it: `asked` itself where the level has it, else
            the nearest; None where that one shows another given frame, and finer levels show this.
    """

    level: int
    asked: int
    placed: int | None

    @property
    def moved(self) -> bool:
        """Whether the level shows it at another time than asked, or not at all."""
        return self.placed != self.asked


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """One segment: a window that the network denoises at once.

    Attributes:
        id: stable name ``level.index``; seeds, stored results and prompts go by it.
        level: 0 is the coarsest.
        index: position in its level, from the left.
        rate: frames per second.
        stride: top-rate frames from one of its frames to the next.
        start: its first frame, in top-rate frames.
        end: its last frame, inclusive; the right sibling starts there.
        steps: denoising steps.
        spacing: distance of temporal positions from latent to latent, ``top_rate / rate``.
        anchors: all frames of the level above in ``[start, end]``. A frame that two nodes share is
            taken from the left one, so that both sides of a joint see the same picture.
        given: frames from the user; where one stands on an anchor, it takes the anchor's place.
    """

    id: str
    level: int
    index: int
    rate: int
    stride: int
    start: int
    end: int
    steps: int
    spacing: int
    anchors: tuple[Anchor, ...] = ()
    given: tuple[Placement, ...] = ()

    @property
    def frames(self) -> range:
        """The frames that it generates, in top-rate indices."""
        return range(self.start, self.end + 1, self.stride)

    @property
    def latent_count(self) -> int:
        """Latent frames: 1 + (frames - 1) / 4."""
        return 1 + (len(self.frames) - 1) // TEMPORAL_STRIDE

    @property
    def positions(self) -> tuple[float, ...]:
        """Temporal position of each latent: ``start / 4 + spacing * k``.

        Four times a position is the top-rate index of the latent's last frame.
        """
        first = self.start / TEMPORAL_STRIDE
        return tuple(first + self.spacing * k for k in range(self.latent_count))

    @property
    def dependencies(self) -> tuple[str, ...]:
        """The nodes whose frames it needs, from the left."""
        return tuple(dict.fromkeys(anchor.node for anchor in self.anchors))

    @property
    def conditioned(self) -> frozenset[int]:
        """Frames, in top-rate indices, that are known before it starts."""
        known = {anchor.frame for anchor in self.anchors}
        return frozenset(known | {p.placed for p in self.given if p.placed is not None})

    @property
    def frame_mask(self) -> tuple[bool, ...]:
        """For each of its frames, whether it is known before it starts."""
        known = self.conditioned
        return tuple(frame in known for frame in self.frames)


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """The part of the output that one leaf supplies: every `stride`-th frame, both ends in."""

    node: str
    first: int
    last: int
    stride: int

    @property
    def frames(self) -> range:
        """Its frames, in top-rate indices."""
        return range(self.first, self.last + 1, self.stride)


@dataclasses.dataclass(frozen=True)
class Plan:
    """A tree, ready to be executed.

    Attributes:
        schedule: what it was made from.
        frames: top-rate frames asked for, the prefix included; the output is trimmed to them.
        end: last top-rate frame that the leaves cover.
        prefix: leading frames that the user gave, all of them (continuation), else 0.
        nodes: all nodes, by level and from left to right.
        placements: where single given frames stand at each level; the prefix is not listed.
        warnings: what is planned although it may turn out badly, each with its remedy.
    """

    schedule: Schedule
    frames: int
    end: int
    prefix: int
    nodes: tuple[Node, ...]
    placements: tuple[Placement, ...]
    warnings: tuple[str, ...]

    @cached_property
    def _by_id(self) -> dict[str, Node]:
        return {node.id: node for node in self.nodes}

    def node(self, name: str) -> Node:
        """The node of this id.

        Raises:
            ValueError: there is none.
        """
        if name not in self._by_id:
            raise ValueError(
                f"node={name!r}: the plan has {self.nodes[0].id} … {self.leaves[-1].id}"
            )
        return self._by_id[name]

    def level(self, number: int) -> tuple[Node, ...]:
        """The nodes of a level, from left to right."""
        return tuple(node for node in self.nodes if node.level == number)

    @property
    def leaves(self) -> tuple[Node, ...]:
        """The nodes of the finest level, of which the output is made."""
        return self.level(len(self.schedule.rates) - 1)

    def breadth_first(self) -> tuple[Node, ...]:
        """Level by level: the nodes of one level can all run at the same time."""
        return self.nodes

    def depth_first(self) -> tuple[Node, ...]:
        """Leaves from left to right, each as early as what it depends on allows."""
        order: dict[str, Node] = {}

        def visit(node: Node) -> None:
            for name in node.dependencies:
                visit(self.node(name))
            order.setdefault(node.id, node)

        for leaf in self.leaves:
            visit(leaf)
        return tuple(order.values())

    @cached_property
    def output(self) -> tuple[Piece, ...]:
        """Which leaf supplies which output frames, in order; a shared frame is the left one's.

        A continuation's prefix is not in it: what the user gave is not generated again.
        """
        covered = self.prefix - 1
        pieces = []
        for leaf in self.leaves:
            new = [f for f in leaf.frames if covered < f < self.frames]
            if new:
                pieces.append(Piece(leaf.id, new[0], new[-1], leaf.stride))
                covered = new[-1]
        return tuple(pieces)

    def document(self) -> dict[str, Any]:
        """Everything as plain JSON types, for records and for ``--json``."""
        listed = dataclasses.asdict(self)
        for node, entry in zip(self.nodes, listed["nodes"], strict=True):
            entry["frames"] = len(node.frames)
            entry["latents"] = node.latent_count
            entry["dependencies"] = list(node.dependencies)
        listed["schedule"]["notation"] = str(self.schedule)
        listed["output"] = [dataclasses.asdict(piece) for piece in self.output]
        return listed


def plan_tree(
    schedule: Schedule,
    frames: int,
    *,
    prefix: int = 0,
    given: Iterable[int] = (),
    strict: bool = False,
    window_cap: int = WINDOW_CAP,
) -> Plan:
    """Plan a video of `frames` top-rate frames.

    The length is rounded up once, for all levels, to the next one that needs no padding in any
    node; the output is trimmed once, at its end. A continuation's root covers the prefix too, and
    the levels below it only ``[prefix - 1, frames)`` (paper section 4.3); its root alone is rounded
    further where needed, beyond the end of the leaves.

    Args:
        schedule: rates and segments.
        frames: length of the output, the prefix included.
        prefix: number of leading frames that are given and kept as they are (continuation: 121).
            The last one must be a frame of the first level.
        given: single frames that are given elsewhere, e.g. the first and the last.
        strict: refuse given frames that a level does not have, instead of moving them.
        window_cap: longest window in frames that the network was trained on.

    Raises:
        ValueError: nothing to generate, far more segments than such a video has room for, given
            frames outside the video, or off a level's grid under `strict`.
    """
    singles = _check_request(schedule, frames, prefix, given)
    first = max(prefix - 1, 0)
    bounds = _level_bounds(schedule, frames - 1, first)
    end = bounds[-1][-1]
    placements = tuple(_placements(schedule, prefix, singles, end, strict=strict))
    nodes = tuple(_nodes(schedule, bounds, prefix, placements))
    warnings = tuple(_window_warnings(schedule, bounds, nodes, window_cap))
    return Plan(schedule, frames, end, prefix, nodes, placements, warnings)


def _check_request(
    schedule: Schedule, frames: int, prefix: int, given: Iterable[int]
) -> tuple[int, ...]:
    if frames < 1 or frames <= prefix or prefix < 0:
        raise ValueError(
            f"frames={frames}, prefix={prefix}: frames counts the prefix too, so it must be "
            f"larger; to add 480 frames ask for {max(prefix, 0) + 480}"
        )
    first = max(prefix - 1, 0)
    if schedule.shortest >= max(_MOST_ROUNDING * (frames - first), _SHORT):
        raise ValueError(
            f"frames={frames}: {schedule} divides a level into so many segments that it needs "
            f"{first + schedule.shortest + 1} frames; plan with fewer segments, or ask for so many"
        )
    stride = schedule.strides[0]
    if prefix and (prefix - 1) % stride:
        fits = (prefix - 1) // stride * stride + 1
        raise ValueError(
            f"prefix={prefix}: its last frame is not one of the first level, which shows every "
            f"{stride}th; give the last {fits} frames"
        )
    singles = tuple(sorted(set(given)))
    outside = [f for f in singles if not prefix <= f < frames]
    if outside:
        raise ValueError(
            f"given={outside[0]}: frames can be given from {prefix} to {frames - 1}; choose one "
            "of those or plan a longer video"
        )
    return singles


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit


def _level_bounds(schedule: Schedule, last: int, first: int) -> list[list[int]]:
    """Ends of each level's segments: the leaves reach `last` or the next legal frame.

    With a prefix the root and the levels below start at different frames, and no common end may
    exist (121 given and 480 more: 0 and 8 mod 16), so that only the levels below decide, and the
    root alone goes on to its own next legal end.
    """
    root, *below = schedule.moduli
    continued = first > 0 and bool(below)
    start, modulus = (first, math.lcm(*below)) if continued else (0, math.lcm(root, *below))
    end = start + _round_up(max(last - start, schedule.shortest), modulus)
    rows = [[0, _round_up(end, root)]]
    for level in range(1, len(schedule.rates)):
        rows.append(schedule.boundaries(start, end, level, rows[-1]))
    return rows


def _placements(
    schedule: Schedule, prefix: int, singles: tuple[int, ...], end: int, *, strict: bool
) -> Iterator[Placement]:
    coarser: dict[int, int | None] = {}
    for level, stride in enumerate(schedule.strides):
        off = [frame for frame in singles if frame % stride]
        if strict and off:
            raise ValueError(
                f"given={off[0]}: the level of {schedule.rates[level]} fps shows every {stride}th "
                f"frame; give frame {_nearest(off[0], stride, end)}, or leave strict out"
            )
        taken = {frame for frame in (*range(prefix), *singles) if frame % stride == 0}
        placed: dict[int, int | None] = {frame: frame for frame in singles if frame in taken}
        # The one that moves least has the first claim on a frame.
        for frame in sorted(off, key=lambda f: (min(f % stride, -f % stride), f)):
            near = _nearest(frame, stride, end, taken, coarser.get(frame))
            placed[frame] = None if near in taken else near
            taken.add(near)
        yield from (Placement(level, frame, placed[frame]) for frame in singles)
        coarser = placed


def _nearest(
    frame: int, stride: int, end: int, taken: Collection[int] = (), coarser: int | None = None
) -> int:
    """The nearest frame of a grid; of two as near a free one, then where the level above has it."""
    below = frame // stride * stride
    choices = [choice for choice in (below, below + stride) if choice <= end]
    return min(choices, key=lambda c: (abs(c - frame), c in taken, c != coarser, c))


def _nodes(
    schedule: Schedule,
    bounds: list[list[int]],
    prefix: int,
    placements: tuple[Placement, ...],
) -> Iterator[Node]:
    above: list[Node] = []
    for level, row_bounds in enumerate(bounds):
        stride = schedule.strides[level]
        known = [Placement(level, f, f) for f in range(0, prefix, stride)]
        known += [p for p in placements if p.level == level and p.placed is not None]
        row = []
        for index, (left, right) in enumerate(itertools.pairwise(row_bounds)):
            inside = range(left, right + 1)
            node = Node(
                id=f"{level}.{index}",
                level=level,
                index=index,
                rate=schedule.rates[level],
                stride=stride,
                start=left,
                end=right,
                steps=schedule.steps[level],
                spacing=stride,
                anchors=_anchors(above, inside),
                given=tuple(p for p in known if p.placed in inside),
            )
            row.append(node)
        yield from row
        above = row


def _anchors(above: list[Node], inside: range) -> tuple[Anchor, ...]:
    owner: dict[int, str] = {}
    for node in above:
        for frame in node.frames:
            if frame in inside:
                owner.setdefault(frame, node.id)  # from the left: a shared frame is the left one's
    return tuple(Anchor(frame, name) for frame, name in owner.items())


def _window_warnings(
    schedule: Schedule, bounds: list[list[int]], nodes: tuple[Node, ...], cap: int
) -> Iterator[str]:
    for level, row in enumerate(bounds):
        longest = max(len(node.frames) for node in nodes if node.level == level)
        if longest > cap:
            yield (
                f"windows of {longest} frames at {schedule.rates[level]} fps are longer than the "
                f"{cap} that the network was trained on: "
                + _remedy(schedule, level, row[-1] - row[0], cap)
            )


def _remedy(schedule: Schedule, level: int, span: int, cap: int) -> str:
    # In top-rate frames, what a window within the cap spans.
    reach = (cap - 1) * schedule.strides[level]
    whole, unit = math.lcm(*schedule.moduli), schedule.units[level]
    if level == 0 and reach >= whole:
        return f"plan {reach // whole * whole + 1} frames and continue from them"
    if level > 0 and reach >= unit:
        segments = -(-(span // unit) // (reach // unit))
        return f"divide that level into {segments} segments or more"
    return "choose other rates, or train with longer windows and raise the cap"

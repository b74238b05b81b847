"""Longer than a tree: a video goes on from its own last five seconds (paper section 4.3).

Each round is a tree whose root sees the last 121 frames and 480 new ones, and whose finer levels
cover only what is new. Drift must not come from encoding again what was there: earlier frames are
never touched, and what a round is given are the float32 pixels that the one before handed out.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from model.generation import Segment
from model.request import Change, Request
from model.schedule import Schedule
from model.tree import WINDOW_CAP, Plan, plan_tree

OVERLAP, NEW = 121, 480
"""Frames at 24 fps that a round is given, and that it adds."""

_NEIGHBOURHOOD = 12
"""Frames on each side of a joint whose colours are compared: half a second."""

Generate = Callable[[Request], Iterator[Segment]]
"""Such as `TreeGenerator.generate` with its settings bound."""


@dataclasses.dataclass(frozen=True, slots=True)
class Joint:
    """Colours on both sides of a joint, in [-1,1] for red, green and blue.

    Attributes:
        frame: the first new frame.
        mean_before: over the last frames before it.
        mean_after: over the first frames from it on.
        std_before: likewise, of all pixels.
        std_after: likewise.
        step: mean absolute change of pixels from the last old frame to the first new one.
        usual_step: median of that change between neighbours on both sides.
    """

    frame: int
    mean_before: tuple[float, ...]
    mean_after: tuple[float, ...]
    std_before: tuple[float, ...]
    std_after: tuple[float, ...]
    step: float
    usual_step: float


@dataclasses.dataclass(frozen=True, slots=True)
class Lengths:
    """How a continuation proceeds.

    Attributes:
        overlap: frames that each round is given.
        new: frames that each round adds.
    """

    overlap: int = OVERLAP
    new: int = NEW

    def __post_init__(self) -> None:
        if self.overlap < 1 or self.new < 1:
            raise ValueError(f"overlap={self.overlap}, new={self.new}: both must be 1 or more")


def usable_overlap(available: int, wanted: int, schedule: Schedule) -> int:
    """How many last frames a round is given: ends must be frames of the first level.

    Args:
        available: frames that there are.
        wanted: at most so many.
        schedule: whose first level counts.

    Raises:
        ValueError: no frame to go on from.
    """
    if available < 1:
        raise ValueError("video: it has no frame to continue from")
    stride = schedule.strides[0]
    return (min(available, wanted) - 1) // stride * stride + 1


def first_round(
    video: Tensor,
    frames: int,
    schedule: Schedule,
    lengths: Lengths | None = None,
    *,
    window_cap: int = WINDOW_CAP,
) -> tuple[Plan, dict[int, Tensor]]:
    """Plan and given frames of the first round; arguments as `extend` and `plan_tree` have them.

    Raises:
        ValueError: as `extend`.
    """
    lengths = lengths or Lengths()
    if frames < 1:
        raise ValueError(f"frames={frames}: ask for at least one more")
    if schedule.strides[-1] != 1:
        raise ValueError(
            f"schedule={schedule}: a continuation must reach {schedule.top_rate} fps, or its last "
            "frames could not be given to the next round; add that level"
        )
    return _round(video, min(lengths.new, frames), schedule, lengths, window_cap)


def round_plans(
    available: int,
    frames: int,
    schedule: Schedule,
    lengths: Lengths | None = None,
    *,
    window_cap: int = WINDOW_CAP,
) -> list[Plan]:
    """The plans of all rounds that add `frames` to a video of `available` frames, in order.

    Raises:
        ValueError: no frame to go on from.
    """
    lengths = lengths or Lengths()
    plans, length = [], available
    while length < available + frames:
        new = min(lengths.new, available + frames - length)
        overlap = usable_overlap(length, lengths.overlap, schedule)
        plan = plan_tree(schedule, overlap + new, prefix=overlap, window_cap=window_cap)
        plans.append(plan)
        length += new
    return plans


def extend(
    video: Tensor,
    frames: int,
    first: Request,
    generate: Generate,
    lengths: Lengths | None = None,
    later: Mapping[int, Mapping[str, Change]] | None = None,
) -> Iterator[Segment]:
    """Go on from a video, round after round, until `frames` more are there.

    Args:
        video: float32 `[3,F,H,W]` in [-1,1] at the top rate; its last frames are given.
        frames: how many to add.
        first: the first round, with plan and given frames of `first_round`. Prompt, size, seed and
            so on are those of all rounds; its changes of nodes are its own alone.
        generate: executes a round; the request's `scope` ends in its number.
        lengths: overlap and new frames of a round.
        later: changes of nodes in the rounds after it, by number of the round, from 1 on.

    Yields:
        New segments; `first` counts from the start of `video`.

    Raises:
        ValueError: nothing to add, no frame to go on from, a schedule that ends below the top rate.
    """
    lengths = lengths or Lengths()
    schedule = first.plan.schedule
    tail, length = video[:, -lengths.overlap :], video.shape[1]
    end = length + frames
    for number in itertools.count():
        new = min(lengths.new, end - length)
        plan, given = _round(tail, new, schedule, lengths)
        request = dataclasses.replace(
            first,
            plan=plan,
            given=given,
            scope=f"{first.scope}{number}",
            changes=first.changes if number == 0 else (later or {}).get(number, {}),
        )
        for segment in generate(request):
            yield dataclasses.replace(segment, first=length - plan.prefix + segment.first)
            tail = torch.cat([tail, segment.frames], dim=1)[:, -lengths.overlap :]
        length += new
        if length == end:
            return


def _round(
    tail: Tensor, new: int, schedule: Schedule, lengths: Lengths, window_cap: int = WINDOW_CAP
) -> tuple[Plan, dict[int, Tensor]]:
    overlap = usable_overlap(tail.shape[1], lengths.overlap, schedule)
    given = dict(enumerate(tail[:, -overlap:].unbind(dim=1)))
    plan = plan_tree(schedule, overlap + new, prefix=overlap, window_cap=window_cap)
    return plan, given


class JointMeter:
    """Measures joints as frames pass by, holding a second of them.

    Args:
        before: frames `[3,F,H,W]` that stand before all that passes; None: nothing does.
    """

    def __init__(self, before: Tensor | None = None) -> None:
        self.joints: list[Joint] = []
        self._window = torch.empty(3, 0, 1, 1) if before is None else before[:, -_NEIGHBOURHOOD:]
        self._open: list[tuple[int, Tensor, list[Tensor]]] = []

    def watch(self, segment: Segment) -> None:
        """A segment that follows; between it and what stands before it is a joint."""
        if self._window.shape[1]:
            self._open.append((segment.first, self._window, []))
        for frame in segment.frames[:, :_NEIGHBOURHOOD].unbind(dim=1):
            for _, _, after in self._open:
                after.append(frame)
        self._close(_NEIGHBOURHOOD)
        both = torch.cat(
            [self._window.expand(-1, -1, *segment.frames.shape[2:]), segment.frames], 1
        )
        self._window = both[:, -_NEIGHBOURHOOD:].clone()

    def finish(self) -> list[Joint]:
        """All joints, those near the end from the frames that there are."""
        self._close(1)
        return self.joints

    def _close(self, enough: int) -> None:
        for frame, before, after in [entry for entry in self._open if len(entry[2]) >= enough]:
            self.joints.append(_joint(frame, before, torch.stack(after[:_NEIGHBOURHOOD], dim=1)))
        self._open = [entry for entry in self._open if len(entry[2]) < enough]


def _joint(frame: int, before: Tensor, after: Tensor) -> Joint:
    sides = [changes for side in (before, after) if len(changes := _changes(side))]
    usual = float(torch.cat(sides).median()) if sides else 0.0
    return Joint(
        frame=frame,
        mean_before=_rounded(before.mean(dim=(1, 2, 3))),
        mean_after=_rounded(after.mean(dim=(1, 2, 3))),
        std_before=_rounded(before.std(dim=(1, 2, 3), correction=0)),
        std_after=_rounded(after.std(dim=(1, 2, 3), correction=0)),
        step=round(float((after[:, 0] - before[:, -1]).abs().mean()), 5),
        usual_step=round(usual, 5),
    )


def _changes(frames: Tensor) -> Tensor:
    return frames.diff(dim=1).abs().mean(dim=(0, 2, 3))


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(round(float(value), 5) for value in values)

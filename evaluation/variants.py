"""What is varied in an evaluation: the schedule, the length, the steps, how far a video goes on.

Pure data. Each variant makes one row of a table like the paper's Table 3.
"""

import dataclasses
from collections.abc import Sequence

from model.schedule import Schedule


@dataclasses.dataclass(frozen=True, slots=True)
class Variant:
    """One way of making a video of a prompt.

    Attributes:
        schedule: in the paper's notation.
        frames: at 24 fps, of the first tree.
        steps: of each level; empty: the schedule's defaults.
        continued: frames that are added by continuing, 480 a round (paper section 4.3).
    """

    schedule: str
    frames: int
    steps: tuple[int, ...] = ()
    continued: int = 0

    def __post_init__(self) -> None:
        tree = self.tree
        if self.frames < 1 or self.continued < 0:
            raise ValueError(
                f"frames={self.frames}, continued={self.continued}: a video has at least one "
                "frame, and none can be taken away by continuing"
            )
        if self.continued and tree.strides[-1] != 1:
            raise ValueError(
                f"continued={self.continued}: {tree} ends below {tree.top_rate} fps, and only a "
                "video at that rate can be continued; add the level, or set continued to 0"
            )

    @property
    def tree(self) -> Schedule:
        """The schedule with its steps."""
        return Schedule.parse(self.schedule, steps=self.steps)

    @property
    def length(self) -> int:
        """Frames at 24 fps of the whole video."""
        return self.frames + self.continued


def labels(variants: Sequence[Variant]) -> list[str]:
    """A name for each, as short as tells them apart: the schedule, and what else differs.

    Raises:
        ValueError: two are the same.
    """
    if len(set(variants)) < len(variants):
        raise ValueError("two variants are the same: name each schedule, length and steps once")
    shown = [
        name for name in ("frames", "continued", "steps")
        if len({getattr(variant, name) for variant in variants}) > 1
    ]  # fmt: skip
    return [_label(variant, shown) for variant in variants]


def _label(variant: Variant, shown: list[str]) -> str:
    words = {
        "frames": f"{variant.frames} frames",
        "continued": f"+{variant.continued}" if variant.continued else "not continued",
        "steps": f"{','.join(map(str, variant.tree.steps))} steps",
    }
    return ", ".join([str(variant.tree), *(words[name] for name in shown)])

"""Whether a run uses what was precomputed, and what that is.

Which sets there are is the catalog's knowledge; which of them a run uses is settled before its
ranks start and is the same on all of them, so that no rank decides anything by what it finds.
"""

import dataclasses
from typing import Literal

from training.masks import FIXED_KINDS, MaskKind
from training.side_shards import SideRef

Use = Literal["auto", "require", "never"]


@dataclasses.dataclass(frozen=True, slots=True)
class PrecomputedConfig:
    """What `tempo precompute` has made, and whether it is used.

    Attributes:
        text: embeddings of captions: "auto" uses them where they exist for the run's encoder and
            else encodes on the fly, "require" refuses to train without them, "never" encodes on the
            fly. No value changes a loss on a processor, unless samples are whole by now that were
            damaged when latents were made.
        latents: z_0 of windows, likewise; they exist only where `data.windows.starts` is a number.
        conditions: kinds of masks whose condition latents are stored beside each z_0: of those that
            give the same frames of every window. Each takes as much as z_0. Condition latents of
            other kinds are encoded on the fly; where nothing is given there is nothing to store.
        shard_bytes: most that a shard takes.
    """

    text: Use = "auto"
    latents: Use = "auto"
    conditions: tuple[MaskKind, ...] = ()
    shard_bytes: int = 500_000_000

    def __post_init__(self) -> None:
        kinds = self.conditions
        if set(kinds) - set(FIXED_KINDS) or len(set(kinds)) < len(kinds):
            raise ValueError(
                f"precomputed.conditions = {','.join(kinds)}: give some of "
                f"{', '.join(FIXED_KINDS)}, each once; what other kinds give is drawn anew for "
                "every window"
            )
        if self.shard_bytes < 1:
            raise ValueError(f"precomputed.shard_bytes = {self.shard_bytes}: give at least 1")


@dataclasses.dataclass(frozen=True, slots=True)
class Precomputed:
    """The sets that a run uses.

    Attributes:
        text: embeddings of captions; None: they are encoded on the fly.
        latents: of windows; likewise.
    """

    text: SideRef | None = None
    latents: SideRef | None = None

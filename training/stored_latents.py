"""Latents made ahead of training, of windows that are known ahead: reading them.

A window's z_0 depends on the codec, its sample, and where it stands; so where windows begin at a
few places (`data.windows.starts`), all of them can be encoded once. Its condition depends on its
mask besides: it can be stored for kinds that give the same frames of every window, and where
nothing is given it is the same for all. The trade-off is the disk: z_0 in float32 takes several
times what the video does, for it is stored as exactly as it would be computed.
"""

import dataclasses
from typing import Self

import numpy as np
from torch import Tensor

from curation.identities import digest
from training.errors import DamagedSampleError, SideShardError
from training.masks import FIXED_KINDS, FrameMask, MaskKind, fixed_mask
from training.side_shards import SideRef, SideShards

LATENTS = "latents"


def window_key(sample_id: str, rate: int, start: int) -> str:
    """The name of a window in a set; its size and length follow from the set's windows."""
    return digest("window", sample_id, str(rate), str(start))


@dataclasses.dataclass(frozen=True, slots=True)
class StoredWindow:
    """What was precomputed of a window.

    Attributes:
        latents: z_0 `[C,T,h,w]`, float32.
        conditions: kind of mask -> condition latents, likewise.
    """

    latents: Tensor
    conditions: dict[MaskKind, Tensor]

    def condition_of(self, mask: FrameMask) -> Tensor | None:
        """Condition latents of a mask; None: not stored, or a shot has lost its given frames."""
        stored = self.conditions.get(mask.kind)
        if stored is None or not np.array_equal(mask.given, fixed_mask(mask.kind, len(mask.given))):
            return None
        return stored


class StoredLatents:
    """Latents of all windows of a side of a version. Threads share it.

    Make it with `StoredLatents.open`; use it as a context manager.
    """

    def __init__(self, shards: SideShards) -> None:
        self.shards = shards

    @classmethod
    def open(cls, ref: SideRef) -> Self:
        """Open a set of latents.

        Raises:
            SideShardError: it is not whole.
        """
        return cls(SideShards.open(ref))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.shards.close()

    def window(self, sample_id: str, rate: int, start: int) -> StoredWindow:
        """What was precomputed of a window.

        Raises:
            DamagedSampleError: its sample was damaged then; it is replaced as it would have been.
            SideShardError: the set is damaged, or is not of these windows.
        """
        if sample_id in self.shards.damaged:
            raise DamagedSampleError(sample_id, self.shards.damaged[sample_id])
        try:
            tensors = self.shards.read(window_key(sample_id, rate, start))
        except KeyError as error:
            raise SideShardError(
                f"no latents of sample {sample_id} at {rate} fps from frame {start} were "
                "precomputed: they are not of this run's windows; run `tempo precompute` as you "
                "train"
            ) from error
        conditions = {kind: tensors[kind] for kind in FIXED_KINDS if kind in tensors}
        return StoredWindow(tensors[LATENTS], conditions)

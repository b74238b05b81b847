"""The processes that share one generation, and how frames go from one to the others.

Frames travel as float32 over gloo, through the CPU, whatever the networks run on: windows take
minutes and their frames a second, so nothing faster is needed, and bits arrive as they left.
"""

import dataclasses
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Ranks:
    """This process among those that share a generation.

    Attributes:
        rank: its number; 0 hands out the video and reads and writes stored nodes.
        size: how many there are.
        group: over which they talk; None where there is one.
    """

    rank: int = 0
    size: int = 1
    group: dist.ProcessGroup | None = None

    @classmethod
    def joined(cls) -> Self:
        """All processes of `torch.distributed`, which must have been initialised."""
        return cls(dist.get_rank(), dist.get_world_size(), dist.new_group(backend="gloo"))

    def agree(self, value: Any) -> Any:  # noqa: ANN401 - whatever rank 0 says
        """What rank 0 holds, on all ranks."""
        if self.group is None:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self.group)
        return box[0]

    def share(self, frames: Tensor | None, shape: tuple[int, ...], owner: int) -> Tensor:
        """Frames that one rank has, on all ranks.

        Args:
            frames: float32 on the CPU, on the owner; ignored on the others.
            shape: of the frames, which all know.
            owner: the rank that has them.
        """
        if self.rank == owner:
            assert frames is not None and tuple(frames.shape) == shape
            held = frames.contiguous()
        else:
            held = torch.empty(shape)
        if self.group is not None:
            dist.broadcast(held, src=owner, group=self.group)
        return held

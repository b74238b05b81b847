"""The processes that train one network together: who this one is, and what it shares.

Ranks that lie side by side work on the same samples (context parallel), the others on different
ones. Small things travel over gloo on the CPU, whatever gradients travel by.
"""

import dataclasses
import datetime as dt
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor

_TIMEOUT = dt.timedelta(minutes=30)
"""A rank waits so long for the others: for the slowest checkpoint, not for a window."""
_PATIENCE = dt.timedelta(hours=12)
"""All wait so long for what the first does alone: a generator of A14B is 57 GB, on any disk."""


@dataclasses.dataclass(frozen=True, slots=True)
class RankPlace:
    """Where a rank stands; what its starter tells it.

    Attributes:
        rank: number among all.
        size: how many there are.
        local_rank: number on its machine, and of its device there.
        meet: where all meet: ``file://…`` on one machine, ``tcp://HOST:PORT`` on several.
    """

    rank: int
    size: int
    local_rank: int
    meet: str


@dataclasses.dataclass(frozen=True)
class World:
    """All ranks of a run, seen from one of them.

    Attributes:
        rank: this one.
        size: how many there are.
        device: where this one works.
        context_parallel: so many neighbours share each sample.
        group: for small things, over gloo.
    """

    rank: int
    size: int
    device: torch.device
    context_parallel: int
    group: dist.ProcessGroup

    @classmethod
    def join(cls, place: RankPlace, context_parallel: int) -> Self:
        """Meet the others.

        Raises:
            ValueError: so many ranks cannot be shared out.
        """
        if place.size % context_parallel:
            raise ValueError(
                f"engine.context_parallel = {context_parallel}: {place.size} ranks cannot be "
                "shared out evenly; use a multiple"
            )
        cuda = torch.cuda.is_available()
        device = torch.device("cuda", place.local_rank) if cuda else torch.device("cpu")
        if cuda:
            torch.cuda.set_device(device)
        if not dist.is_initialized():
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if cuda else "gloo",
                init_method=place.meet,
                rank=place.rank,
                world_size=place.size,
                timeout=_TIMEOUT,
            )
        group = dist.new_group(backend="gloo", timeout=_TIMEOUT)
        return cls(place.rank, place.size, device, context_parallel, group)

    @property
    def data_rank(self) -> int:
        """Which share of a step is this rank's."""
        return self.rank // self.context_parallel

    @property
    def data_ranks(self) -> int:
        """How many share a step."""
        return self.size // self.context_parallel

    @property
    def first(self) -> bool:
        """Whether this rank speaks and writes for all."""
        return self.rank == 0

    def summed(self, values: Tensor) -> Tensor:
        """The sum over all ranks, on the CPU."""
        total = values.detach().cpu().clone()
        dist.all_reduce(total, group=self.group)
        return total

    def gathered(self, value: Any) -> list[Any]:  # noqa: ANN401 - whatever ranks have to tell
        """What each rank holds, on all ranks."""
        held = [None] * self.size
        dist.all_gather_object(held, value, group=self.group)
        return held

    def wait(self) -> None:
        """Until all are here."""
        dist.barrier(group=self.group)

    def wait_for_first(self, patience: dt.timedelta = _PATIENCE) -> None:
        """Until the first rank is here, which has had something to do that the others have not.

        Args:
            patience: of the others. A rank that dies is noticed by whoever started it, so this
                bounds only one that hangs.
        """
        here = torch.zeros(1)
        if self.first:
            for other in range(1, self.size):
                dist.send(here, other, group=self.group)
        else:
            # A barrier of gloo knows its group's time limit alone.
            coming = dist.irecv(here, 0, group=self.group)
            assert coming is not None
            coming.wait(patience)

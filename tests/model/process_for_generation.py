"""One rank of shared generations: `python -m … RANK WORLD STORE OUT`.

Four processes first share one as four, then two of them as two, then one alone; rank 0 writes each
video to OUT.
"""

import datetime as dt
import itertools
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file

from model.ranks import Ranks
from model.work import Execution
from pipelines.worker import leave
from tests.model.tiny_generator import tiny_generator, tiny_request, video_of


def main(rank: int, world: int, store: str, out: Path) -> None:
    dist.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=rank,
        world_size=world,
        timeout=dt.timedelta(minutes=15),
    )
    generator, videos = tiny_generator(), {}
    for size in (4, 2, 1):
        group = dist.new_group(list(range(size)), backend="gloo")
        if rank >= size:
            continue
        ranks = Ranks(rank, size, group) if size > 1 else Ranks()
        for order, batch in itertools.product(("breadth", "depth"), (1, 2)):
            execution = Execution(order, batch=batch)
            segments = list(generator.generate(tiny_request(), execution, ranks=ranks))
            if rank == 0:
                videos[f"{size} {order} {batch}"] = video_of(segments)
            else:
                assert not segments
    if rank == 0:
        save_file(videos, out)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
    leave()

"""One rank of a network whose tokens are split by Ulysses: `python -m … RANK WORLD STORE`.

Exits with an error where the split network's velocities or its gradients, summed over the ranks,
are not those of the whole network.
"""

import sys

import torch
import torch.distributed as dist
from diffusers.models._modeling_parallel import ContextParallelConfig

from pipelines.worker import leave
from tests.model.tiny import inputs, tiny_network, velocity

POSITIONS = torch.tensor([[0.5, 1.5, 2.5, 3.5, 4.5], [7.0, 11.0, 15.0, 19.0, 23.0]])


def main(rank: int, world: int, store: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    # diffusers places rank r on device r modulo the number of accelerators, and a CPU counts as 0.
    torch.accelerator.device_count = lambda: world
    whole, split = tiny_network(), tiny_network()
    split.enable_parallelism(config=ContextParallelConfig(ulysses_degree=world))
    for positions in (None, POSITIONS):
        expected, ours = (velocity(net, inputs(), positions) for net in (whole, split))
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)
    for output in (expected, ours):
        output.square().mean().backward()
    for one, other in zip(whole.parameters(), split.parameters(), strict=True):
        gradient = other.grad.clone()
        dist.all_reduce(gradient)
        torch.testing.assert_close(gradient, one.grad, rtol=1e-4, atol=1e-6)
    dist.barrier()  # who leaves early tears down what the other still talks over


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
    leave()

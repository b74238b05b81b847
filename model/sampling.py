"""From noise to latents: one batch of windows denoised at once, with guidance.

A batch is only ever a matter of speed: each sample has its own noise, made on the CPU from its own
seed, and nothing here mixes samples. What batching may change is the last bits of matrix products.
"""

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from model.flow_matching import SolverName, guided, make_solver

if TYPE_CHECKING:
    from model.dit import MultiMaskDiT


@dataclasses.dataclass(frozen=True, slots=True)
class LevelSampling:
    """How one level of a tree is sampled; its number of steps is the schedule's.

    Attributes:
        guidance: classifier-free guidance scale; 1 is none, and halves the cost.
        shift: of the times towards noise, once; Wan uses 3 at 480p and 5 at 720p.
    """

    guidance: float = 5.0
    shift: float = 3.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.guidance) and self.guidance >= 1):
            raise ValueError(f"guidance={self.guidance}: must be 1 (none) or more")
        if not (math.isfinite(self.shift) and self.shift > 0):
            raise ValueError(f"shift={self.shift}: must be positive; 1 is no shift")


@dataclasses.dataclass(frozen=True, slots=True)
class Sampling:
    """How all levels are sampled.

    Attributes:
        levels: one for each level, coarse to fine, or a single one for all.
        solver: see `model.flow_matching`.
    """

    levels: tuple[LevelSampling, ...] = (LevelSampling(),)
    solver: SolverName = "unipc"

    def __post_init__(self) -> None:
        if not self.levels:
            raise ValueError("levels is empty: give one LevelSampling for all, or one for each")
        make_solver(self.solver, 1, self.levels[0].shift)

    def level(self, number: int, count: int) -> LevelSampling:
        """That of a level.

        Raises:
            ValueError: neither one nor `count` levels were given.
        """
        if len(self.levels) not in (1, count):
            raise ValueError(
                f"guidance and shift of {len(self.levels)} levels for a schedule of {count}: give "
                "one number for all, or one for each"
            )
        return self.levels[number if len(self.levels) > 1 else 0]


@dataclasses.dataclass(frozen=True, slots=True)
class Window:
    """What one sample of a batch is made from.

    Attributes:
        seed: of its noise.
        channels: mask and condition latents `[4+C,T,h,w]`.
        positions: temporal position of each latent.
        text: embedded prompt `[L,D]`.
        negative: embedded negative prompt, used where guidance is not 1.
    """

    seed: int
    channels: Tensor
    positions: tuple[float, ...]
    text: Tensor
    negative: Tensor


def derived_seed(*parts: int | str) -> int:
    """A seed that depends on all parts and on nothing else, the same on every machine."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8]) >> 1  # torch's generators take 63 bits without complaint


def noise(seed: int, shape: Sequence[int]) -> Tensor:
    """Standard normal float32 on the CPU, whose generator is the same on every machine."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def denoise(
    network: "MultiMaskDiT",
    windows: Sequence[Window],
    *,
    steps: int,
    level: LevelSampling,
    solver: SolverName,
) -> Tensor:
    """Integrate windows of one shape from noise to latents.

    Guidance runs two forwards one after the other rather than one of twice the batch: memory is
    what limits windows.

    Args:
        network: in evaluation mode, on its device and in its dtype.
        windows: of one shape.
        steps: of the solver.
        level: guidance and shift.
        solver: its name.

    Returns:
        float32 latents `[B,C,T,h,w]` on the network's device.
    """
    device, dtype = network.device, network.dtype
    channels = torch.stack([window.channels for window in windows]).to(device, dtype)
    # Quarters, which float32 holds exactly up to four million; Apple's GPUs have no float64.
    positions = torch.tensor([window.positions for window in windows], dtype=torch.float32)
    positions = positions.to(device)
    texts = [torch.stack([window.text for window in windows]).to(device, dtype)]
    if level.guidance != 1.0:
        texts.append(torch.stack([window.negative for window in windows]).to(device, dtype))
    shape = (int(network.config["out_channels"]), *windows[0].channels.shape[1:])
    latents = torch.stack([noise(window.seed, shape) for window in windows]).to(device)
    trajectory = make_solver(solver, steps, level.shift)
    for index, timestep in enumerate(trajectory.timesteps):
        entered = torch.cat([latents.to(dtype), channels], dim=1)
        times = timestep.expand(len(windows)).to(device)
        velocities = [
            network(entered, times, text, return_dict=False, temporal_positions=positions)[0]
            for text in texts
        ]
        # Without guidance there is one velocity, which then stands for both.
        velocity = guided(velocities[0].float(), velocities[-1].float(), level.guidance)
        latents = trajectory.step(latents, velocity, index)
    return latents

"""A micro-batch as the loop gets it: 8-bit pictures and everything that was drawn for them.

The noise itself is not in it. It is made from seeds on the CPU, in the shape of the latents, so
that it is the same on every device; the trade-off is some tens of milliseconds for a large batch.
"""

import dataclasses
from typing import Self

import numpy as np
import torch
from torch import Tensor

from training.draws import Draws, Purpose
from training.examples import Example
from training.masks import MaskKind
from training.plan import MicroBatch
from training.windows import Bucket


@dataclasses.dataclass(frozen=True, slots=True)
class Batch:
    """A micro-batch: B windows of one bucket.

    Attributes:
        step: of the run.
        slot: number of the micro-batch in the run.
        bucket: size and length of all windows.
        step_samples: samples in the step's global batch, over all ranks.
        last_of_step: whether this rank's next micro-batch is of another step.
        pixels: `[B,F,H,W,3]` uint8, RGB.
        frame_mask: `[B,F]` bool, True where a frame is given.
        positions: `[B,T]` float64, temporal positions.
        times: `[B]` float32, t of flow matching.
        noise_seeds: `[B]` int64.
        rates: `[B]` int64, frames per second.
        starts: `[B]` int64, first frames at 24 fps.
        captions: of each window; empty where it was dropped.
        mask_kinds: of each window.
        sample_ids: of each window.
        damaged: sample_id -> reason, of samples that were replaced.
        latents: z_0 `[B,C,T,h,w]` float32, where they were precomputed; else None.
        conditions: of each window its condition latents `[C,T,h,w]`, where they were. A window with
            z_0 whose mask needs no picture has none: its pixels are zero.
    """

    step: int
    slot: int
    bucket: Bucket
    step_samples: int
    last_of_step: bool
    pixels: Tensor
    frame_mask: Tensor
    positions: Tensor
    times: Tensor
    noise_seeds: Tensor
    rates: Tensor
    starts: Tensor
    captions: tuple[str, ...]
    mask_kinds: tuple[MaskKind, ...]
    sample_ids: tuple[str, ...]
    damaged: dict[str, str]
    latents: Tensor | None = None
    conditions: tuple[Tensor | None, ...] = ()

    def __len__(self) -> int:
        return len(self.sample_ids)

    def frames(
        self, dtype: torch.dtype = torch.float32, *, rows: slice | list[int] = slice(None)
    ) -> Tensor:
        """The videos as the codec takes them: `[B,3,F,H,W]` in [-1,1], on the pixels' device."""
        return as_video(self.pixels[rows], dtype)

    def to(self, device: torch.device | str) -> Self:
        """What the network is fed on another device; pinned pictures are copied without waiting."""
        return dataclasses.replace(
            self,
            pixels=self.pixels.to(device, non_blocking=True),
            frame_mask=self.frame_mask.to(device),
            positions=self.positions.to(device),
            times=self.times.to(device),
            latents=None if self.latents is None else self.latents.to(device),
            conditions=tuple(c if c is None else c.to(device) for c in self.conditions),
        )


def as_video(pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """8-bit pictures `[B,F,H,W,3]` as the codec takes them: `[B,3,F,H,W]` in [-1,1]."""
    return (pixels.to(dtype) / 127.5 - 1.0).movedim(-1, 1).contiguous()


def collate(
    plan: MicroBatch, pixels: Tensor, examples: list[Example], *, last_of_step: bool
) -> Batch:
    """Put the examples of a micro-batch together."""
    return Batch(
        step=plan.step,
        slot=plan.slot,
        bucket=plan.bucket,
        step_samples=plan.step_samples,
        last_of_step=last_of_step,
        pixels=pixels,
        frame_mask=torch.from_numpy(np.stack([example.mask.given for example in examples])),
        positions=torch.from_numpy(np.stack([example.positions for example in examples])),
        times=torch.tensor([example.time for example in examples], dtype=torch.float32),
        noise_seeds=torch.tensor([example.noise_seed for example in examples]),
        rates=torch.tensor([example.rate for example in examples]),
        starts=torch.tensor([example.start for example in examples]),
        captions=tuple(example.caption for example in examples),
        mask_kinds=tuple(example.mask.kind for example in examples),
        sample_ids=tuple(example.sample_id for example in examples),
        damaged={sample: why for example in examples for sample, why in example.damaged.items()},
        latents=_stacked([example.latents for example in examples]),
        conditions=tuple(example.condition for example in examples),
    )


def _stacked(latents: list[Tensor | None]) -> Tensor | None:
    """Of all windows or of none: a run uses precomputed latents or does not."""
    found = [one for one in latents if one is not None]
    assert len(found) in (0, len(latents))
    return torch.stack(found) if found else None


def noise_like(latents: Tensor, seeds: Tensor) -> Tensor:
    """The noise z_1 of each sample, from its own seed: the same in any batch and on any device.

    Args:
        latents: `[B, ...]`; gives shape and device.
        seeds: `[B]`.

    Returns:
        Standard normal, float32.
    """
    generator = torch.Generator()
    drawn = [
        torch.randn(latents.shape[1:], generator=generator.manual_seed(seed))
        for seed in seeds.tolist()
    ]
    return torch.stack(drawn).to(latents.device)


def chosen(batch: Batch, share: float, purpose: Purpose) -> Tensor:
    """`[B]` bool: each sample with probability `share`, as it was or would be in any other batch.

    For what the loop draws itself, such as which anchors make a round trip through the codec.
    """
    drawn = [Draws(seed, purpose).uniform() < share for seed in batch.noise_seeds.tolist()]
    return torch.tensor(drawn)

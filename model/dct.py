"""A weights-free codec of Wan's geometry: the lowest coefficients of an orthonormal DCT.

Colour, time, rows and columns are each transformed by the orthonormal DCT-II, in blocks of one
frame (the first) or four frames by 8 x 8 pixels, and 16 coefficients of each block are kept. So
training, generation and tests run honestly, offline and on any machine, with pictures that can be
recognised: the round trip of real films at 240 lines gives 19.5 to 53 dB, 29 on average. What it
does not give is sharpness, and first frames are sharper (34 dB) than the rest, which lose all
motion within a block but the lowest frequency of its brightness.
"""

import dataclasses
import hashlib
import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from model.codec import Geometry

_COLOURS, _FRAMES, _SIDE = 3, 4, 8
_DEVIATIONS = (
    *(16.0680, 1.9567, 2.2343, 0.7808, 1.0736, 1.1343, 0.5199, 0.4918, 0.6331, 0.7078),
    *(0.3682, 1.1582, 6.8519, 1.1653, 1.0155, 5.6254),
)
_DEVIATION = 4.7032
"""The root of the mean of their squares."""

Scale = Literal["channels", "pixels"]
"""What the deviation of a latent channel is: 1 for each, or that of its coefficient in pixels, but
for one factor for all."""


class Coefficient(NamedTuple):
    """One basis function: its index along each axis, 0 is constant.

    Along colour 0 is luma (R+G+B), 1 red against blue, 2 green against both.
    """

    colour: int
    time: int
    row: int
    column: int


def _zigzag(count: int) -> tuple[tuple[int, int], ...]:
    """The lowest spatial frequencies, rising; of equal ones the more diagonal first."""
    sides = [(row, column) for row in range(_SIDE) for column in range(_SIDE)]
    rising = sorted(sides, key=lambda rc: (sum(rc), abs(rc[0] - rc[1]), rc))
    return tuple(rising[:count])


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """Which coefficients are kept, as which channels, and how each is normalised.

    Attributes:
        coefficients: one for each latent channel.
        mean: subtracted from each coefficient.
        std: each coefficient is divided by it.
    """

    coefficients: tuple[Coefficient, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.coefficients) == len(self.mean) == len(self.std) > 0:
            raise ValueError(
                f"coefficients, mean, std of {len(self.coefficients)}, {len(self.mean)} and "
                f"{len(self.std)} entries: give each coefficient one mean and one std"
            )
        if min(self.std) <= 0:
            raise ValueError(f"std={min(self.std)}: must be positive")


def standard_layout(scale: Scale = "channels") -> Layout:
    """16 channels: 11 spatial and 1 temporal of luma, 3 and 1 of the two chroma axes.

    Scaled by channels, all weigh the same in a network's loss, and brightness, three quarters of
    what a picture is, is a sixteenth of it. Scaled as pixels, one deviation serves all: the
    transform is orthonormal, so errors of latents weigh as the pixels' errors do (but in the first
    latent, whose picture stands for four), and channels differ in size, from 0.1 to 3.4. Small
    networks keep more of a scene so (docs/benchmarks.md).

    Means and deviations were measured once over 59 clips of 17 frames from 23 real films (live
    action, animation, slides, test patterns) scaled to a shorter side of 240 pixels, each film
    weighing the same, and are frozen here: they are part of what stored latents mean. First latents
    agreed with the others within 7 %.
    """
    luma = [Coefficient(0, 0, row, column) for row, column in _zigzag(11)]
    chroma = [Coefficient(1, 0, row, column) for row, column in _zigzag(3)]
    return Layout(
        (*luma, Coefficient(0, 1, 0, 0), *chroma, Coefficient(2, 0, 0, 0)),
        mean=(
            *(-6.1911, -0.0409, 0.0488, -0.0021, 0.0055, 0.0339, -0.0003, 0.0019, 0.0103, 0.0080),
            *(0.0033, -0.0349, 1.5149, 0.0152, 0.0026, -0.2987),
        ),
        std=_DEVIATIONS if scale == "channels" else (_DEVIATION,) * len(_DEVIATIONS),
    )


def complete_layout() -> Layout:
    """All 768 coefficients, not normalised: the transform alone, which loses nothing."""
    every = tuple(
        Coefficient(colour, time, row, column)
        for colour in range(_COLOURS)
        for time in range(_FRAMES)
        for row in range(_SIDE)
        for column in range(_SIDE)
    )
    return Layout(every, mean=(0.0,) * len(every), std=(1.0,) * len(every))


def dct_matrix(size: int) -> Tensor:
    """The orthonormal DCT-II: float64 `[size, size]`, a basis function in each row."""
    index = torch.arange(size, dtype=torch.float64)
    angles = math.pi / size * (index[None, :] + 0.5) * index[:, None]
    matrix = torch.cos(angles) * math.sqrt(2.0 / size)
    matrix[0] /= math.sqrt(2.0)
    return matrix


class DctCodec:
    """See the module; runs on the device of what it is given.

    The first latent holds one frame, treated as four equal ones: its coefficients are twice those
    of the picture, so that channels mean the same in all latents, and its temporal ones are zero
    before normalisation.

    Args:
        layout: which coefficients to keep.
    """

    def __init__(self, layout: Layout | None = None) -> None:
        self.layout = standard_layout() if layout is None else layout
        self.geometry = Geometry(_FRAMES, _SIDE, len(self.layout.coefficients))
        axes = [dct_matrix(size) for size in (_COLOURS, _FRAMES, _SIDE, _SIDE)]
        basis = torch.einsum("pc,qt,ui,vj->pquvctij", *axes)
        chosen = torch.stack([basis[coefficient] for coefficient in self.layout.coefficients])
        self._basis = chosen.flatten(1).float()  # [C, 3*4*8*8]
        # Four equal frames have twice the coefficients of one; half of the sum over the four
        # frames of the basis is the basis of one picture.
        self._picture = (chosen.sum(2).flatten(1) / 2.0).float()  # [C, 3*8*8]
        self._mean = torch.tensor(self.layout.mean)
        self._std = torch.tensor(self.layout.std)
        described = hashlib.sha256(repr(self.layout).encode()).hexdigest()
        self.fingerprint = f"dct-1:{described[:32]}"

    @property
    def resident(self) -> nn.Module | None:
        """See `LatentCodec.resident`."""
        return None

    @torch.no_grad()
    def encode(self, video: Tensor) -> Tensor:
        """See `LatentCodec.encode`."""
        self.geometry.latent_shape(video)
        video = video.float()
        first = 2.0 * _blocks(video[:, :, :1], 1) @ self._on(video, self._picture).T
        rest = _blocks(video[:, :, 1:], _FRAMES) @ self._on(video, self._basis).T
        coefficients = torch.cat([first, rest], dim=1)  # [B,T,h,w,C]
        latents = (coefficients - self._on(video, self._mean)) / self._on(video, self._std)
        return latents.permute(0, 4, 1, 2, 3).contiguous()

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """See `LatentCodec.decode`."""
        self.geometry.check_latents(latents)
        latents = latents.float().permute(0, 2, 3, 4, 1)  # [B,T,h,w,C]
        coefficients = latents * self._on(latents, self._std) + self._on(latents, self._mean)
        first = coefficients[:, :1] / 2.0 @ self._on(latents, self._picture)
        rest = coefficients[:, 1:] @ self._on(latents, self._basis)
        return torch.cat([_video(first, 1), _video(rest, _FRAMES)], dim=2).clamp_(-1.0, 1.0)

    @staticmethod
    def _on(reference: Tensor, constant: Tensor) -> Tensor:
        return constant.to(reference.device)


def _blocks(video: Tensor, frames: int) -> Tensor:
    """`[B,3,F,H,W]` to blocks `[B,F/frames,H/8,W/8,3*frames*8*8]`."""
    batch, _, count, height, width = video.shape
    groups, rows, columns = count // frames, height // _SIDE, width // _SIDE
    split = video.reshape(batch, _COLOURS, groups, frames, rows, _SIDE, columns, _SIDE)
    return split.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4)


def _video(blocks: Tensor, frames: int) -> Tensor:
    """The inverse of `_blocks`."""
    batch, groups, rows, columns, _ = blocks.shape
    split = blocks.reshape(batch, groups, rows, columns, _COLOURS, frames, _SIDE, _SIDE)
    joined = split.permute(0, 4, 1, 5, 2, 6, 3, 7)
    return joined.reshape(batch, _COLOURS, groups * frames, rows * _SIDE, columns * _SIDE)

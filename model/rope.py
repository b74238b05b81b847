"""Rotary position embedding whose temporal positions are real numbers, one row per sample.

Rows and columns keep diffusers' tables; the temporal angles are computed from the given positions
at every forward, in float64 as the tables were, which costs microseconds against a block's
attention. Rotary attention sees differences of positions only: an offset common to all frames of a
sample (`t_start` of Eq. 4) changes nothing but rounding, the spacing changes everything.

Up to 10 000 an offset moves the logits of float32 attention by less than 1e-5, for positions that
arrive exactly: any in float64, as training passes them, and whole quarters in float32, as
generation does. Others float32 itself rounds, and unevenly where it coarsens within a window: just
below 8192 that moves logits by some 1e-4. Apple's GPUs have no float64: angles are rounded as much.
"""

import contextlib
from collections.abc import Iterator

import torch
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed
from torch import Tensor

THETA = 10_000.0
"""Base of the geometric series of frequencies, as in Wan."""


class TemporalRotaryPosEmbed(WanRotaryPosEmbed):
    """Wan's rotary embedding, with an optional `[B, T]` of temporal positions.

    It has no parameters, and no buffers beyond upstream's. Without positions it is upstream's.
    """

    freqs_cos: Tensor
    """Upstream's tables `[positions, head_dim]`: times, then rows, then columns."""
    freqs_sin: Tensor
    _at: Tensor | None = None

    @contextlib.contextmanager
    def at(self, temporal_positions: Tensor | None) -> Iterator[None]:
        """Within this context, forwards that name no positions use these.

        Upstream's network calls `rope(hidden_states)`; this is how positions reach it without a
        copy of upstream's forward. One forward of a module at a time.

        Raises:
            RuntimeError: another forward of the same module is under way with its positions.
        """
        if self._at is not None:
            raise RuntimeError(
                "this network is inside another forward: give each thread a network of its own"
            )
        self._at = temporal_positions
        try:
            yield
        finally:
            self._at = None

    def forward(  # type: ignore[override]  # upstream is annotated as one tensor, and returns two
        self, hidden_states: Tensor, temporal_positions: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Cosines and sines for each token.

        Args:
            hidden_states: latents `[B, C, T, H, W]`; only the shape and the device are used.
            temporal_positions: `[B, T]`, in units of latent frames at the top rate; integers,
                float32 or float64. None: 0, 1, … T-1 for every sample, from upstream's table.

        Returns:
            Two tensors `[B or 1, T·(H/p_h)·(W/p_w), 1, head_dim]`.

        Raises:
            ValueError: positions of another shape, or of a type that cannot hold them.
        """
        positions = self._at if temporal_positions is None else temporal_positions
        if positions is None:
            cosines, sines = super().forward(hidden_states)
            return cosines, sines
        samples, _, frames, height, width = hidden_states.shape
        check_positions(positions, samples, frames)
        angles = self.temporal_angles(positions.to(hidden_states.device))
        grid = height // self.patch_size[1], width // self.patch_size[2]
        return (
            self._table(angles.cos(), self.freqs_cos, grid),
            self._table(angles.sin(), self.freqs_sin, grid),
        )

    def temporal_angles(self, positions: Tensor) -> Tensor:
        """Angles `[B, T, t_dim / 2]` = position · theta^(-2i / t_dim)."""
        # Apple's GPUs have no float64; upstream's tables are float32 there too.
        dtype = torch.float32 if positions.device.type == "mps" else torch.float64
        pairs = torch.arange(0, self.t_dim, 2, dtype=dtype, device=positions.device)
        frequencies = 1.0 / (THETA ** (pairs / self.t_dim))
        return positions.to(dtype)[..., None] * frequencies

    def _table(self, temporal: Tensor, upstream: Tensor, grid: tuple[int, int]) -> Tensor:
        """Upstream's table for a grid of rows and columns, with these values `[B, T, t_dim / 2]`.

        The result is at least float32, also where a cast of the whole network took upstream's table
        down to bfloat16, whose 8 bits cannot tell neighbouring positions apart.
        """
        samples, frames, _ = temporal.shape
        rows, columns = grid
        of_row = upstream[:rows, self.t_dim : self.t_dim + self.h_dim]
        of_column = upstream[:columns, self.t_dim + self.h_dim :]
        parts = (
            temporal.float().repeat_interleave(2, dim=-1)[:, :, None, None],
            of_row[None, None, :, None],
            of_column[None, None, None],
        )
        spread = [part.expand(samples, frames, rows, columns, -1) for part in parts]
        return torch.cat(spread, dim=-1).reshape(samples, frames * rows * columns, 1, -1)


def check_positions(positions: Tensor, samples: int, frames: int) -> None:
    """Refuse positions that do not fit `samples` videos of `frames` latent frames.

    Raises:
        ValueError: naming what does not fit, and the remedy.
    """
    if tuple(positions.shape) != (samples, frames):
        raise ValueError(
            f"temporal_positions has shape {list(positions.shape)}: must be "
            f"[{samples}, {frames}], one position for each latent frame of each sample"
        )
    if positions.dtype in (torch.float16, torch.bfloat16) or positions.is_complex():
        raise ValueError(
            f"temporal_positions are {positions.dtype}, which rounds positions beyond 256: "
            "pass float32 or float64"
        )

"""The loss of a micro-batch: flow matching under masks and text (paper sections 3.2, 3.3, App. A).

`prepare` makes everything that the network is fed, without gradients; `loss` runs the network and
compares. All latents count, given ones too, for generation denoises all of them; what is logged is
split. The codec works on a few samples at a time, so that float32 pictures of a whole micro-batch
never stand in memory; the trade-off is that small batches of a fast codec are encoded in pieces.
"""

import dataclasses
from typing import Protocol

import torch
from torch import Tensor

from model.codec import LatentCodec
from model.conditioning import Conditioning, condition, fold_mask
from model.flow_matching import TIMESTEP_SCALE, interpolate, target_velocity
from model.text import TextEncoder
from training.batches import Batch, chosen, noise_like
from training.draws import Purpose
from training.masks import MaskKind

PARENT_STRIDE: dict[MaskKind, int] = {"every2": 2, "every4": 4}
"""Masks by which a level above conditions the one below, and how many frames lie between."""


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectiveConfig:
    """How a micro-batch becomes a loss.

    Attributes:
        anchor_round_trip: share of the samples with regular anchors (`every2`, `every4`) whose
            anchors have been through the codec, as the frames of a level above have in generation.
        codec_samples: samples that the codec works on at once; bounds memory, changes nothing else.
    """

    anchor_round_trip: float = 0.0
    codec_samples: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.anchor_round_trip <= 1:
            raise ValueError(
                f"objective.anchor_round_trip = {self.anchor_round_trip}: give a share from 0 to 1"
            )
        if self.codec_samples < 1:
            raise ValueError(f"objective.codec_samples = {self.codec_samples}: give at least 1")


@dataclasses.dataclass(frozen=True, slots=True)
class Inputs:
    """What the network is fed for a micro-batch of B windows, and what it should say.

    Attributes:
        latents: z_0 `[B,C,T,h,w]`, float32.
        noise: z_1, likewise.
        times: `[B]` float32, t; one for all latents of a sample.
        condition: mask channels `[B,4,T,h,w]` and condition latents `[B,C,T,h,w]`.
        text: `[B,L,D]`.
        positions: `[B,T]` float64, temporal positions.
        given: `[B,T]` bool, latents of which at least one frame is given.
        step_samples: samples in the step's global batch, over all ranks.
    """

    latents: Tensor
    noise: Tensor
    times: Tensor
    condition: Conditioning
    text: Tensor
    positions: Tensor
    given: Tensor
    step_samples: int

    @property
    def noisy(self) -> Tensor:
        """z_t (Eq. 3)."""
        return interpolate(self.latents, self.noise, self.times)

    @property
    def target(self) -> Tensor:
        """The velocity z_1 - z_0."""
        return target_velocity(self.latents, self.noise)

    @property
    def hidden_states(self) -> Tensor:
        """z_t, mask channels and condition latents: `[B,4+2C,T,h,w]`."""
        return torch.cat([self.noisy, self.condition.channels()], dim=1)

    @property
    def timesteps(self) -> Tensor:
        """1000 · t, as the network is told."""
        return TIMESTEP_SCALE * self.times


@dataclasses.dataclass(frozen=True, slots=True)
class Losses:
    """The squared error of a micro-batch, per element of a latent.

    Attributes:
        total: scalar to be differentiated: the sum over samples, divided by the samples of the
            whole step, so that gradients summed over micro-batches and ranks are those of the
            global batch's mean.
        per_sample: `[B]`, mean over all latents of a sample; detached, as the next two are.
        given: `[B]`, mean over its latents of which a frame is given; NaN where it has none.
        free: `[B]`, mean over its other latents; NaN where it has none.
    """

    total: Tensor
    per_sample: Tensor
    given: Tensor
    free: Tensor


class VelocityNetwork(Protocol):
    """`MultiMaskDiT`, or what an engine wraps it in."""

    def __call__(
        self,
        hidden_states: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        *,
        return_dict: bool,
        temporal_positions: Tensor,
    ) -> tuple[Tensor, ...]:
        """See `MultiMaskDiT.forward`."""
        ...


class Objective:
    """From a micro-batch to its loss.

    Args:
        codec: frozen, on the device of the batches.
        text: frozen; its embeddings are brought to that device.
        config: see there.
        dtype: in which the network is fed; latents, noise and the loss stay float32.
    """

    def __init__(
        self,
        codec: LatentCodec,
        text: TextEncoder,
        config: ObjectiveConfig,
        *,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.codec, self.text, self.config, self.dtype = codec, text, config, dtype
        self._grey: dict[tuple[int, ...], Tensor] = {}
        """Shape of a video -> latents of grey: the condition where nothing is given."""

    @torch.no_grad()
    def prepare(self, batch: Batch) -> Inputs:
        """Encode a micro-batch, on the device where it is.

        Raises:
            ValueError: a size that the codec does not have.
        """
        device = batch.pixels.device
        again = chosen(batch, self.config.anchor_round_trip, Purpose.ANCHORS).tolist()
        clean, conditions = [], []
        for first in range(0, len(batch), self.config.codec_samples):
            rows = list(range(first, min(first + self.config.codec_samples, len(batch))))
            of_rows = self._encoded(batch, rows, again)
            clean.append(of_rows[0])
            conditions.append(of_rows[1])
        latents = torch.cat(clean)
        folded = fold_mask(batch.frame_mask)
        mask = folded[..., None, None].expand(-1, -1, -1, *latents.shape[-2:])
        return Inputs(
            latents=latents,
            noise=noise_like(latents, batch.noise_seeds),
            times=batch.times,
            condition=Conditioning(mask, torch.cat(conditions)),
            text=self._embedded(batch.captions).to(device),
            positions=batch.positions,
            given=folded.amax(dim=1) > 0,
            step_samples=batch.step_samples,
        )

    def _encoded(self, batch: Batch, rows: list[int], again: list[bool]) -> tuple[Tensor, Tensor]:
        """z_0 and condition latents of some windows: what was precomputed is not encoded."""
        device = batch.pixels.device
        asked = [row for row in rows if self._asks_for_pictures(batch, row)]
        pictured = asked if batch.latents is not None else rows
        video = batch.frames(rows=pictured)
        clean = self.codec.encode(video) if batch.latents is None else batch.latents[rows]
        made: dict[int, Tensor] = {}
        if asked:
            # Of one window at a time, which is the rule, they are the same, and large.
            shown = video if asked == pictured else video[[pictured.index(row) for row in asked]]
            anchors = self._anchors(
                shown,
                tuple(batch.mask_kinds[row] for row in asked),
                [again[row] for row in asked],
            )
            encoded = condition(anchors, batch.frame_mask[asked], self.codec).latents
            made = dict(zip(asked, encoded.to(device), strict=True))
        conditions = [made[row] if row in made else self._known(batch, row) for row in rows]
        return clean.to(device), torch.stack(conditions)

    def _asks_for_pictures(self, batch: Batch, row: int) -> bool:
        """Whether a window's condition is to be encoded: it has one, and it was not precomputed."""
        stored = batch.conditions and batch.conditions[row] is not None
        return not stored and bool(batch.frame_mask[row].any())

    def _known(self, batch: Batch, row: int) -> Tensor:
        """Condition latents that need no pictures: precomputed ones, or those of nothing given."""
        stored = batch.conditions[row] if batch.conditions else None
        if stored is not None:
            return stored
        shape = (1, 3, *batch.pixels.shape[1:4])
        if shape not in self._grey:
            grey = torch.zeros(shape, device=batch.pixels.device)
            self._grey[shape] = self.codec.encode(grey)[0].to(batch.pixels.device)
        return self._grey[shape]

    def _embedded(self, captions: tuple[str, ...]) -> Tensor:
        """`[B,L,D]`; each by itself, so that it is the same in any batch, and when precomputed."""
        return torch.cat([self.text.encode([caption]) for caption in captions])

    def loss(self, network: VelocityNetwork, inputs: Inputs) -> Losses:
        """Run the network, and compare what it predicts with the velocity.

        Args:
            network: in the dtype of this objective.
            inputs: of `prepare`, or made by hand.
        """
        (predicted,) = network(
            inputs.hidden_states.to(self.dtype),
            inputs.timesteps,
            inputs.text.to(self.dtype),
            return_dict=False,
            temporal_positions=inputs.positions,
        )
        return losses_of(predicted, inputs)

    def _anchors(self, video: Tensor, kinds: tuple[MaskKind, ...], again: list[bool]) -> Tensor:
        """The frames that may be given: of some samples as a level above would have made them."""
        if not any(once and kind in PARENT_STRIDE for kind, once in zip(kinds, again, strict=True)):
            return video
        anchors = video.clone()
        for row, (kind, once) in enumerate(zip(kinds, again, strict=True)):
            if once and kind in PARENT_STRIDE:
                stride = PARENT_STRIDE[kind]
                anchors[row, :, ::stride] = self._round_trip(video[row : row + 1, :, ::stride])[0]
        return anchors

    def _round_trip(self, clip: Tensor) -> Tensor:
        """Encode and decode a clip of any length; codecs are causal, so padding is harmless."""
        frames = clip.shape[2]
        missing = (1 - frames) % self.codec.geometry.time
        tail = clip[:, :, -1:].expand(-1, -1, missing, -1, -1)
        decoded = self.codec.decode(self.codec.encode(torch.cat([clip, tail], dim=2)))
        return decoded[:, :, :frames].to(clip.device)


def losses_of(predicted: Tensor, inputs: Inputs) -> Losses:
    """Compare a predicted velocity `[B,C,T,h,w]` with the true one, in float32."""
    error = (predicted.float() - inputs.target).square().mean(dim=(1, 3, 4))  # [B,T]
    per_sample = error.mean(dim=1)
    detached = error.detach()
    return Losses(
        total=per_sample.sum() / inputs.step_samples,
        per_sample=per_sample.detach(),
        given=_mean_where(detached, inputs.given),
        free=_mean_where(detached, ~inputs.given),
    )


def _mean_where(values: Tensor, where: Tensor) -> Tensor:
    """Mean of each row over marked places; 0/0 is NaN where there are none."""
    return torch.where(where, values, 0.0).sum(dim=1) / where.sum(dim=1)

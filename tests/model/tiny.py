"""Tiny networks and inputs that the tests of the network share."""

import dataclasses

import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel

from model import presets
from model.dit import MultiMaskDiT

LATENTS, HEIGHT, WIDTH = 5, 48, 64
"""Latent frames, and pixels: 5 x 3 x 4 tokens."""

TEXT_LENGTH = 7


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a forward takes, for two videos."""

    hidden_states: torch.Tensor
    timestep: torch.Tensor
    encoder_hidden_states: torch.Tensor

    def to(self, dtype: torch.dtype) -> "Inputs":
        return Inputs(
            self.hidden_states.to(dtype), self.timestep, self.encoder_hidden_states.to(dtype)
        )


def tiny_network(seed: int = 0) -> MultiMaskDiT:
    """A network of two layers whose attention is sharp enough to feel where its tokens are."""
    torch.manual_seed(seed)
    network = MultiMaskDiT.of(presets.tiny())
    with torch.no_grad():
        for block in network.blocks:
            # Random weights attend almost evenly, and then positions hardly matter.
            block.attn1.norm_q.weight.fill_(4.0)
    return network


def stock_twin(network: MultiMaskDiT) -> WanTransformer3DModel:
    """Diffusers' own network with the same weights."""
    twin = WanTransformer3DModel(**dataclasses.asdict(presets.tiny()))
    twin.load_state_dict(network.state_dict())
    return twin


def inputs(seed: int = 1, batch: int = 2) -> Inputs:
    generator = torch.Generator().manual_seed(seed)
    return Inputs(
        torch.randn(batch, 36, LATENTS, HEIGHT // 8, WIDTH // 8, generator=generator),
        torch.linspace(20.5, 981.25, batch),
        torch.randn(batch, TEXT_LENGTH, presets.tiny().text_dim, generator=generator),
    )


def velocity(
    network: torch.nn.Module, given: Inputs, positions: torch.Tensor | None = None
) -> torch.Tensor:
    """The prediction as a tensor; positions only where given, so that stock networks fit too."""
    extra = {} if positions is None else {"temporal_positions": positions}
    output: tuple[torch.Tensor] = network(
        given.hidden_states,
        given.timestep,
        given.encoder_hidden_states,
        return_dict=False,
        **extra,
    )
    return output[0]

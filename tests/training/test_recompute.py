"""Blocks that are recomputed give the bits of blocks that are not."""

import copy
import dataclasses

import pytest
import torch
from torch import Tensor

from model import presets
from model.dit import MultiMaskDiT
from training.recompute import Recompute, recompute

LAYERS, TEXT = 2, 5


@pytest.fixture(scope="module")
def eager() -> MultiMaskDiT:
    torch.manual_seed(0)
    network = MultiMaskDiT.of(dataclasses.replace(presets.tiny(), num_layers=LAYERS))
    # Modulation begins at zero in places; all weights are to have gradients.
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return network.train()


def gradients(network: MultiMaskDiT) -> list[Tensor]:
    """Output of a forward, and gradients of all weights."""
    frames = 3
    draw = torch.Generator().manual_seed(1)
    width = network.config["text_dim"]
    (said,) = network(
        torch.randn(2, 36, frames, 4, 6, generator=draw),
        torch.tensor([300.0, 800.0]),
        torch.randn(2, TEXT, width, generator=draw),
        return_dict=False,
        temporal_positions=torch.arange(frames).expand(2, -1),
    )
    network.zero_grad()
    said.square().mean().backward()
    return [said.detach(), *(p.grad for p in network.parameters() if p.grad is not None)]


@pytest.mark.parametrize(("policy", "every"), [("blocks", 1), ("blocks", 2), ("selective", 1)])
def test_what_is_recomputed_is_bit_equal(
    eager: MultiMaskDiT, policy: Recompute, every: int
) -> None:
    again = copy.deepcopy(eager)
    recompute(again, policy, every)
    forwards = []
    for block in again.blocks:
        block.attn1.to_q.register_forward_hook(lambda *_: forwards.append(None))
    found, expected = gradients(again), gradients(eager)
    assert len(found) == len(expected) > 50
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert len(forwards) == LAYERS + (LAYERS + every - 1) // every

"""Adapters: they train alone, travel in diffusers' files, and fuse."""

from pathlib import Path

import pytest
import torch
from diffusers.loaders.lora_pipeline import WanLoraLoaderMixin
from safetensors import safe_open
from safetensors.torch import save_file

from model.dit import MultiMaskDiT
from model.lora import LoraSettings, add_lora, load_lora, save_lora
from tests.model.tiny import inputs, stock_twin, tiny_network, velocity

POSITIONS = 2 * torch.arange(5.0).expand(2, -1)
SETTINGS = LoraSettings(rank=3, alpha=6)


def predicted(network: torch.nn.Module, positions: torch.Tensor | None = POSITIONS) -> torch.Tensor:
    with torch.no_grad():
        return velocity(network.eval(), inputs(), positions)


@pytest.fixture
def trained() -> MultiMaskDiT:
    """An adapter after one step."""
    network = tiny_network()
    names = set(add_lora(network, SETTINGS))
    optimizer = torch.optim.SGD([p for k, p in network.named_parameters() if k in names], lr=30.0)
    velocity(network, inputs(), POSITIONS).square().mean().backward()
    optimizer.step()
    return network


def test_a_new_adapter_changes_nothing_and_is_all_that_trains() -> None:
    network = tiny_network()
    before = predicted(network)
    names = add_lora(network, SETTINGS)
    assert torch.equal(predicted(network), before)
    # Two matrices for each of 10 layers (q, k, v, o twice, and the feed-forward) in each block.
    assert len(names) == 2 * 10 * len(network.blocks)
    velocity(network, inputs(), POSITIONS).sum().backward()
    assert {k for k, p in network.named_parameters() if p.grad is not None} == set(names)


def test_it_travels_and_fuses(trained: MultiMaskDiT, tmp_path: Path) -> None:
    after = predicted(trained)
    assert (after - predicted(tiny_network())).abs().max() > 0.01
    file = save_lora(trained, tmp_path)

    loaded = tiny_network()
    load_lora(loaded, file)
    assert torch.equal(predicted(loaded), after)

    fused = tiny_network()
    load_lora(fused, file, fuse=True)
    assert torch.allclose(predicted(fused), after, atol=1e-5)
    assert fused.state_dict().keys() == tiny_network().state_dict().keys()


def test_its_weight_scales_it(trained: MultiMaskDiT, tmp_path: Path) -> None:
    file = save_lora(trained, tmp_path)
    base = tiny_network().state_dict()["blocks.0.ffn.net.2.weight"]
    updates = []
    for weight in (0.0, 0.5, 1.0):
        fused = tiny_network()
        load_lora(fused, file, weight=weight, fuse=True)
        updates.append(fused.state_dict()["blocks.0.ffn.net.2.weight"] - base)
    assert not updates[0].any()
    assert updates[2].any()
    assert torch.allclose(2 * updates[1], updates[2], atol=1e-6)


def test_diffusers_pipelines_read_the_file(trained: MultiMaskDiT, tmp_path: Path) -> None:
    save_lora(trained, tmp_path)
    state, metadata = WanLoraLoaderMixin.lora_state_dict(str(tmp_path), return_lora_metadata=True)
    stock = stock_twin(tiny_network())
    WanLoraLoaderMixin.load_lora_into_transformer(state, stock, metadata=metadata)
    assert torch.equal(predicted(stock, None), predicted(trained, None))


def test_the_file_says_rank_and_alpha(trained: MultiMaskDiT, tmp_path: Path) -> None:
    with safe_open(save_lora(trained, tmp_path), framework="pt") as file:
        assert '"transformer.r": 3' in str(file.metadata())
        assert '"transformer.lora_alpha": 6' in str(file.metadata())


def test_what_is_no_adapter_is_refused(tmp_path: Path) -> None:
    network = tiny_network()
    with pytest.raises(ValueError, match="no adapter 'style': the network has none"):
        save_lora(network, tmp_path, "style")
    with pytest.raises(ValueError, match="is no safetensors file"):
        load_lora(network, tmp_path / "absent.safetensors")
    other = tmp_path / "other.safetensors"
    save_file({"unet.to_q.lora_A.weight": torch.zeros(3, 32)}, other)
    with pytest.raises(ValueError, match="no adapter for this network"):
        load_lora(network, other)


@pytest.mark.parametrize(
    ("field", "value"), [("rank", 0), ("alpha", 0), ("targets", ()), ("dropout", 1.0)]
)
def test_settings_that_cannot_work_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        LoraSettings(**{field: value})

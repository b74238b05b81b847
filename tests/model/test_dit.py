"""The network against diffusers' own, on the same weights in the same process."""

import inspect
import json
from pathlib import Path

import pytest
import torch
from diffusers.models.attention_dispatch import attention_backend
from diffusers.models.auto_model import AutoModel
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel

from model import presets
from model.dit import MultiMaskDiT
from tests.model.tiny import LATENTS, inputs, stock_twin, tiny_network, velocity

POSITIONS = torch.tensor([[0.5, 1.5, 2.5, 3.5, 4.5], [7.0, 11.0, 15.0, 19.0, 23.0]])


def test_without_positions_it_is_the_stock_network() -> None:
    network = tiny_network().eval()
    with torch.no_grad():
        ours, theirs = (velocity(net, inputs()) for net in (network, stock_twin(network)))
    assert torch.equal(ours, theirs)
    assert ours.shape == (2, 16, LATENTS, 6, 8)


def test_gradients_are_the_stock_networks() -> None:
    network = tiny_network()
    twin = stock_twin(network)
    for net in (network, twin):
        velocity(net, inputs()).square().mean().backward()
    theirs = dict(twin.named_parameters())
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter.grad, theirs[name].grad), name


def test_parameters_have_the_stock_names() -> None:
    network = tiny_network()
    assert network.state_dict().keys() == stock_twin(network).state_dict().keys()


def test_counting_positions_are_the_stock_network() -> None:
    network = tiny_network().eval()
    rows = torch.arange(LATENTS).expand(2, -1)
    with torch.no_grad():
        assert torch.equal(
            velocity(network, inputs(), rows), velocity(stock_twin(network), inputs())
        )


def test_positions_are_per_sample() -> None:
    network, both = tiny_network().eval(), inputs()
    with torch.no_grad():
        together = velocity(network, both, POSITIONS)
        swapped = velocity(network, both, POSITIONS.flip(0))
    assert (together - swapped).abs().amax(dim=(1, 2, 3, 4)).min() > 1e-3


def test_positions_last_for_one_forward() -> None:
    network = tiny_network().eval()
    with torch.no_grad():
        before = velocity(network, inputs())
        velocity(network, inputs(), POSITIONS)
        with pytest.raises(ValueError, match="temporal_positions"):
            velocity(network, inputs(), POSITIONS[:1])
        assert torch.equal(velocity(network, inputs()), before)


def test_gradients_reach_every_parameter_and_the_positions() -> None:
    network, positions = tiny_network(), POSITIONS.clone().requires_grad_()
    velocity(network, inputs(), positions).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
    assert positions.grad is not None and positions.grad.abs().max() > 0


def test_gradient_checkpointing_changes_nothing() -> None:
    plain, checkpointed = tiny_network(), tiny_network()
    checkpointed.enable_gradient_checkpointing()
    outputs = [velocity(net, inputs(), POSITIONS) for net in (plain, checkpointed)]
    assert torch.equal(*outputs)
    for output in outputs:
        output.square().mean().backward()
    for (name, one), other in zip(plain.named_parameters(), checkpointed.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad), name


class TestCheckpoints:
    """Ours open in stock diffusers and the other way round."""

    @pytest.mark.parametrize("shard", ["10GB", "40KB"])
    def test_ours_opens_in_stock(self, tmp_path: Path, shard: str) -> None:
        network = tiny_network().eval()
        network.save_pretrained(tmp_path, max_shard_size=shard)
        assert len(list(tmp_path.glob("*.safetensors"))) == (1 if shard == "10GB" else 5)
        config = json.loads((tmp_path / "config.json").read_text())
        assert config["_class_name"] == "WanTransformer3DModel"
        with torch.no_grad():
            expected = velocity(network, inputs())
            for kind in (WanTransformer3DModel, AutoModel):
                stock = kind.from_pretrained(str(tmp_path))
                assert type(stock) is WanTransformer3DModel
                assert torch.equal(velocity(stock, inputs()), expected)

    def test_stock_opens_in_ours(self, tmp_path: Path) -> None:
        stock = stock_twin(tiny_network())
        stock.save_pretrained(tmp_path, max_shard_size="40KB")
        network = MultiMaskDiT.from_pretrained(tmp_path)
        read, built = (
            json.loads(net.to_json_string()) for net in (network, MultiMaskDiT.of(presets.tiny()))
        )
        assert read.pop("_name_or_path") == str(tmp_path)
        assert read == built
        with torch.no_grad():
            assert torch.equal(velocity(network, inputs()), velocity(stock, inputs()))
            assert not torch.equal(
                velocity(network, inputs(), POSITIONS), velocity(stock, inputs())
            )

    def test_ours_opens_in_ours(self, tmp_path: Path) -> None:
        network = tiny_network().eval()
        network.save_pretrained(tmp_path)
        again = MultiMaskDiT.from_pretrained(tmp_path)
        with torch.no_grad():
            assert torch.equal(
                velocity(again, inputs(), POSITIONS), velocity(network, inputs(), POSITIONS)
            )

    def test_bfloat16_keeps_upstreams_islands(self, tmp_path: Path) -> None:
        tiny_network().save_pretrained(tmp_path)
        ours, stock = (
            kind.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
            for kind in (MultiMaskDiT, WanTransformer3DModel)
        )
        theirs = dict(stock.named_parameters())
        kept = {name for name, p in ours.named_parameters() if p.dtype == torch.float32}
        assert kept == {name for name, p in theirs.items() if p.dtype == torch.float32}
        assert any("time_embedder" in name for name in kept)
        half = inputs().to(torch.bfloat16)
        with torch.no_grad():
            assert torch.equal(velocity(ours, half), velocity(stock, half))
            full = velocity(MultiMaskDiT.from_pretrained(tmp_path), inputs(), POSITIONS)
            error = (velocity(ours, half, POSITIONS).float() - full).abs().mean()
        assert error / full.abs().mean() < 0.02

    def test_the_signature_is_upstreams(self) -> None:
        # diffusers learns from it which keys of config.json are arguments.
        def shape(kind: type) -> list[tuple[str, object]]:
            parameters = inspect.signature(kind.__init__).parameters.values()
            return [(parameter.name, parameter.default) for parameter in parameters]

        assert shape(MultiMaskDiT) == shape(WanTransformer3DModel)


def test_presets_name_arguments_of_the_network() -> None:
    for preset in (presets.a14b, presets.shape_1_3b, presets.debug, presets.tiny):
        with torch.device("meta"):
            network = MultiMaskDiT.of(preset())
        config = preset()
        assert network.blocks[0].attn1.to_q.in_features == config.width
        assert len(network.blocks) == config.num_layers
        assert network.patch_embedding.in_channels == 36
        assert network.proj_out.out_features == 4 * 16


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_layers", 0),
        ("attention_head_dim", 15),
        ("attention_head_dim", 4),
        ("patch_size", (2, 2, 2)),
    ],
)
def test_a_config_that_cannot_work_is_refused(field: str, value: object) -> None:
    good = {name: getattr(presets.tiny(), name) for name in presets.DiTConfig.__slots__}
    with pytest.raises(ValueError, match=field):
        presets.DiTConfig(**(good | {field: value}))


# torch.compile itself looks at `.grad` of tensors that are no leaves, and hides the warning in a
# way that warnings as errors defeat.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
class TestCompilation:
    """No graph break anywhere: `fullgraph` raises at the first."""

    def test_blocks(self) -> None:
        plain, compiled = tiny_network(), tiny_network()
        compiled.compile_repeated_blocks(fullgraph=True, backend="aot_eager")
        outputs = [velocity(net, inputs(), POSITIONS) for net in (plain, compiled)]
        assert torch.allclose(*outputs, atol=1e-5)
        for output in outputs:
            output.square().mean().backward()
        for one, other in zip(plain.parameters(), compiled.parameters(), strict=True):
            assert torch.allclose(one.grad, other.grad, atol=1e-5)

    def test_the_whole_network(self) -> None:
        network = tiny_network().eval()
        compiled = torch.compile(network, fullgraph=True, backend="eager")
        with torch.no_grad():
            for positions in (POSITIONS, None):
                expected = velocity(network, inputs(), positions)
                assert torch.equal(velocity(compiled, inputs(), positions), expected)


@pytest.mark.parametrize("backend", ["native", "_native_math"])
def test_attention_backends_of_diffusers(backend: str) -> None:
    network = tiny_network().eval()
    with torch.no_grad():
        expected = velocity(network, inputs(), POSITIONS)
        with attention_backend(backend):
            within = velocity(network, inputs(), POSITIONS)
        # Choosing for a network also sets the process's default; leaving the context restores it.
        with attention_backend("native"):
            network.set_attention_backend(backend)
            chosen = velocity(network, inputs(), POSITIONS)
    assert torch.allclose(within, expected, atol=1e-5)
    assert torch.allclose(chosen, expected, atol=1e-5)

"""DINO's tower against transformers' and against cubic interpolation written out; loading."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from transformers import ViTConfig, ViTModel

from evaluation.errors import EvaluationError
from evaluation.metrics.embedders import DinoTower, features_of, load_clip, load_dino, load_state
from tests.evaluation.metrics.tiny_networks import CLIP, DINO
from tests.evaluation.metrics.videos import U8, still

F64 = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def backbone() -> VisionTransformer:
    torch.manual_seed(1)
    net = VisionTransformer(num_classes=0, **DINO).eval()
    with torch.no_grad():
        net.pos_embed.normal_()
        net.cls_token.normal_()
    return net


def transformers_twin(net: VisionTransformer) -> ViTModel:
    """The same weights in the other library's names."""
    config = ViTConfig(
        image_size=28, patch_size=7, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=128, layer_norm_eps=1e-6, hidden_dropout_prob=0.0,
    )  # fmt: skip
    twin = ViTModel(config, add_pooling_layer=False).eval()
    theirs, ours = twin.state_dict(), net.state_dict()
    renamed = {
        "embeddings.cls_token": ours["cls_token"],
        "embeddings.position_embeddings": ours["pos_embed"],
        "embeddings.patch_embeddings.projection.weight": ours["patch_embed.proj.weight"],
        "embeddings.patch_embeddings.projection.bias": ours["patch_embed.proj.bias"],
        "layernorm.weight": ours["norm.weight"],
        "layernorm.bias": ours["norm.bias"],
    }
    block_names = {
        "attn.proj": ("attention.output.dense", "attention.o_proj"),
        "norm1": ("layernorm_before",),
        "norm2": ("layernorm_after",),
        "mlp.fc1": ("intermediate.dense", "mlp.fc1"),
        "mlp.fc2": ("output.dense", "mlp.fc2"),
    }
    for layer in range(2):
        stem = next(
            s for s in (f"encoder.layer.{layer}.", f"layers.{layer}.") if any(
                k.startswith(s) for k in theirs
            )
        )  # fmt: skip
        for kind in ("weight", "bias"):
            for part, value in zip(
                "qkv", ours[f"blocks.{layer}.attn.qkv.{kind}"].chunk(3), strict=True
            ):
                full = {"q": "query", "k": "key", "v": "value"}[part]
                names = (f"attention.attention.{full}", f"attention.{part}_proj")
                (name,) = [n for n in names if f"{stem}{n}.{kind}" in theirs]
                renamed[f"{stem}{name}.{kind}"] = value
            for own, names in block_names.items():
                (name,) = [n for n in names if f"{stem}{n}.{kind}" in theirs]
                renamed[f"{stem}{name}.{kind}"] = ours[f"blocks.{layer}.{own}.{kind}"]
    assert renamed.keys() == theirs.keys()
    twin.load_state_dict(renamed)
    return twin


def test_a_picture_of_the_trained_shape_gives_what_transformers_gives(
    backbone: VisionTransformer,
) -> None:
    pictures = torch.randn(3, 3, 28, 28)
    with torch.no_grad():
        expected = transformers_twin(backbone)(pictures).last_hidden_state[:, 0]
        torch.testing.assert_close(DinoTower(backbone)(pictures), expected)


def cubic(values: F64, scale: float, count: int) -> F64:
    """Keys' cubic convolution (a = -0.75) along the first axis, at (i + 0.5) / scale - 0.5."""

    def weight(x: float) -> float:
        x, a = abs(x), -0.75
        if x <= 1:
            return (a + 2) * x**3 - (a + 3) * x**2 + 1
        return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0

    rows = []
    for i in range(count):
        at = (i + 0.5) / scale - 0.5
        around = range(int(np.floor(at)) - 1, int(np.floor(at)) + 3)
        rows.append(sum(weight(at - k) * values[min(max(k, 0), len(values) - 1)] for k in around))
    return np.stack(rows)


def test_a_wide_picture_stretches_positions_by_the_authors_scale(
    backbone: VisionTransformer,
) -> None:
    # 30x55 pixels: 4x7 whole patches of 7, the rest is cut off.
    pictures = torch.randn(2, 3, 30, 55)
    grid = backbone.pos_embed[0, 1:].detach().double().numpy().reshape(4, 4, 32)
    stretched = cubic(grid, 4.1 / 4, 4)
    stretched = cubic(stretched.transpose(1, 0, 2), 7.1 / 4, 7).transpose(1, 0, 2)
    wide = VisionTransformer(num_classes=0, **DINO | {"img_size": (28, 49)}).eval()
    state = dict(backbone.state_dict())
    positions = torch.from_numpy(stretched.reshape(1, 28, 32)).float()
    state["pos_embed"] = torch.cat([state["pos_embed"][:, :1], positions], dim=1)
    wide.load_state_dict(state)
    with torch.no_grad():
        expected = wide.forward_features(pictures[:, :, :28, :49])[:, 0]
        torch.testing.assert_close(DinoTower(backbone)(pictures), expected, atol=1e-5, rtol=1e-4)


def test_the_authors_files_and_timms_give_the_same(
    backbone: VisionTransformer, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    authors, timms = tmp_path / "authors.pth", tmp_path / "timm.safetensors"
    torch.save(backbone.state_dict() | {"mask_token": torch.zeros(1, 32)}, authors)
    save_file(backbone.state_dict(), timms)
    pictures = torch.randn(1, 3, 28, 28)
    with torch.no_grad():
        one, other = (
            load_dino("vision_transformer", DINO, f).eval()(pictures) for f in (authors, timms)
        )
    torch.testing.assert_close(one, other)
    torch.testing.assert_close(one, DinoTower(backbone)(pictures).detach())


def test_the_batch_bounds_memory_and_moves_no_number(backbone: VisionTransformer) -> None:
    frames = still(7, 32, 32) + np.arange(7, dtype=np.uint8)[:, None, None, None]

    def prepare(tensor: torch.Tensor) -> torch.Tensor:
        return tensor[:, :, :28, :28] / 255.0

    one, all_ = (
        features_of(DinoTower(backbone), prepare, "cpu", batch)(frames) for batch in (1, 16)
    )
    np.testing.assert_allclose(one, all_, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # to write such an archive
@pytest.mark.filterwarnings(
    "ignore:'torch.load' received a zip file:UserWarning"
)  # and to refuse it
@pytest.mark.parametrize("kind", ["pickle", "torchscript", "text", "list", "other"])
def test_files_of_something_else_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    config = tmp_path / "toy.json"
    config.write_text(json.dumps(CLIP))
    path = tmp_path / "weights.pth"
    if kind == "pickle":
        torch.save({"weights": Path("/")}, path)  # an object, which loading would have to build
    elif kind == "torchscript":
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), path)
    elif kind == "text":
        path.write_text("<html>404</html>")
    elif kind == "list":
        torch.save([torch.ones(1)], path)
    else:
        torch.save({"something": torch.ones(3)}, path)
    with pytest.raises(EvaluationError, match=r"weights\.pth"):
        load_dino("vision_transformer", DINO, path)
    with pytest.raises(EvaluationError, match=r"weights\.pth"):
        load_clip(str(config), path, "cpu", "fp32")
    if kind != "other":
        with pytest.raises(EvaluationError):
            load_state(path)


def test_a_damaged_safetensors_file_is_refused_by_name(tmp_path: Path) -> None:
    config, path = tmp_path / "toy.json", tmp_path / "weights.safetensors"
    config.write_text(json.dumps(CLIP))
    path.write_bytes(b"\xff" * 1000)
    with pytest.raises(EvaluationError, match=r"weights\.safetensors"):
        load_dino("vision_transformer", DINO, path)
    with pytest.raises(EvaluationError, match=r"weights\.safetensors"):
        load_clip(str(config), path, "cpu", "fp32")


@pytest.mark.parametrize("settings", [{"reg_tokens": 2}, {"class_token": False, "global_pool": ""}])
def test_another_kind_of_transformer_is_no_dino(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(VisionTransformer(num_classes=0, **DINO | settings).state_dict(), path)
    with pytest.raises(EvaluationError, match="class token"):
        load_dino("vision_transformer", DINO | settings, path)


def test_frames_become_floats_of_the_same_numbers() -> None:
    from evaluation.metrics.pictures import tensor_of

    frames: U8 = still(2, 4, 6)
    tensor = tensor_of(frames, torch.device("cpu"))
    np.testing.assert_array_equal(tensor.permute(0, 2, 3, 1).numpy(), frames)

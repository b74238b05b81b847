"""The networks of every metric in toy shapes with random weights, as files and plugins."""

import json
from pathlib import Path

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torchvision.models.optical_flow import raft_large

from evaluation.metrics.config import MetricsConfig
from tests.evaluation.metrics.videos import U8

SIDE = 28
DINO = {"img_size": 28, "patch_size": 7, "embed_dim": 32, "depth": 2, "num_heads": 2}
DINOV2 = DINO | {"img_size": 42, "init_values": 1.0}
"""Trained on larger pictures than it is shown, as DINOv2 is."""
CLIP = {
    "embed_dim": 24,
    "quick_gelu": True,
    "vision_cfg": {"image_size": SIDE, "layers": 2, "width": 32, "head_width": 16, "patch_size": 7},
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1},
}
NAMED = "tests.evaluation.metrics.tiny_networks"


class Average:
    """Stands in for AMT-S: the frame between two is their mean."""

    version = "1"

    def __init__(self, weights: Path | None, device: str) -> None:
        self.weights, self.device = weights, device

    def __call__(self, before: U8, after: U8) -> U8:
        return ((before.astype(np.uint16) + after) // 2).astype(np.uint8)


class Brightness:
    """Stands in for MUSIQ: a hundred times the mean of the picture."""

    version = "1"

    def __init__(self, weights: Path | None, device: str) -> None:
        self.weights, self.device = weights, device

    def __call__(self, pictures: Tensor) -> Tensor:
        return 100.0 * pictures.mean(dim=(1, 2, 3))


class Thumbnail:
    """Stands in for DreamSim: the picture itself, made small."""

    version = "1"

    def __init__(self, weights: Path | None, device: str) -> None:
        self.weights, self.device = weights, device

    def __call__(self, pictures: Tensor) -> Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(pictures, 7).flatten(1) - 0.5


class Unversioned:
    """No plugin: nothing would tell its numbers from another's."""

    def __init__(self, weights: Path | None, device: str) -> None: ...


def write_networks(folder: Path) -> MetricsConfig:
    """Write every file; returns the configuration that names them, profile `dev`."""
    torch.manual_seed(5)
    for name, settings in (("dino", DINO), ("dinov2", DINOV2)):
        (folder / f"{name}.json").write_text(json.dumps(settings))
        torch.save(
            VisionTransformer(num_classes=0, **settings).state_dict(), folder / f"{name}.pth"
        )
    for name in ("clip_b32", "clip_l14"):
        (folder / f"{name}.json").write_text(json.dumps(CLIP))
        open_clip.add_model_config(folder / f"{name}.json")
        save_file(open_clip.create_model(name).state_dict(), folder / f"{name}.safetensors")
    torch.save(torch.nn.Linear(24, 1).state_dict(), folder / "head.pth")
    torch.save(raft_large(weights=None).state_dict(), folder / "raft.pth")
    return MetricsConfig(
        profile="dev",
        dino="dino.pth",
        dinov2="dinov2.pth",
        clip_b32="clip_b32.safetensors",
        clip_l14="clip_l14.safetensors",
        laion_head="head.pth",
        raft="raft.pth",
        dino_model=str(folder / "dino.json"),
        dinov2_model=str(folder / "dinov2.json"),
        clip_b32_model=str(folder / "clip_b32.json"),
        clip_l14_model=str(folder / "clip_l14.json"),
        picture_side=SIDE,
        amt=f"{NAMED}:Average",
        musiq=f"{NAMED}:Brightness",
        dreamsim=f"{NAMED}:Thumbnail",
    )

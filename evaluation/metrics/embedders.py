"""Networks that turn pictures into features: DINO, DINOv2 and CLIP's image tower.

The transformers of DINO (Caron et al. 2021) and DINOv2 (Oquab et al. 2023) are timm's, which reads
the files that their authors published as well as its own; CLIP's tower is open_clip's. One thing is
done here and not there: both DINOs stretch their position embedding for pictures of another shape
by a scale of (patches + 0.1) / trained patches, without antialiasing, and the tenth shifts every
sampled place a little. timm stretches otherwise, which moves a wide frame's features.
"""

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from evaluation.errors import EvaluationError
from evaluation.metrics.arrays import F64, U8
from evaluation.metrics.consistency import Features
from evaluation.metrics.pictures import tensor_of

Prepare = Callable[[Tensor], Tensor]
"""Frames `[n,3,H,W]` of 0 to 255 to a network's input."""

_STRETCH_OFFSET = 0.1
_BROKEN = (RuntimeError, OSError, ValueError, KeyError, EOFError, SafetensorError)
"""What reading a file raises that holds no weights."""


class DinoTower(nn.Module):
    """A DINO or DINOv2 backbone: the class token after the last norm.

    Args:
        backbone: timm's transformer, with a class token and learned positions.
    """

    def __init__(self, backbone: VisionTransformer) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures `[n,3,H,W]` to `[n,D]`; what whole patches leave over is cut off."""
        net = self.backbone
        patches_NDhw = net.patch_embed.proj(pictures)
        grid = tuple(patches_NDhw.shape[-2:])
        tokens = patches_NDhw.flatten(2).transpose(1, 2)  # [n, h*w, D]
        assert net.cls_token is not None
        class_token = net.cls_token.expand(len(tokens), -1, -1)
        tokens = torch.cat([class_token, tokens], dim=1) + self._positions(grid)
        features: Tensor = net.norm(net.blocks(tokens))[:, 0]
        return features

    def _positions(self, grid: tuple[int, ...]) -> Tensor:
        """Positions `[1, 1+h*w, D]` stretched to a grid of patches."""
        positions = self.backbone.pos_embed
        assert positions is not None
        trained = self.backbone.patch_embed.grid_size
        if grid == tuple(trained):
            return positions
        square_1Dhw = positions[:, 1:].reshape(1, *trained, -1).permute(0, 3, 1, 2)
        stretched = nn.functional.interpolate(
            square_1Dhw,
            scale_factor=[
                (new + _STRETCH_OFFSET) / old for new, old in zip(grid, trained, strict=True)
            ],
            mode="bicubic",
        )
        return torch.cat([positions[:, :1], stretched.flatten(2).transpose(1, 2)], dim=1)


def load_dino(architecture: str, settings: dict[str, Any], weights: Path) -> nn.Module:
    """Build a DINO or DINOv2 backbone and load its weights.

    Args:
        architecture: timm's name, e.g. ``vit_base_patch16_224`` or ``vit_base_patch14_dinov2``;
            ``vision_transformer`` for one that `settings` describe.
        settings: of timm's `VisionTransformer`.
        weights: the authors' ``.pth``, or timm's ``.safetensors``.

    Raises:
        EvaluationError: there is no such architecture, or the file does not hold its weights.
    """
    backbone: nn.Module
    try:
        if architecture == "vision_transformer":
            backbone = VisionTransformer(num_classes=0, **settings)
        else:
            backbone = timm.create_model(architecture, num_classes=0, **settings)
        state = load_state(weights)
        state.pop("mask_token", None)  # DINOv2's, for its training alone
        backbone.load_state_dict(state)
    except (RuntimeError, TypeError) as error:
        raise EvaluationError(
            f"{weights} does not hold weights of {architecture}: {error}"
        ) from error
    if not isinstance(backbone, VisionTransformer) or backbone.num_prefix_tokens != 1:
        raise EvaluationError(f"{architecture} is no DINO: a plain ViT with one class token is")
    return DinoTower(backbone)


def load_clip(architecture: str, weights: Path, device: str, precision: str) -> nn.Module:
    """CLIP's image tower; the text tower is let go.

    Args:
        architecture: open_clip's name, or a JSON file of its model config. OpenAI's weights need
            the ``-quickgelu`` names.
        weights: a file that open_clip reads.
        device: where it runs.
        precision: open_clip's: 'fp32', 'fp16' or 'bf16'.

    Raises:
        EvaluationError: the file does not hold weights of this architecture.
    """
    if Path(architecture).is_file():
        open_clip.add_model_config(architecture)
        architecture = Path(architecture).stem
    try:
        model = open_clip.create_model(
            architecture,
            pretrained=str(weights),
            precision=precision,
            device=device,
            require_pretrained=True,
        )
    except pickle.UnpicklingError as error:
        raise _code(weights) from error
    except (*_BROKEN, TypeError, AttributeError) as error:
        raise EvaluationError(
            f"{weights} does not hold weights of {architecture}: {error}"
        ) from error
    visual: nn.Module = model.visual
    return visual


def load_state(path: Path) -> dict[str, Tensor]:
    """A file's tensors by name.

    Raises:
        EvaluationError: it holds something else, or code.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _code(path) from error
    except _BROKEN as error:
        raise EvaluationError(f"{path} does not hold weights: {error}") from error
    if not isinstance(state, dict):
        raise EvaluationError(f"{path} holds {type(state).__name__}, not weights by name")
    return state


def features_of(
    network: nn.Module,
    prepare: Prepare,
    device: str,
    batch: int,
    dtype: torch.dtype = torch.float32,
) -> Features:
    """A function from frames to features, a batch at a time.

    Args:
        network: pictures `[n,3,h,w]` to features `[n,D]`.
        prepare: of the frames, for this network.
        device: where both run.
        batch: pictures at once; it bounds the memory, not the numbers.
        dtype: of the network's input.
    """
    network = network.eval().requires_grad_(False).to(device)

    @torch.inference_mode()
    def features(frames: U8) -> F64:
        parts = [
            network(prepare(part).to(dtype)).float().cpu()
            for part in batches(frames, batch, torch.device(device))
        ]
        return torch.cat(parts).double().numpy()

    return features


def batches(frames: U8, size: int, device: torch.device) -> Iterator[Tensor]:
    """Frames `[n,H,W,3]` as float tensors `[<=size,3,H,W]` of 0 to 255."""
    for start in range(0, len(frames), size):
        yield tensor_of(frames[start : start + size], device)


def dtype_of(precision: str) -> torch.dtype:
    """What a network of open_clip's precision takes."""
    return open_clip.get_input_dtype(precision) or torch.float32


def _code(path: Path) -> EvaluationError:
    return EvaluationError(
        f"{path} does not hold weights alone; it is not loaded, since it could run code (OpenAI's "
        "TorchScript archives do: give the safetensors of the same weights)"
    )

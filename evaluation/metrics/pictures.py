"""Frames as VBench's networks see them: tensors resized without antialiasing, then normalised.

VBench resizes whole tensors of floats (`vbench/utils.py`: `clip_transform`, `dino_transform`;
`vbench2_beta_long/utils.py`: `dinov2_transform`, `dreamsim_transform`), not PIL pictures, and its
pinned torchvision (below 0.16) does not antialias tensors. Shrinking a wide frame so aliases, and
moves every consistency and aesthetic value; it is kept because published numbers were made so.
"""

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as images
from torchvision.transforms.v2.functional import InterpolationMode

from evaluation.metrics.arrays import U8

_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def tensor_of(frames: U8, device: torch.device) -> Tensor:
    """Frames `[n,H,W,3]` of 0 to 255 as floats `[n,3,H,W]` of 0 to 255."""
    return torch.from_numpy(frames).to(device).permute(0, 3, 1, 2).float()


def for_clip(frames: Tensor, side: int) -> Tensor:
    """Frames `[n,3,H,W]`: short side to `side`, bicubic; the middle square; CLIP's mean."""
    resized = _resize(frames, [side], InterpolationMode.BICUBIC)
    square = images.center_crop(resized, [side, side])
    return _normalised(square, _CLIP_MEAN, _CLIP_STD)


def for_dino(frames: Tensor, side: int) -> Tensor:
    """Frames `[n,3,H,W]`: short side to `side`, bilinear, nothing cut off; ImageNet's mean."""
    resized = _resize(frames, [side], InterpolationMode.BILINEAR)
    return _normalised(resized, _IMAGENET_MEAN, _IMAGENET_STD)


def for_dinov2(frames: Tensor, side: int) -> Tensor:
    """Frames `[n,3,H,W]`: short side to 8/7 of `side`, bicubic; the middle square."""
    resized = _resize(frames, [side * 8 // 7], InterpolationMode.BICUBIC)
    square = images.center_crop(resized, [side, side])
    return _normalised(square, _IMAGENET_MEAN, _IMAGENET_STD)


def for_dreamsim(frames: Tensor, side: int) -> Tensor:
    """Frames `[n,3,H,W]`: squeezed to a square, bicubic; 0 to 1."""
    return _resize(frames, [side, side], InterpolationMode.BICUBIC) / 255.0


def for_musiq(frames: Tensor, longest: int) -> Tensor:
    """Frames `[n,3,H,W]`: long side down to `longest`, bilinear, never up; 0 to 1 (``longer``)."""
    height, width = frames.shape[-2:]
    if max(height, width) > longest:
        scale = longest / max(height, width)
        size = [int(scale * height), int(scale * width)]
        frames = _resize(frames, size, InterpolationMode.BILINEAR)
    return frames / 255.0


def _resize(frames: Tensor, size: list[int], mode: InterpolationMode) -> Tensor:
    resized: Tensor = images.resize(frames, size, interpolation=mode, antialias=False)
    return resized


def _normalised(frames: Tensor, mean: tuple[float, ...], deviation: tuple[float, ...]) -> Tensor:
    normalised: Tensor = images.normalize(frames / 255.0, list(mean), list(deviation))
    return normalised
